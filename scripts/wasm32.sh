#!/usr/bin/env bash
# Put a Rust toolchain that builds for wasm32 beside the system, for machines whose own has no such target and cannot get it
# (`rustup target add wasm32-unknown-unknown` is the short way where rustup reaches its server): into a folder, from
# Debian's packages rustc-web, cargo-web and rust-web-src. Nothing is installed. It has no compiled standard library for
# wasm32, but its source: cargo compiles that with the rest. On stdout what a shell needs to use it:
#
#   eval "$(scripts/wasm32.sh FOLDER)" && "$CARGO" build -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown
#
# A folder that has it already is used as it is. The linker is the rust-lld of the toolchain that is there.
# Exit status 2: not here (another system, no network, packages too old), with the reason on stderr.
set -euo pipefail

missing() {
    printf 'wasm32: %s\n' "$*" >&2
    exit 2
}

[ $# -eq 1 ] || {
    printf 'usage: scripts/wasm32.sh FOLDER\n' >&2
    exit 1
}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
least=95 # of Rust 1.x: what wgpu 30 needs and these packages have had

for tool in rustc apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || missing "no $tool"
done
linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
[ -x "$linker" ] || missing "the toolchain has no rust-lld"

if [ ! -e "$folder/complete" ]; then
    # What the system has need not be fetched. apt's own lists say what there is; its locks and cache are left alone.
    archives=$folder/archives
    rm -rf "$archives"
    mkdir -p "$archives/partial"
    apt-get -qq -o Dir::Cache::Archives="$archives" -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" \
        --yes --download-only --no-install-recommends install rustc-web cargo-web rust-web-src >"$folder/apt.log" 2>&1 ||
        missing "the packages cannot be had: $(tail -n 1 "$folder/apt.log")"
    for package in "$archives"/*.deb; do
        dpkg-deb --extract "$package" "$folder"
    done
    rm -rf "$archives"
fi
libraries=$folder/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu):$folder/usr/lib
version=$(LD_LIBRARY_PATH=$libraries "$folder/usr/bin/rustc" --version 2>&1) || missing "it does not run: $version"
minor=$(printf '%s' "$version" | sed -nE 's/^rustc 1\.([0-9]+)\..*/\1/p')
[ "${minor:-0}" -ge "$least" ] || missing "$version, and 1.$least is the least"
touch "$folder/complete"
printf 'export RUSTC=%q CARGO=%q RUSTC_BOOTSTRAP=1 LD_LIBRARY_PATH=%q\n' \
    "$folder/usr/bin/rustc" "$folder/usr/bin/cargo" "$libraries"
printf 'export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=%q\n' "$linker"
