//! Who may know whom in `src/`: layers one way, families of kernels apart, nobody inside through the facade, no circle
//! between files. Reads what the files name, whether in a `use` or in the middle of a line; unit tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A room is a folder or a file under `src/`. It knows those named here; the last column says what a room is to be.
const ROOMS: [(&str, &str, &[&str], &str); 9] = [
    (
        "error",
        "src/error.rs",
        &[],
        "the error type knows nothing else",
    ),
    (
        "losses",
        "src/losses/",
        &["error"],
        "a loss's settings know neither the GPU nor the code that computes it",
    ),
    (
        "device",
        "src/device/",
        &["error"],
        "the mechanism knows no loss",
    ),
    (
        "reference",
        "src/reference/",
        &["error", "losses"],
        "the formulas on the CPU know settings alone",
    ),
    (
        "kernels",
        "src/kernels/",
        &["error", "losses", "device"],
        "the GPU's plans know settings and mechanism alone",
    ),
    (
        "rowwise",
        "src/rowwise.rs",
        &["error", "losses", "device", "reference", "kernels"],
        "the list of losses does not know who uses it",
    ),
    (
        "host",
        "src/host/",
        &[
            "error",
            "losses",
            "device",
            "reference",
            "kernels",
            "rowwise",
        ],
        "the layer of slices does not know what is built on it",
    ),
    (
        "check",
        "src/check/",
        &[
            "error",
            "losses",
            "device",
            "reference",
            "kernels",
            "rowwise",
            "host",
        ],
        "the check does not know the command",
    ),
    (
        "bin",
        "src/bin/",
        &[],
        "the command takes the library as `wgloss`, as any user",
    ),
];

/// Families of kernels: the folders and files of these names in `src/kernels/`.
const FAMILIES: [&str; 7] = [
    "rows",
    "linear",
    "contrastive",
    "hcal",
    "mcm",
    "balance",
    "metrics",
];
/// Which family may know which other.
const FAMILY_USES: [(&str, &str); 2] = [("hcal", "balance"), ("linear", "rows")];

const FACADE: &str = "src/lib.rs";

/// The files of `src/`, by path.
type Sources = BTreeMap<String, String>;

#[test]
fn layers_are_one_way() {
    let found = Imports::of(&sources());
    let faults = found.faults();
    println!("{}", found.count());
    assert!(
        faults.is_empty(),
        "{}\n{}",
        faults.join("\n"),
        found.count()
    );
}

#[test]
fn the_check_sees_what_is_wrong() {
    let faults = |files: &[(&str, &str)]| {
        let root = ("src/lib.rs", "mod error; pub use error::Error;");
        let files = files
            .iter()
            .chain([&root, &("src/error.rs", "pub struct Error;")]);
        Imports::of(
            &files
                .map(|(file, text)| ((*file).into(), (*text).into()))
                .collect(),
        )
        .faults()
    };
    // Shown by a parent, taken through it, in a comment or a string, in unit tests: all fine.
    assert_eq!(
        faults(&[
            (
                "src/losses/mod.rs",
                "mod bce;\npub use bce::{Bce, Other as Second};"
            ),
            (
                "src/losses/bce.rs",
                "//! crate::host::x\nuse crate::error::Error; const A: &str = \"crate::host::x\";"
            ),
            ("src/kernels/mod.rs", "pub mod hcal;\npub mod balance;"),
            (
                "src/kernels/hcal.rs",
                "use super::balance::x; use crate::losses::{self, Second};"
            ),
            (
                "src/kernels/balance.rs",
                "fn x() {}\n#[cfg(test)]\nmod tests { use crate::host::y; }"
            ),
        ]),
        [""; 0]
    );
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[
                (
                    "src/losses/bce.rs",
                    "fn f() -> Option<crate::kernels::rows::Plan> { None }",
                ),
                ("src/kernels/mod.rs", "pub mod rows;"),
                ("src/kernels/rows.rs", "pub struct Plan;"),
            ],
            "src/losses/bce.rs imports kernels (crate::kernels::rows::Plan): a loss's settings know neither the GPU nor \
             the code that computes it",
        ),
        (
            &[("src/losses/bce.rs", "use crate::{error, Error};")],
            "src/losses/bce.rs imports crate::Error through src/lib.rs: name the file that has it",
        ),
        (
            &[
                ("src/kernels/mcm.rs", "use super::{balance::{x, y}};"),
                ("src/kernels/balance.rs", ""),
                ("src/kernels/mod.rs", ""),
            ],
            "src/kernels/mcm.rs imports the kernels of balance (super::balance::x): families do not know each other",
        ),
        (
            &[
                ("src/host/mod.rs", "mod rows; fn f() { rows::g() }"),
                ("src/host/rows.rs", "use super::f;"),
            ],
            "a circle: src/host/mod.rs -> src/host/rows.rs",
        ),
        (
            &[
                ("src/bin/wgloss/main.rs", "mod run; mod rows;"),
                (
                    "src/bin/wgloss/run.rs",
                    "use crate::rows; fn f() { rows::g() }",
                ),
                ("src/bin/wgloss/rows.rs", "use super::run::{self as other};"),
            ],
            "a circle: src/bin/wgloss/rows.rs -> src/bin/wgloss/run.rs",
        ),
        (
            &[("src/loose.rs", "")],
            "src/loose.rs is in no room: say in tests/layers.rs what it may know",
        ),
    ];
    for (files, fault) in cases {
        assert_eq!(faults(files), [fault]);
    }
}

