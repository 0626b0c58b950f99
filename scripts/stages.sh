# To be read by a script of bash: stages that all run even if one fails, and a summary, so that one run tells everything.

began=$SECONDS
results=()
failed=0
skipped= # what a stage left out, for its line of the summary

stage() { # name, command...: run it under a heading, note the outcome, return its status
    local name=$1 start=$SECONDS outcome=ok status=0
    shift
    printf '\n=== %s\n    %s\n' "$name" "$*"
    "$@" </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        outcome="FAILED ($status)"
        failed=$((failed + 1))
    fi
    printf -- '--- %s: %s, %d s\n' "$name" "$outcome" "$((SECONDS - start))"
    results+=("$(printf '%-13s %5d s  %s%s' "$outcome" "$((SECONDS - start))" "$name" "$skipped")")
    skipped=
    return "$status"
}

summary() { # say how all of them went, and end with status 1 where one failed
    printf '\n=== summary\n'
    printf '    %s\n' "${results[@]}"
    printf '    total %d s\n' "$((SECONDS - began))"
    if [ "$failed" -ne 0 ]; then
        printf '    %d stage(s) FAILED\n' "$failed"
        exit 1
    fi
    printf '    everything passed\n'
}
