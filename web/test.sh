#!/usr/bin/env bash
# Builds the page and drives it in headless Chromium with its software GPU (SwiftShader): every loss beside the reference, the
# qualification, the benchmark, a lost device, no WebGPU. Screenshots go into web/target/pictures. The bare core is built for
# wasm32 too. Installs Debian's chromium where there is none. What cannot be had here is said, and leaves the rest out.
# Exit status 0 means that nothing failed. Usage: web/test.sh [--quick]   without the qualification and the benchmark
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. ../scripts/stages.sh
. ./wasm32.sh

skip() { # what is left out, why
    printf '    SKIPPED: %s, so %s\n' "$2" "$1"
    skipped=" (SKIPPED: $2)"
}

wasm32=here
try_wasm32() { # no toolchain is no failure
    local status=0
    "$@" || status=$?
    if [ "$status" -eq 2 ]; then
        skip "nothing has been built for browsers" "no Rust for wasm32"
        wasm32=
        return 0
    fi
    return "$status"
}

browser() { # find Chromium, or install it
    command -v "${CHROMIUM:-chromium}" >/dev/null && return 0
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -y --no-install-recommends install \
            chromium >target/apt.log 2>&1; then
        return 0
    fi
    return 2
}

drive() {
    if ! command -v node >/dev/null; then
        skip "the page has not been run" "no node"
    elif ! browser; then
        skip "the page has not been run" "no Chromium"
    else
        node test.mjs dist target/pictures "$@"
    fi
}

stage "web: format" cargo fmt --check --all || true
mkdir -p target
stage "web: page" try_wasm32 ./build.sh || summary
[ -z "$wasm32" ] || stage "web: page in Chromium" drive "$@" || true
bare_core() {
    wasm32_cargo build --release --locked --manifest-path ../Cargo.toml --lib --no-default-features --target-dir target
}
[ -z "$wasm32" ] || stage "web: bare core for wasm32" bare_core || true
# The lint comes with the toolchain that is here, so it sees the crate as this system would build it.
stage "web: lint" cargo clippy --release --locked --workspace -- -D warnings || true
summary
