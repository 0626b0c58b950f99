#!/usr/bin/env bash
# Install an MPI library, build wgloss-mpi and run everything that checks it: jobs of 1, 2 and 4 ranks of every scheme against the
# reference, ranks that fail, the example. Exit status 0 means that every stage passed.
#
#     wgloss-mpi/test.sh            with OpenMPI
#     wgloss-mpi/test.sh mpich      with MPICH, the tests alone: libmpich-dev and mpich are installed by hand
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Mesa prints an error otherwise that is none.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$scratch}"

. ../scripts/stages.sh

stage "mpi: install" sh install.sh || summary
environment=$(sh install.sh)
eval "$environment"

# The root's command knows whether there is a driver that computes rightly; without one, the root's script installs it.
wgloss=../target/release/wgloss
[ -x "$wgloss" ] || (cd .. && cargo build --release --locked --features cli --bin wgloss)
"$wgloss" adapters </dev/null >/dev/null 2>&1 || sh ../scripts/driver.sh

# Half the time that the software driver takes for its kernels, as in the root's script; others do not know these variables.
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
lean=(env LP_NATIVE_VECTOR_WIDTH=128 GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$(cd "$target" && pwd)/mesa")

if [ "${1:-}" = mpich ]; then
    # Its launcher would kill all others with a rank that dies, without a word.
    export MPICC=mpicc.mpich WGLOSS_MPIRUN='mpirun.mpich -disable-auto-cleanup' CARGO_TARGET_DIR="$target/mpich"
    stage "mpi: tests with MPICH" "${lean[@]}" cargo test --release --locked --no-fail-fast || true
    summary
    exit
fi

stage "mpi: format" cargo fmt --check || true
stage "mpi: build" cargo test --release --locked --no-run || true
stage "mpi: tests" "${lean[@]}" cargo test --release --locked --no-fail-fast || true
# Its kernels are few, and run long.
stage "mpi: example: shards" bash examples/shards/run.sh || true
stage "mpi: lint" cargo clippy --release --locked --all-targets -- -D warnings || true
stage "mpi: documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib || true
stage "mpi: simulation" python3 ../tools/scale.py --check || true
summary
