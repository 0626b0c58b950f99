//! `wgloss-web-bindgen INPUT.wasm FOLDER`: what `wasm-bindgen --target web --no-typescript` does, by the library behind it.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder] = &arguments[..] else {
        eprintln!("usage: wgloss-web-bindgen INPUT.wasm FOLDER");
        return ExitCode::FAILURE;
    };
    let made = Bindgen::new().input_path(input).web(true).and_then(|all| {
        all.typescript(false)
            .omit_default_module_path(false)
            .generate(folder)
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wgloss-web-bindgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
