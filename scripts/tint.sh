#!/usr/bin/env bash
# Check every composed kernel with Tint, the WGSL compiler of Chromium, which refuses what naga lets through: barriers
# in non-uniform control flow, too much workgroup memory, constants that are not finite. Optional; needs node, npm and
# the network (the npm package `webgpu`, about 130 MB, goes into a temporary folder).
# Usage: scripts/tint.sh [LANES...]   workgroup sizes up to 256, "64 256" unless given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/node.sh
node_packages tint webgpu@0.6.2

status=0
for lanes in "${@:-64 256}"; do
    for size in $lanes; do
        rm -rf target/shaders
        cargo run --quiet --release --all-features --example dump_shaders "$size"
        node scripts/tint.mjs "$folder/node_modules/webgpu" target/shaders || status=1
    done
done
exit "$status"
