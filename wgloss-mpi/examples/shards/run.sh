#!/usr/bin/env bash
# Builds the example, runs it on one rank and on four of this machine, and compares the losses: the same in six digits.
#
#     wgloss-mpi/examples/shards/run.sh [STEPS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
environment=$(sh install.sh)
eval "$environment"
cargo build --release --locked --example shards
program=${CARGO_TARGET_DIR:-target}/release/examples/shards
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for ranks in 1 4; do
    mpirun -n "$ranks" "$program" "$@" | tee "$scratch/$ranks"
done
losses() { sed -n 's/^step *\([0-9]*\) loss \(.*\)/\1 \2/p' "$scratch/$1"; }
paste -d ' ' <(losses 1) <(losses 4) | awk '
    function size(x) { return x < 0 ? -x : x }
    # The sixth digit of a number that is rounded may be turned by the last bit.
    { digit = 1.01 * 10 ^ (int(log($2) / log(10) + 100) - 100 - 5); if ($1 != $3 || size($2 - $4) > digit) { print "not the same: " $0; wrong = 1 } }
    END { if (!NR || wrong) exit 1; print "\nthe losses of 1 and of 4 ranks are the same in six digits" }'