/// What an engine has to be able to rely on: the core takes no device of its own, no queue, waits for nothing, reads nothing
/// back, sets no handler.
#[test]
fn the_core_neither_submits_nor_waits() {
    const HOSTS: [&str; 12] = [
        "Queue",
        "submit",
        "write_buffer",
        "PollType",
        "map_async",
        "get_mapped_range",
        "request_device",
        "request_adapter",
        "enumerate_adapters",
        "Instance",
        "on_uncaptured_error",
        "set_device_lost_callback",
    ];
    let of_core = |file: &str| {
        file == "src/rowwise.rs"
            || ["device", "kernels", "losses", "reference"]
                .iter()
                .any(|room| file.starts_with(&format!("src/{room}/")))
    };
    let sources = sources();
    let core = sources.iter().filter(|(file, _)| of_core(file));
    let named: Vec<(&str, BTreeSet<String>)> = core
        .map(|(file, text)| (file.as_str(), tokens(text).into_iter().collect()))
        .collect();
    assert!(named.len() > 80, "{}", named.len());
    for (file, tokens) in &named {
        let found = HOSTS.iter().find(|name| tokens.contains(**name));
        assert_eq!(found, None, "{file}");
    }
    // The same words are found where they are.
    let host = tokens(&sources["src/host/gpu.rs"]);
    for name in HOSTS.iter().filter(|name| **name != "write_buffer") {
        assert!(host.iter().any(|token| token == name), "{name}");
    }
}

/// The library opens no file, no socket and no process; the command alone does.
#[test]
fn the_library_stays_in_memory() {
    const OUTSIDE: [&str; 3] = ["fs", "net", "process"];
    let sources = sources();
    let (command, library): (Vec<_>, Vec<_>) = sources
        .iter()
        .map(|(file, text)| (file, tokens(text)))
        .partition(|(file, _)| file.starts_with("src/bin/"));
    for (file, tokens) in &library {
        // What is named when the crate is compiled stays there.
        let at_run_time = |name: &&&str| tokens.iter().any(|token| token == **name);
        assert_eq!(OUTSIDE.iter().find(at_run_time), None, "{file}");
    }
    assert!(library.len() > 100 && !command.is_empty());
    let uses = |name: &str| {
        command
            .iter()
            .any(|(_, tokens)| tokens.iter().any(|t| t == name))
    };
    assert!(uses("fs") && uses("process"));
}

