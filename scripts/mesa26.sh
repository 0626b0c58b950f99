#!/usr/bin/env bash
# Put Mesa 26 beside the system, whose software driver has cooperative matrices, which older ones do not: into a folder,
# from Debian 13's backports, with the C library it was built against. Nothing is installed, and nothing outside of the
# folder is touched. On stdout what a shell needs to run cargo's programs with it:
#
#   eval "$(scripts/mesa26.sh FOLDER)" && cargo test ...
#
# A folder that has it already is used as it is. For Debian 12 and newer on x86-64, with the mirror that the machine has
# for Debian itself. Exit status 2: not here (another system, no such mirror, no network), with the reason on stderr.
set -euo pipefail

missing() {
    printf 'mesa26: %s\n' "$*" >&2
    exit 2
}

[ $# -eq 1 ] || {
    printf 'usage: scripts/mesa26.sh FOLDER\n' >&2
    exit 1
}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
libraries=$folder/usr/lib/x86_64-linux-gnu

say_environment() {
    # The system's own loader and libraries are older than the driver; what cargo starts goes through the new ones. It is
    # only cargo's own programs that do: what these start finds the system's driver files gone.
    printf 'export VK_DRIVER_FILES=%q VK_ICD_FILENAMES=%q\n' "$folder/driver.json" "$folder/driver.json"
    printf 'export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=%q\n' \
        "$libraries/ld-linux-x86-64.so.2 --library-path $libraries"
}

if [ -e "$folder/driver.json" ]; then
    say_environment
    exit 0
fi

[ "$(uname -sm)" = 'Linux x86_64' ] || missing "$(uname -sm), not Linux on x86-64"
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || missing "no $tool: not Debian"
done
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || missing "no keys of Debian's archive"
# Of either form of apt's sources, the first that is Debian's main archive.
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    sed -nE '/^[[:space:]]*#/d; s#.*(https?://[^[:space:]]+/debian/?)([[:space:]].*)?$#\1#p' | sed 1q)
[ -n "$mirror" ] || missing "apt knows no mirror of Debian"

# apt with lists, a cache and a list of what is installed (nothing) of its own.
state=$folder/apt
rm -rf "$state"
mkdir -p "$state/lists/partial" "$state/archives/partial"
: >"$state/installed"
for suite in trixie trixie-backports; do
    printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite"
done >"$state/sources"
own_apt() {
    apt-get -qq \
        -o Dir::Etc::SourceList="$state/sources" -o Dir::Etc::SourceParts=- \
        -o Dir::State="$state" -o Dir::State::Lists="$state/lists" -o Dir::State::Status="$state/installed" \
        -o Dir::Cache="$state" -o Dir::Cache::Archives="$state/archives" \
        -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=true "$@" >&2
}
own_apt update || missing "the lists of Debian 13 could not be had"
own_apt --yes --download-only --target-release trixie-backports install mesa-vulkan-drivers libgcc-s1 ||
    missing "the driver could not be had"
for package in "$state"/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder"
done
rm -rf "$state"
[ -e "$libraries/ld-linux-x86-64.so.2" ] || missing "the packages are not laid out as expected"
# The file that names the driver comes last: with it the folder is complete.
sed -E "s#(\"library_path\": *\")[^\"]*/?(libvulkan_lvp\.so\")#\1$libraries/\2#" \
    "$folder"/usr/share/vulkan/icd.d/lvp_icd*.json >"$folder/driver.part"
mv "$folder/driver.part" "$folder/driver.json"
say_environment
