# To be read by a script of bash: npm packages in a temporary folder, which goes with the script.

node_packages() { # name of the script, packages: sets `folder`; they lie in "$folder/node_modules"
    local tool script=$1
    shift
    for tool in node npm cargo; do
        command -v "$tool" >/dev/null || {
            printf '%s: %s not found\n' "$script" "$tool" >&2
            exit 1
        }
    done
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error "$@" >/dev/null
}
