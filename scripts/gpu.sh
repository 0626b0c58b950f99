#!/usr/bin/env bash
# Measure on a machine with a GPU that has neither Rust nor a network.
#
#   scripts/gpu.sh pack [PACK]                      here: builds and strips what the other machine needs, into gpu-pack/
#   scripts/gpu.sh run [--seconds N] [REPORT]       there: about N seconds (400), one folder of results (gpu-report/)
#
# The pack holds this script too, and needs nothing of the repository. `run` asks for bash, coreutils and a Vulkan driver;
# with PyTorch (PYTHON names its interpreter) the peers are measured as well. A part that fails or runs out of its time
# stops no other; which did is said at the end, and the exit status is then 1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
most_mib=60

say() { printf '%s\n' "$*"; }
die() {
    printf 'gpu: %s\n' "$*" >&2
    exit 1
}

# ---- pack

add_loader() { # folder: put libvulkan.so.1 there, the system's or Debian's
    local found scratch
    found=$(ldconfig -p 2>/dev/null | sed -n 's/.*libvulkan\.so\.1 .*x86-64.*=> //p' | head -n 1)
    if [ -n "$found" ]; then
        cp -L "$found" "$1/libvulkan.so.1"
        return
    fi
    scratch=$(mktemp -d)
    if (cd "$scratch" && apt-get download libvulkan1 && dpkg -x libvulkan1_*.deb .) >/dev/null 2>&1; then
        cp -L "$(find "$scratch" -name 'libvulkan.so.1' | head -n 1)" "$1/libvulkan.so.1"
    else
        say "no libvulkan.so.1 here and none to download: the other machine needs its own"
    fi
    rm -rf "$scratch"
}

pack() {
    local root tests size
    root=$(dirname "$here")
    pack=${1:-$root/gpu-pack}
    cd "$root"
    [ ! -e "$pack" ] || [ -e "$pack/gpu-tests" ] || die "$pack is there and no pack"
    rm -rf "$pack"
    mkdir -p "$pack/lib" "$pack/compare"
    cargo build --release --locked --features cli --bin wgloss
    tests=$(cargo test --release --locked --all-features --test gpu --no-run --message-format=json |
        sed -n 's|.*"executable":"\([^"]*/gpu-[^"]*\)".*|\1|p' | tail -n 1)
    [ -n "$tests" ] || die "cargo named no binary of the GPU tests"
    cp "${CARGO_TARGET_DIR:-target}/release/wgloss" "$pack/wgloss"
    cp "$tests" "$pack/gpu-tests"
    strip "$pack/wgloss" "$pack/gpu-tests"
    cp benches/compare/*.py "$pack/compare/"
    cp scripts/gpu.sh "$pack/gpu.sh"
    add_loader "$pack/lib"
    size=$(du -sm "$pack" | cut -f 1)
    [ "$size" -le "$most_mib" ] || die "$pack has $size MiB, more than $most_mib"
    say "$pack: $size MiB"
}

# ---- run

# A loader and a driver that it finds. Containers often have NVIDIA's libraries and not the file that names them.
good_adapters() {
    local listed
    listed=$(timeout 10 "$pack/wgloss" adapters 2>/dev/null) || return 1
    # A card that Vulkan does not show must not be replaced by a software driver without a word.
    ! command -v nvidia-smi >/dev/null || grep -qi nvidia <<<"$listed"
}

find_vulkan() {
    local files library
    good_adapters && return 0
    export LD_LIBRARY_PATH="$pack/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    good_adapters && return 0
    files=$(ls /usr/local/nvidia/share/vulkan/icd.d/*.json 2>/dev/null | tr '\n' ':')
    for library in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
        printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' \
            "$library" >"$report/.$library.json"
        files+=$report/.$library.json:
    done
    export VK_ADD_DRIVER_FILES=${files%:}
    good_adapters
}

results=()
failed=0

part() { # name, seconds, file, command...: run it for so long at most, note the outcome
    local name=$1 limit=$2 file=$report/$3 start=$SECONDS status=0 outcome=ok
    shift 3
    say "=== $name (at most $limit s)"
    printf '$ %s\n' "$*" >>"$file"
    timeout -k 5 "$limit" "$@" >>"$file" 2>&1 </dev/null || status=$?
    case $status in
    0) ;;
    124 | 137) outcome="OUT OF TIME" ;;
    *) outcome="FAILED ($status)" ;;
    esac
    [ "$status" -eq 0 ] || failed=$((failed + 1))
    results+=("$(printf '%-12s %4d s  %-28s %s' "$outcome" "$((SECONDS - start))" "$name" "${file##*/}")")
    say "    ${results[-1]}"
}

