#!/bin/sh
# Install an MPI library (OpenMPI) and what building against it takes, and print the environment that cargo needs for it:
#
#     eval "$(sh wgloss-mpi/install.sh)"
#
# Debian and Ubuntu; elsewhere it says what to do and exits with 1. Running it again changes nothing. `mpi-sys` makes its bindings
# with libclang, and Debian's libclang has no headers of its own: those of the C compiler do.
set -eu

say() { printf 'mpi: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

ID='' PRETTY_NAME=''
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || . /etc/os-release
name=${PRETTY_NAME:-this system}
case $ID in
debian | ubuntu) ;;
*) die "no recipe for $name: install an MPI library with its headers (OpenMPI 4 or MPICH 4) and libclang by hand." ;;
esac
for tool in apt-get apt-cache dpkg-query cc; do
    command -v "$tool" >/dev/null || die "$name without $tool."
done

installed() { # is the package there?
    # shellcheck disable=SC2016 # the format is dpkg's, not the shell's
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Any libclang will do; the distribution's own version is what its libclang-dev would bring.
clang=
for package in $(dpkg-query -W -f='${Package}\n' 'libclang1-*' 2>/dev/null || true); do
    ! installed "$package" || clang=$package
done
if [ -z "$clang" ]; then
    clang=$(apt-cache depends libclang-dev 2>/dev/null | sed -n 's/.*Depends: libclang-\([0-9.]*\)-dev.*/libclang1-\1/p' | head -n 1)
    : "${clang:=libclang1-14}"
fi

missing=
for package in libopenmpi-dev openmpi-bin "$clang"; do
    installed "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ]; then
        root=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        root='sudo -n'
    else
        die "not root, and no sudo without a password: run this script as root."
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt() { # quiet apt-get; what it said is in $log
        # shellcheck disable=SC2086 # $root is a command and its option
        $root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null
    }
    # Another source may be broken; a needed list that is missing shows below.
    apt update || say "some package source failed to update; going on with those that did"
    # shellcheck disable=SC2086 # a list of names
    if ! apt install -y --no-install-recommends $missing; then
        tail -n 15 "$log" >&2
        die "could not install$missing"
    fi
    say "installed$missing"
fi

# Always the same, since its change builds mpi-sys anew.
printf 'export BINDGEN_EXTRA_CLANG_ARGS=-I%s\n' "$(cc -print-file-name=include)"
# OpenMPI refuses to run as root, and more ranks than cores, unless it is told that both are meant.
printf 'export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1\n'
