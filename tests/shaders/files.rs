//! The folder `shaders/`: no file too many or too few, and headers that say what a file provides.

use crate::modules_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wgloss::shader::Module;

/// Files that are modules of their own, outside the composition.
pub const STANDALONE: [&str; 2] = ["measure/copy.wgsl", "measure/multiply_add.wgsl"];
/// The only files that may name the type f16, and the functions through which they do.
const F16_FILES: [&str; 10] = [
    "contrastive/halve.wgsl",
    "contrastive/halves_one.wgsl",
    "contrastive/halves_two.wgsl",
    "linear/halves.wgsl",
    "shared/grad_f16_any.wgsl",
    "shared/in_place_f16_any.wgsl",
    "shared/logits_f16_any.wgsl",
    "shared/matrices_16.wgsl",
    "shared/matrices_8.wgsl",
    "shared/product_cooperative.wgsl",
];

/// Every file that a module has, with its text.
fn sources() -> BTreeMap<&'static str, &'static str> {
    let modules = modules_of(64).into_iter();
    let files = modules.flat_map(|module| module.files());
    files.map(|file| (file.path, file.text)).collect()
}

#[test]
fn files_on_disk_and_files_in_use_are_the_same() {
    let mut on_disk = BTreeSet::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "wgsl") {
                let name = path.strip_prefix(folder()).unwrap().to_str().unwrap();
                on_disk.insert(name.replace('\\', "/"));
            }
        }
    }
    for name in STANDALONE {
        assert!(on_disk.remove(name), "{name} is not there");
    }
    let used: BTreeSet<String> = sources().into_keys().map(str::to_owned).collect();
    assert_eq!(on_disk, used, "on disk and in use");
    println!("{} files", used.len());
}

#[test]
fn headers_say_what_a_file_provides() {
    let mut problems = Vec::new();
    // What each file declares, and which other files of a module use it.
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let paths = |module: &Module| -> Vec<&str> {
        let files = module.files().into_iter();
        files.map(|file| file.path).collect()
    };
    let compositions: BTreeSet<_> = modules_of(64).iter().map(paths).collect();
    let sources = sources();
    for files in &compositions {
        let words: Vec<_> = files.iter().map(|f| words(&code(sources[f]))).collect();
        for (i, file) in files.iter().enumerate() {
            for name in declared(&code(sources[file])).into_keys() {
                if (0..files.len()).any(|j| j != i && words[j].contains(&name)) {
                    used.entry(file).or_default().insert(name);
                }
            }
        }
    }
    let mut names = 0;
    for (file, source) in &sources {
        let (provides, expects) = header(source);
        if provides.is_empty() || expects.is_empty() {
            problems.push(format!(
                "{file}: no `provides:` or no `expects:` in the header"
            ));
        }
        let declared = declared(&code(source));
        for (name, binding) in &provides {
            names += 1;
            if name == "the entry points" && source.contains("@compute") {
                continue;
            }
            if declared.get(name) != Some(binding) {
                problems.push(format!(
                    "{file}: provides {name} (binding {binding:?}), says it"
                ));
            }
        }
        let all_entries = provides.contains_key("the entry points");
        for name in used.remove(file).unwrap_or_default() {
            let entry = all_entries
                && source.contains(&format!("@compute @workgroup_size(WG)\nfn {name}("));
            if !entry && !provides.contains_key(&name) {
                problems.push(format!("{file}: others use {name}, the header is silent"));
            }
        }
    }
    assert_eq!(problems, [""; 0]);
    println!("{names} names provided by {} files", sources.len());
}

#[test]
fn only_io_parts_and_cooperative_matrices_name_f16() {
    for (file, source) in sources() {
        let names_it = words(&code(source)).contains("f16");
        assert_eq!(names_it, F16_FILES.contains(&file), "{file}");
    }
}

/// The names under `provides:`, each with the binding the header gives it, and the text under `expects:`.
pub fn header(source: &str) -> (BTreeMap<String, Option<u32>>, String) {
    let comment: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//"))
        .map(str::trim)
        .collect();
    let comment = comment.join(" ");
    let (comment, expects) = comment.split_once("expects:").unwrap_or((&comment, ""));
    let provides = comment.split_once("provides:").map_or("", |(_, p)| p);
    let mut names = BTreeMap::new();
    let mut depth = 0;
    let commas = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    for item in provides.split(commas) {
        let (name, detail) = item.split_once('(').unwrap_or((item, ""));
        let number = detail.strip_prefix("binding ").map(|d| {
            let end = d.find(|c: char| !c.is_ascii_digit()).unwrap_or(d.len());
            d[..end].parse().unwrap()
        });
        if !name.trim().is_empty() {
            names.insert(name.trim().to_owned(), number);
        }
    }
    (names, expects.trim().to_owned())
}

/// WGSL without its comments (line comments are the only ones here).
pub fn code(source: &str) -> String {
    let stripped = source.lines().map(|line| line.split("//").next().unwrap());
    stripped.collect::<Vec<_>>().join("\n")
}

pub fn words(code: &str) -> BTreeSet<String> {
    let split = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    split.map(str::to_owned).collect()
}

/// What a file declares at its top level, with bindings.
pub fn declared(code: &str) -> BTreeMap<String, Option<u32>> {
    let mut names = BTreeMap::new();
    for line in code
        .lines()
        .filter(|line| !line.starts_with([' ', '}', ')']))
    {
        let mut rest = line;
        let mut binding = None;
        while let Some(attribute) = rest.strip_prefix('@') {
            let (attribute, behind) = attribute.split_once(") ").unwrap_or((attribute, ""));
            binding = attribute
                .strip_prefix("binding(")
                .map_or(binding, |n| n.parse().ok());
            rest = behind;
        }
        let Some((keyword, name)) = rest.split_once(['<', ' ']) else {
            continue;
        };
        let name = match keyword {
            "var" => name.split_once("> ").map_or("", |(_, name)| name),
            "fn" | "const" | "struct" | "alias" => name,
            _ => panic!("what is {line:?}?"),
        };
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        names.insert(name[..end.unwrap_or(name.len())].to_owned(), binding);
    }
    names
}

pub fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")
}
