//! Writes every composed WGSL module to `target/shaders/`, for reading, editors and other validators.
//!
//! `cargo run --example dump_shaders [LANES]`, LANES being the workgroup size, 64 unless given.

use std::path::Path;
use wgloss::shader;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let workgroup: u32 = match std::env::args().nth(1) {
        Some(lanes) => lanes.parse()?,
        None => 64,
    };
    if !workgroup.is_power_of_two() || !(32..=1024).contains(&workgroup) {
        return Err(
            format!("{workgroup} lanes; a workgroup has 32, 64, 128, 256, 512 or 1024").into(),
        );
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/shaders");
    std::fs::create_dir_all(&folder)?;
    let modules = shader::modules(workgroup);
    for module in &modules {
        std::fs::write(folder.join(format!("{module}.wgsl")), module.compose())?;
    }
    println!("{} modules in {}", modules.len(), folder.display());
    Ok(())
}