/// The library's consent to what is experimental is one word in one file; so is the command's look at its own stdout before
/// `main`.
#[test]
fn unsafe_is_one_word_each_of_library_and_command() {
    let sources = sources();
    let with: Vec<&String> = sources
        .iter()
        .filter(|(_, text)| tokens(text).iter().any(|token| token == "unsafe"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(
        with,
        ["src/bin/wgloss/startup.rs", "src/host/experimental.rs"]
    );
    for file in with {
        let count = tokens(&sources[file]);
        let count = count.iter().filter(|token| *token == "unsafe").count();
        assert_eq!(count, 1, "{file}");
    }
}

/// The files as they are.
fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut sources = Sources::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                sources.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

/// A path that a file names, and where it stands.
struct Named {
    path: Vec<String>,
    /// In a `pub use`.
    shown: bool,
    /// In a `use`; the name that it gets there.
    alias: Option<String>,
}

/// What the files import: importer, imported, and the path by which.
struct Imports {
    files: Vec<String>,
    arrows: BTreeMap<(String, String), String>,
}

impl Imports {
    fn of(sources: &Sources) -> Imports {
        let modules = Modules {
            files: sources.keys().map(|file| (module(file), file)).collect(),
            named: sources
                .iter()
                .map(|(file, text)| (module(file), named(&tokens(text))))
                .collect(),
        };
        let mut arrows = BTreeMap::new();
        for (here, paths) in &modules.named {
            for Named { path, shown, .. } in paths {
                let Some(full) = modules.absolute(here, path) else {
                    continue;
                };
                // What a module shows of its own children it need not know.
                if *shown && full.len() > here.len() && full.starts_with(here) {
                    continue;
                }
                // The root of the library only shows what others have.
                let facade =
                    full[0] == "lib" && full.len() > 1 && !modules.files.contains_key(&full[..2]);
                let target = if facade {
                    full[..1].to_vec()
                } else {
                    modules.home(&full, 8)
                };
                if target != *here {
                    let key = (modules.files[here].clone(), modules.files[&target].clone());
                    arrows.entry(key).or_insert_with(|| path.join("::"));
                }
            }
        }
        Imports {
            files: sources.keys().cloned().collect(),
            arrows,
        }
    }

    /// Sentences that say what is wrong.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for file in self
            .files
            .iter()
            .filter(|file| *file != FACADE && room(file).is_none())
        {
            faults.push(format!(
                "{file} is in no room: say in tests/layers.rs what it may know"
            ));
        }
        for ((from, to), path) in &self.arrows {
            if to == FACADE {
                faults.push(format!(
                    "{from} imports {path} through {FACADE}: name the file that has it"
                ));
                continue;
            }
            if let (Some((name, _, knows, why)), Some((other, ..))) = (room(from), room(to))
                && name != other
                && !knows.contains(other)
            {
                faults.push(format!("{from} imports {other} ({path}): {why}"));
            }
            if let (Some(one), Some(other)) = (family(from), family(to))
                && one != other
                && !FAMILY_USES.contains(&(one, other))
            {
                faults.push(format!("{from} imports the kernels of {other} ({path}): families do not know each other"));
            }
        }
        for circle in self.circles() {
            faults.push(format!("a circle: {}", circle.join(" -> ")));
        }
        faults
    }

    /// One line of numbers.
    fn count(&self) -> String {
        let place = |file: &str| match room(file) {
            Some((name, ..)) => (*name).to_string(),
            None => file.to_string(),
        };
        let rooms = self
            .arrows
            .keys()
            .map(|(from, to)| (place(from), place(to)));
        let arrows: BTreeSet<_> = rooms.filter(|(from, to)| from != to).collect();
        let up = arrows.iter().filter(|(from, to)| {
            let knows = ROOMS
                .iter()
                .find(|(name, ..)| name == from)
                .map(|(_, _, knows, _)| knows);
            knows.is_none_or(|knows| !knows.contains(&to.as_str()))
        });
        let circles = self.circles();
        format!(
            "{} files, {} imports; {} arrows between rooms, {} of them up; {} circles, of {} files",
            self.files.len(),
            self.arrows.len(),
            arrows.len(),
            up.count(),
            circles.len(),
            circles.iter().map(Vec::len).sum::<usize>(),
        )
    }

    /// Groups of files each of which reaches all others.
    fn circles(&self) -> Vec<Vec<String>> {
        let reach = |start: &String| {
            let mut seen = BTreeSet::new();
            let mut open = vec![start];
            while let Some(file) = open.pop() {
                for (from, to) in self.arrows.keys() {
                    if from == file && seen.insert(to) {
                        open.push(to);
                    }
                }
            }
            seen
        };
        let reaches: BTreeMap<&String, BTreeSet<&String>> =
            self.files.iter().map(|file| (file, reach(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, seen) in reaches.iter().filter(|(file, seen)| seen.contains(*file)) {
            circles.insert(
                seen.iter()
                    .filter(|f| reaches[**f].contains(file))
                    .map(|f| (*f).clone())
                    .collect(),
            );
        }
        circles.into_iter().collect()
    }
}

fn room(
    file: &str,
) -> Option<&'static (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
)> {
    ROOMS.iter().find(|(_, at, ..)| file.starts_with(at))
}

fn family(file: &str) -> Option<&'static str> {
    let rest = file.strip_prefix("src/kernels/")?;
    let first = rest.split(['/', '.']).next()?;
    FAMILIES.into_iter().find(|name| *name == first)
}

/// The module of a file: its crate's root (the library or a command), then the names.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let (root, path) = match path
        .strip_prefix("bin/")
        .and_then(|path| path.split_once('/'))
    {
        Some((command, path)) => (command, path),
        None => ("lib", path),
    };
    let names = path
        .split('/')
        .filter(|name| !["mod", "main", "lib"].contains(name));
    std::iter::once(root)
        .chain(names)
        .map(String::from)
        .collect()
}

/// The modules that files make, with the paths they name.
struct Modules<'a> {
    files: BTreeMap<Vec<String>, &'a String>,
    named: BTreeMap<Vec<String>, Vec<Named>>,
}

