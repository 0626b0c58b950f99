#!/usr/bin/env bash
# Build wgloss-burn and run everything that checks it, with one set of features: fusion on, as burn's users have it, and
# `vulkan` off, since burn's own SPIR-V matmul crashes on the software driver. Each set of features is a build of all of burn.
# Exit status 0 means that every stage passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Mesa prints an error otherwise that is none.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$scratch}"

# The root's command knows whether there is a driver that computes rightly; without one, the root's script installs it.
wgloss=../target/release/wgloss
[ -x "$wgloss" ] || (cd .. && cargo build --release --locked --features cli --bin wgloss)
"$wgloss" adapters </dev/null >/dev/null 2>&1 || sh ../scripts/driver.sh
export WGLOSS_REQUIRE_GPU=1

# Half the time that the software driver takes for its kernels, as in the root's script; others do not know these variables.
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
lean=(env LP_NATIVE_VECTOR_WIDTH=128 GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$(cd "$target" && pwd)/mesa")

. ../scripts/stages.sh

stage "burn: format" cargo fmt --check || true
stage "burn: build" cargo test --release --locked --no-run || true
stage "burn: tests" "${lean[@]}" cargo test --release --locked --no-fail-fast || true
stage "burn: example: train" "${lean[@]}" cargo run --release --locked --example train -- --loss zlpr --epochs 2 || true
stage "burn: example: prototypes" "${lean[@]}" cargo run --release --locked --example prototypes -- --epochs 1 || true
stage "burn: lint" cargo clippy --release --locked --all-targets -- -D warnings || true
# With the examples, dependencies have the features that the lint has checked them with.
stage "burn: documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib --examples || true
summary