machine() {
    uname -srm
    sed -n 's/^PRETTY_NAME=//p' /etc/os-release
    say "$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    ! command -v nvidia-smi >/dev/null || nvidia-smi || true
    env | grep -E '^(VK_|WGPU_|LD_LIBRARY_PATH)' || true
    "$pack/wgloss" --version
    "$pack/wgloss" adapters
}

run() {
    local seconds=400 python=${PYTHON:-python3} variant clocks=
    report=gpu-report
    while [ $# -gt 0 ]; do
        case $1 in
        --seconds) seconds=${2:?} && shift ;;
        -*) die "no such option: $1" ;;
        *) report=$1 ;;
        esac
        shift
    done
    [ "$seconds" -ge 60 ] || die "--seconds: at least 60"
    pack=$here
    [ -x "$pack/gpu-tests" ] || pack=$(dirname "$here")/gpu-pack
    [ -x "$pack/gpu-tests" ] || die "no pack: run \`scripts/gpu.sh pack\` where Rust is, and bring gpu-pack/ here"
    mkdir -p "$report"
    report=$(cd "$report" && pwd)
    [ -z "$(ls "$report")" ] || die "$report is not empty"
    share() { echo $((seconds * $1 / 100)); }
    # Mesa prints an error without one; harmless, but it looks like a failure.
    export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$report} WGLOSS_REQUIRE_GPU=1
    find_vulkan || say "no driver of the GPU was found by Vulkan: what follows shows what there is"
    export -f machine say
    export pack
    part "machine and adapters" "$(share 4)" machine.txt bash -c machine
    part "check --quick" "$(share 8)" check.txt "$pack/wgloss" check --quick
    # The variant that users get is the fastest; then where its kernels change over.
    variant=$(timeout 10 "$pack/gpu-tests" --list 2>&1 | sed -n 's/.*default variant //p' || true)
    part "tests of ${variant:-no variant}" "$(share 14)" tests.txt "$pack/gpu-tests" "${variant:-none}/"
    part "tests of regimes" "$(share 16)" tests.txt "$pack/gpu-tests" regimes/
    # A card that ran slowly for a while is else taken for a slow kernel.
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv -lms 500 \
            >"$report/clocks.csv" 2>&1 </dev/null &
        clocks=$!
    fi
    part "suite" "$(share 30)" suite.txt "$pack/wgloss" bench --suite --time "$(share 24)" --csv "$report/suite.csv"
    part "peers" "$(share 28)" peers.txt "$python" "$pack/compare/compare.py" --wgloss "$pack/wgloss" \
        --rounds 2 --time 0.1 --budget "$(share 20)" --json "$report/peers.json"
    [ -z "$clocks" ] || kill "$clocks" 2>/dev/null || true
    rm -f "$report"/.*.json
    {
        printf '%s\n' "${results[@]}"
        say "$failed of ${#results[@]} parts failed or ran out of time; $SECONDS s in all"
    } | tee "$report/summary.txt"
    [ "$failed" -eq 0 ]
}

case ${1:-} in
pack) pack "${2:-}" ;;
run) shift && run "$@" ;;
*) die "pack or run? $(sed -n 's/^#  *\(scripts.*\)/\1/p' "${BASH_SOURCE[0]}" | tr '\n' ';')" ;;
esac
