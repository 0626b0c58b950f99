//! What Metal gets, of a few kernels, is what somebody has read: no compiler of MSL runs outside of Apple's systems.
//! `WGLOSS_WRITE_MSL=1 cargo test --all-features --test shaders msl` writes the files anew, for the diff to be read.

use crate::backends::{Compiled, capabilities};
use crate::{for_each, modules_of, parse, validate};
use std::path::Path;

/// One kernel of each way of working: rows whose lanes share a subgroup, rows of a whole workgroup, tiles in workgroup memory,
/// pairs, atomics.
const SAMPLES: [(&str, &str); 5] = [
    (
        "zlpr_hard_f32_f32whole_u8_hard_near_short_subgroup_64",
        "rows",
    ),
    ("bce_f32_f32whole_u8_wide_tree_64", "gradient"),
    ("contrastive_products_one_tree_64", "products"),
    ("contrastive_pairs_one_all_simdis_subgroup_64", "pairs"),
    ("mcm_climb_u8_tree_64", "climb"),
];

#[test]
fn msl_of_samples_is_as_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/msl");
    let anew = std::env::var_os("WGLOSS_WRITE_MSL").is_some();
    let entry_of = |name: &str| SAMPLES.iter().find(|(module, _)| *module == name);
    let mut modules = modules_of(64);
    modules.retain(|module| entry_of(&module.to_string()).is_some());
    let found = for_each(modules, |module, text| {
        let name = module.to_string();
        let (_, entry) = entry_of(&name).ok_or("no sample")?;
        let ir = parse(text)?;
        let info = validate(&ir, capabilities(module, text))?;
        let msl = Compiled::new(module, &ir, &info, entry)?.msl;
        let msl = msl.ok_or("no MSL")?;
        let path = folder.join(format!("{name}.{entry}.metal"));
        if anew {
            return std::fs::write(&path, msl).map_err(|e| e.to_string());
        }
        let committed = std::fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let mut lines = committed.lines().zip(msl.lines()).enumerate();
        match lines.find(|(_, (old, new))| old != new) {
            Some((at, (old, new))) => Err(format!("line {}: {new:?}, was {old:?}", at + 1)),
            None if committed != msl => Err("longer or shorter than it was".into()),
            None => Ok(()),
        }
    });
    assert_eq!(found, SAMPLES.len());
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        SAMPLES.len(),
        "files"
    );
}
