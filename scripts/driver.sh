#!/bin/sh
# Install a software Vulkan driver (Mesa's lavapipe), so that wgloss runs on a machine without a GPU.
#
# Debian 12 ships Mesa 22.3.6, whose lavapipe silently stops a loop after about 65,535 iterations and
# so returns wrong sums: there, the driver comes from bookworm-backports (Mesa 25). Debian 13 and newer
# and Ubuntu have a package that is good as it is. On any other system this script says what to do
# and exits with 1. Running it again changes nothing.
set -eu

say() { printf 'driver: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

package=mesa-vulkan-drivers
good=25 # the oldest Mesa this project has seen give right answers

# --- which system is this?

[ "$(uname -s)" != Darwin ] || die "macOS needs no Vulkan driver: wgpu uses Metal. Nothing to install."
[ "$(uname -s)" = Linux ] || die "not Linux: install a Vulkan driver by hand (on Windows wgpu uses DirectX 12)."
ID='' VERSION_ID='' PRETTY_NAME=''
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || . /etc/os-release
name=${PRETTY_NAME:-this system}
elsewhere="install Mesa 25 or newer with its lavapipe driver by hand (Fedora: mesa-vulkan-drivers; Arch: vulkan-swrast; Alpine: mesa-vulkan-swrast; openSUSE: libvulkan_lvp), then run \`wgloss adapters\`"
backports=
case $ID in
debian)
    case ${VERSION_ID:-99} in # testing and unstable have no VERSION_ID
    [1-9] | 10 | 11) die "$name is too old for this script: $elsewhere." ;;
    12) backports=bookworm-backports ;;
    esac
    ;;
ubuntu) ;;
*) die "no recipe for $name: $elsewhere." ;;
esac
for tool in apt-get apt-cache dpkg-query; do
    command -v "$tool" >/dev/null || die "$name without $tool: $elsewhere."
done

# --- already there?

installed() { # the installed version, or nothing
    # shellcheck disable=SC2016 # the format is dpkg's, not the shell's
    dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$package" 2>/dev/null | sed -n 's/^installed //p' | head -n 1
}
is_good() { dpkg --compare-versions "$1" ge "$good"; }

have=$(installed || true)
if [ -n "$have" ] && is_good "$have"; then
    say "$package $have is already installed"
    exit 0
fi

# --- root, by sudo if need be

if [ "$(id -u)" -eq 0 ]; then
    root=
elif ! command -v sudo >/dev/null; then
    die "not root, and no sudo: run this script as root."
elif [ -t 0 ]; then
    root=sudo
elif sudo -n true 2>/dev/null; then
    root='sudo -n'
else
    die "not root, and sudo would ask for a password: run this script as root."
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM

apt() { # quiet apt-get; what it said is in $log
    # shellcheck disable=SC2086 # $root is a command and its option
    $root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null
}
fail() { # message; then what apt said
    say "$1; apt said:"
    tail -n 15 "$log" >&2
    exit 1
}

# Another source on the machine may be broken. That is no concern of ours as long as the lists we need
# are there, so a failed update is only remembered here; a needed list that is missing shows below.
if ! apt update; then
    say "some package source failed to update; going on with those that did"
fi

# --- Debian 12: add bookworm-backports on the mirror in use

configured() { # is there an entry for the suite, in either format of sources?
    # The suite as written is known at once, the codename once the list was fetched.
    for key in Release Codename; do
        [ -z "$(apt-get indextargets 'Created-By: Packages' 'Component: main' "$key: $1" 2>/dev/null)" ] || return 0
    done
    return 1
}
offered() { apt-cache madison "$package" | grep -q '~bpo12'; }

# Print the entry of the Debian mirror (file $1, place $2, URI $3, suite $4) with the suite replaced by
# $backports. A copy keeps the entry's key and other options, whatever they are.
copy_entry() {
    case $1 in
    *.list)
        awk -v n="$2" -v uri="$3" -v to="$backports" 'NR == n {
            sub(/[ \t]*#.*/, "")
            at = index($0, uri)
            if (at) print substr($0, 1, at - 1) uri " " to " main"
        }' "$1"
        ;;
    *.sources)
        awk -v uri="$3" -v suite="$4" -v to="$backports" '
            function flush() {
                if (has_uri && has_suite && !done) {
                    printf "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n%s", uri, to, rest
                    done = 1
                }
                has_uri = has_suite = 0; rest = field = ""
            }
            /^#/ { next }
            /^[ \t]*$/ { flush(); next }
            {
                if ($0 !~ /^[ \t]/) { field = tolower($0); sub(/[ \t]*:.*/, "", field) }
                line = $0; sub(/^[^ \t:]*:/, "", line)
                count = split(line, word)
                for (i = 1; i <= count; i++) {
                    if (field == "uris" && (word[i] == uri || word[i] "/" == uri || word[i] == uri "/")) has_uri = 1
                    if (field == "suites" && word[i] == suite) has_suite = 1
                }
                if (field !~ /^(types|uris|suites|components)$/) rest = rest $0 "\n"
            }
            END { flush() }' "$1"
        ;;
    esac
}

add_backports() {
    # The mirror is what apt itself calls Debian's bookworm; a third-party source may use the same suite name.
    # shellcheck disable=SC2016 # the format is apt's, not the shell's
    entry=$(apt-get indextargets --format '$(SOURCESENTRY) $(SITE) $(RELEASE)' \
        'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' 'Component: main' | head -n 1)
    [ -n "$entry" ] || fail "found no working Debian 12 mirror among the package sources"
    where=${entry%% *}
    suite=${entry##* }
    uri=${entry#* }
    uri=${uri% *}
    from=${where%:*}
    to=/etc/apt/sources.list.d/$backports.${from##*.}
    new=$(copy_entry "$from" "${where##*:}" "$uri" "$suite")
    [ -n "$new" ] || die "could not read the mirror's entry in $from: add $backports to the package sources by hand."
    [ ! -e "$to" ] || die "$to exists but is not in use: enable or remove it."
    printf '%s\n' "$new" | $root tee "$to" >/dev/null
    $root chmod 644 "$to"
    say "added $backports ($to)"
    # Only this source, and keep the lists of the others.
    if ! apt update -o Dir::Etc::sourcelist="$to" -o Dir::Etc::sourceparts=/dev/null -o APT::Get::List-Cleanup=0 || ! offered; then
        $root rm -f "$to"
        fail "the configured mirror gave no $backports, so the entry was removed; add a mirror that has it"
    fi
}

if [ -n "$backports" ]; then
    configured "$backports" || add_backports
    offered || fail "$backports is configured but offers no $package"
fi

# --- install

apt install -y --no-install-recommends ${backports:+-t "$backports"} "$package" || fail "could not install $package"
have=$(installed || true)
[ -n "$have" ] || fail "$package is still not installed"
say "installed $package $have"
is_good "$have" || say "warning: older than Mesa $good; \`wgloss adapters\` tells whether it computes correctly"
