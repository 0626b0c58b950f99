#!/usr/bin/env bash
# Builds the page into web/dist: wasm, its JavaScript, and the files of web/page. Then any server of files shows it:
#
#   web/build.sh && python3 -m http.server --directory web/dist 8000     and http://localhost:8000/ in a browser
#
# Rust's target wasm32-unknown-unknown is taken where the toolchain has it (`rustup target add wasm32-unknown-unknown`),
# else a toolchain beside the system by scripts/wasm32.sh. Exit status 2 where neither is to be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)

# The tool runs here, so it is built before another toolchain is taken.
cargo build --quiet --release --locked --package wgloss-web-bindgen
. ./wasm32.sh
wasm32_cargo build --release --locked
rm -rf dist
mkdir dist
"$target/release/wgloss-web-bindgen" "$target/wasm32-unknown-unknown/release/wgloss_web.wasm" dist
cp page/* dist/
printf 'web/dist: %s bytes of wasm (%s by gzip), %s of its JavaScript\n' "$(wc -c <dist/wgloss_web_bg.wasm)" \
    "$(gzip -9 -c dist/wgloss_web_bg.wasm | wc -c)" "$(wc -c <dist/wgloss_web.js)"
