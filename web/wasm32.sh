# To be read by a script of bash in web/: cargo for wasm32, by the toolchain that is there or by one beside the system.

wasm32_cargo() { # command and options: cargo's, for wasm32
    local command=$1
    shift
    if [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
        cargo "$command" --target wasm32-unknown-unknown "$@"
        return
    fi
    (
        beside=$(bash ../scripts/wasm32.sh "${CARGO_TARGET_DIR:-target}/wasm32-rust") || exit
        eval "$beside"
        # The toolchain has the standard library as source alone.
        "$CARGO" "$command" -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown "$@"
    )
}
