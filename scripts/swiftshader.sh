#!/usr/bin/env bash
# Fetches SwiftShader, Chromium's software Vulkan driver, from Debian's package chromium-common into a folder, installs
# nothing, and prints the environment that makes it the only driver: subgroups of 4, 256 lanes, 10 storage buffers, no f16.
# Usage: eval "$(scripts/swiftshader.sh target/swiftshader)"   then wgloss check --quick, scripts/dawn.sh or tests
# Exit status 2 where it cannot be had: no Debian, no network.
set -euo pipefail

[ $# -eq 1 ] || {
    printf 'usage: %s FOLDER\n' "$0" >&2
    exit 1
}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
icd=$folder/usr/lib/chromium/vk_swiftshader_icd.json
if [ ! -e "$icd" ]; then
    cd "$folder"
    # apt says that it downloads as root into a folder of somebody's: no harm.
    if ! { command -v apt-get && command -v dpkg && apt-get download chromium-common; } >apt.log 2>&1; then
        printf 'swiftshader: chromium-common cannot be downloaded here: %s\n' "$(tail -n 1 apt.log)" >&2
        exit 2
    fi
    dpkg -x chromium-common_*.deb .
    rm chromium-common_*.deb
fi
[ -e "$icd" ] || {
    printf 'swiftshader: the package has no %s\n' "$icd" >&2
    exit 2
}
printf 'export VK_DRIVER_FILES=%q VK_ICD_FILENAMES=%q\n' "$icd" "$icd"
