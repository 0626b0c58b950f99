#!/usr/bin/env bash
# Runs the cases of `wgloss check --quick` by Dawn, the WebGPU of Chromium, from what `wgloss export` wrote, and compares the
# results with the CPU reference. Needs node, npm and the network (the npm packages `webgpu`, about 130 MB, and `ajv` go into
# a temporary folder), and a Vulkan driver: that of the machine, or another by VK_DRIVER_FILES.
# Usage: scripts/dawn.sh [TEXT [FOLDER]]   cases with TEXT in their name, all unless given; what was run stays in FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/node.sh
node_packages dawn webgpu@0.6.2 ajv@8.17.1
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$folder}"
# The test script has built the command already, and says where it is.
wgloss() {
    if [ -n "${WGLOSS:-}" ]; then
        "$WGLOSS" "$@"
    else
        cargo run --quiet --release --locked --all-features --bin wgloss -- "$@"
    fi
}
cases=${2:-$folder/cases}
wgloss export --cases --only "${1:-}" -o "$cases"
node scripts/dawn.mjs "$folder/node_modules" "$cases"
wgloss export --judge "$cases"
