#!/usr/bin/env bash
# Fuzzing by cargo-fuzz, on stable Rust: scripts/fuzz.sh [RUNS [TARGET [SEED]]]
# RUNS inputs (100,000) for each target (fuzz/fuzz_targets), or for one. A finding lies in fuzz/artifacts, and
# `cargo fuzz run -s none TARGET FILE` shows it again. Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:-100000}
targets=${2:-call file hierarchy}
seed=${3:-1}
cargo fuzz --version >/dev/null 2>&1 || {
    echo "fuzz: cargo-fuzz not found: cargo install cargo-fuzz" >&2
    exit 1
}
[ -d /dev/shm ] && export TMPDIR="${TMPDIR:-/dev/shm}" # the file target writes and syncs files
for target in $targets; do
    # Not the sanitizers, which need nightly; overflows are panics all the same. What coverage finds stays in fuzz/corpus; to
    # begin with there are the seeds in the repository.
    mkdir -p "fuzz/corpus/$target"
    printf '=== %s: %d runs, seed %d\n' "$target" "$runs" "$seed"
    RUST_BACKTRACE=0 cargo fuzz run -s none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -runs="$runs" -seed="$seed" -max_len=4096 -len_control=0 -timeout=60 -rss_limit_mb=4096 -close_fd_mask=1
done
