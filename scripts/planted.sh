#!/usr/bin/env bash
# Plants faults in the kernels, one at a time, in a copy of the last commit, and sees that the tests find each. A fault that
# no test finds is a failure here, and so is one that could not be planted. Takes about a quarter of an hour on two cores.
# Usage: scripts/planted.sh [NAME...]   all faults unless names are given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Name; tests that find it, a filter of theirs (or `tint`: the compiler of Chromium refuses the shader); file; what perl does.
faults=$(
    cat <<'END'
barrier in non-uniform flow|tint|shaders/shared/lanes_tree.wgsl|s/(\n            wg_sum\[at.index\] \+= [^\n]+\n)        \}/$1            workgroupBarrier();\n        }/
missing barrier|regimes/random_shapes|shaders/shared/lanes_tree.wgsl|s/        \/\/ A level is complete[^\n]+\n        workgroupBarrier\(\);\n//
one label too many at the end of a row|regimes/random_shapes|shaders/shared/inside_ragged.wgsl|s/IOTA < /IOTA <= /
accumulator in f16|regimes/random_shapes|shaders/shared/finish.wgsl|s/all \+= \(([^;]+)\);/all = quantizeToF16(all + ($1));/
anchor not left out of its own row|contrastive/golden|shaders/contrastive/pairs.wgsl|s/itself == vec4<u32>\(number\)/itself == vec4<u32>(number + 1u)/
NaN lost|/bce|shaders/shared/sum.wgsl|s/select\(0u, 1u, any\(tally.bad\)\)/0u/
ties to the later class|mcm|shaders/shared/best.wgsl|s/b.index < a.index/b.index > a.index/
greater for greater or equal at Jaccard's threshold|contrastive/similar_enough|shaders/contrastive/rule_jaccard.wgsl|s/meet >= params/meet > params/
norms with a floor of 1e-3|corners|src/kernels/contrastive/params.rs|s/Constant::Real\(NORM_FLOOR as f32\)/Constant::Real(1e-3 + 0.0 * NORM_FLOOR as f32)/
sums of one device left out|shards/keys|shaders/contrastive/accumulators.wgsl|s/device = 1u; device/device = 2u; device/
a device's own samples for those of all|shards/s|shaders/hcal/losses_merged.wgsl|s/level == 0u/level == 9999u/
hierarchy's ranges believed|hostile/hierarchies|shaders/mcm/climb.wgsl|s/min\((hierarchy\[starts \+ [12]u\]), i \+ LOOKS\)/$1/g
END
)

target=${CARGO_TARGET_DIR:-$PWD/target}/planted
copy=$(mktemp -d)
trap 'git worktree remove --force "$copy"' EXIT
git worktree add --quiet --detach "$copy" HEAD
cd "$copy"
export CARGO_TARGET_DIR=$target WGLOSS_REQUIRE_GPU=1
# As in scripts/test.sh: a software driver takes half the time.
mkdir -p "$target"
export LP_NATIVE_VECTOR_WIDTH=128 GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$target/mesa" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$target}"

finds() { # how: run what should find a fault; status 0 where all is well
    if [ "$1" = tint ]; then
        bash scripts/portability.sh tint
    else
        # A kernel may hang.
        timeout -k 5 300 cargo test --quiet --release --locked --all-features --test gpu -- "$1"
    fi
}

log=$target/log
failed=0
wanted() { [ "$#" -eq 1 ] || printf '%s\n' "${@:2}" | grep -qxF -- "$1"; }

# Without a fault all of it passes; else it would find anything.
while read -r how; do
    if ! finds "$how" >"$log" 2>&1 </dev/null; then
        printf '%s fails without a fault\n' "$how"
        tail -n 20 "$log"
        exit 1
    fi
done < <(while IFS='|' read -r name how _; do wanted "$name" "$@" && printf '%s\n' "$how"; done <<<"$faults" | sort -u)

while IFS='|' read -r name how file change; do
    wanted "$name" "$@" || continue
    perl -0pi -e "$change" "$file"
    outcome="found by $how"
    if git diff --quiet; then
        outcome="NOT PLANTED: nothing to change in $file"
    elif ! cargo test --quiet --release --locked --all-features --test gpu --no-run >"$log" 2>&1 </dev/null; then
        outcome="NOT PLANTED: it does not build"
    elif finds "$how" >"$log" 2>&1 </dev/null; then
        outcome="NOT FOUND by $how"
    fi
    [ "${outcome%% *}" = found ] || failed=1
    printf '%-52s %s\n' "$name" "$outcome"
    git checkout --quiet .
done <<<"$faults"
exit "$failed"