impl Modules<'_> {
    /// What a `use` of a module calls by a name.
    fn used(&self, at: &[String], name: &str) -> Option<&Named> {
        self.named[at]
            .iter()
            .find(|n| name != "*" && n.alias.as_deref() == Some(name))
    }

    /// A path from the root of its crate; `None` where it begins in another crate or with an item of the file's own.
    fn absolute(&self, here: &[String], path: &[String]) -> Option<Vec<String>> {
        let (mut at, rest) = match path[0].as_str() {
            "crate" => (here[..1].to_vec(), &path[1..]),
            "self" => (here.to_vec(), &path[1..]),
            "super" => (here.to_vec(), path),
            name => {
                let child = [here, &path[..1]].concat();
                (self.files.contains_key(&child) || self.used(here, name).is_some())
                    .then_some(())?;
                (here.to_vec(), path)
            }
        };
        let up = rest.iter().take_while(|name| *name == "super").count();
        at.truncate(at.len() - up);
        Some([&at, &rest[up..]].concat())
    }

    /// The module whose file has what a path names, through what modules on the way have from others.
    fn home(&self, full: &[String], steps: usize) -> Vec<String> {
        let known = (1..=full.len())
            .rev()
            .find(|n| self.files.contains_key(&full[..*n]))
            .unwrap();
        let (at, rest) = full.split_at(known);
        let used = rest
            .first()
            .and_then(|name| self.absolute(at, &self.used(at, name)?.path));
        match used {
            Some(next) if steps > 0 => self.home(&[&next, &rest[1..]].concat(), steps - 1),
            _ => at.to_vec(),
        }
    }
}

/// Names, `::` and single characters; no comments, no literals, no unit tests (which are last in their file).
fn tokens(text: &str) -> Vec<String> {
    let mut rest = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut tokens = Vec::new();
    while let Some(c) = rest.chars().next() {
        let name = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let end = |from: usize, c: char| rest[from..].find(c).map_or(rest.len(), |n| from + n + 1);
        let (len, counts) = if name > 0 {
            (name, true)
        } else if rest.starts_with("//") {
            (end(0, '\n'), false)
        } else if rest.starts_with("::") {
            (2, true)
        } else if rest.starts_with("'\\") {
            (end(3, '\''), false)
        } else if c == '\'' && rest.chars().nth(2) == Some('\'') {
            (
                end(1 + rest[1..].chars().next().unwrap().len_utf8(), '\''),
                false,
            )
        } else if c == '"' {
            let mut at = 1;
            while !rest[at..].starts_with('"') {
                at += if rest[at..].starts_with('\\') {
                    2
                } else {
                    rest[at..].chars().next().unwrap().len_utf8()
                };
            }
            (at + 1, false)
        } else {
            (c.len_utf8(), !c.is_whitespace())
        };
        if counts {
            tokens.push(rest[..len].to_string());
        }
        rest = &rest[len..];
    }
    tokens
}

/// All paths of a file, those in braces one by one.
fn named(tokens: &[String]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let used = tokens[i] == "use";
        let begins = is_name(&tokens[i])
            && tokens.get(i + 1).is_some_and(|t| t == "::")
            && (i == 0 || tokens[i - 1] != "::");
        if used {
            let shown = i > 0 && (tokens[i - 1] == "pub" || tokens[i - 1] == ")");
            i = tree(tokens, i + 1, &[], &mut |path, alias| {
                found.push(Named {
                    path,
                    shown,
                    alias: Some(alias),
                });
            });
        } else if begins {
            i = tree(tokens, i, &[], &mut |path, _| {
                found.push(Named {
                    path,
                    shown: false,
                    alias: None,
                });
            });
        } else {
            i += 1;
        }
    }
    found
}

/// One path with what its braces hold; returns where it ends.
fn tree(
    tokens: &[String],
    mut i: usize,
    before: &[String],
    add: &mut dyn FnMut(Vec<String>, String),
) -> usize {
    let is = |i: usize, what: &str| tokens.get(i).is_some_and(|t| t == what);
    let mut path = before.to_vec();
    loop {
        if is(i, "{") {
            while !is(i, "}") {
                i = tree(tokens, i + 1, &path, add);
                assert!(
                    is(i, ",") || is(i, "}"),
                    "a `use` that this test cannot read: {path:?}"
                );
            }
            return i + 1;
        }
        match tokens.get(i) {
            Some(name) if name == "self" && !path.is_empty() => {} // `a::{self}`
            Some(name) if name == "*" || is_name(name) => path.push(name.clone()),
            // Generic arguments, or a comma before the end of braces.
            _ => return i,
        }
        i += 1;
        if !is(i, "::") {
            break;
        }
        i += 1;
    }
    let alias = if is(i, "as") {
        i += 2;
        i - 1
    } else {
        i - 1
    };
    add(path, tokens[alias].clone());
    i
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
