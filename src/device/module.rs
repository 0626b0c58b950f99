//! How WGSL is composed: whole files in a list, behind a generated prelude of constants.
//!
//! Nothing is substituted inside a file. A kernel is specialised by which files are chosen: every file says in its
//! header what it provides and what it expects, and files that provide the same names can stand for one another.
//! `cargo run --example dump_shaders` writes every composed module for reading.

use crate::device::caps::Reduce;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A WGSL file of the crate.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its path under `shaders/`.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The [`File`] at a path under `shaders/`.
macro_rules! wgsl {
    ($path:literal) => {
        $crate::device::module::File {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path)),
        }
    };
}
pub(crate) use wgsl;

/// A choice of files for one place in a program: an element type, a form of targets, the formula of a loss.
#[derive(Debug)]
pub struct Part {
    /// What it is called in the names of modules; empty where the name says nothing of it.
    pub(crate) name: &'static str,
    /// Its files.
    pub(crate) files: &'static [File],
    /// Files before these where lanes reduce by subgroups.
    pub(crate) subgroup_files: &'static [File],
    /// The storage bindings that they declare, by number.
    pub(crate) bindings: &'static [(usize, &'static str)],
    /// Constants that the prelude declares for them.
    pub(crate) constants: &'static [(&'static str, Constant)],
    /// The structs of the uniform that they declare and the host mirrors.
    pub(crate) mirrors: &'static [Mirror],
    /// Whether they use WGSL's f16.
    pub(crate) f16: bool,
    /// Whether they use cooperative matrices.
    pub(crate) cooperative: bool,
}

impl Part {
    pub(crate) const fn new(name: &'static str, files: &'static [File]) -> Part {
        Part {
            name,
            files,
            subgroup_files: &[],
            bindings: &[],
            constants: &[],
            mirrors: &[],
            f16: false,
            cooperative: false,
        }
    }
}

/// No file.
pub(crate) static NO_PART: Part = Part::new("", &[]);

/// A piece of a program's text.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A file that is always there.
    File(File),
    /// The part that the module has at this number.
    Part(usize),
    /// One of two files, for tree reductions and for subgroups.
    Lanes { tree: File, subgroup: File },
}

/// What a constant of the prelude is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Constant {
    /// A number that the host knows too.
    Is(u32),
    /// The same of a real number.
    Real(f32),
    /// What follows from the number of lanes in a workgroup.
    Of(fn(u32) -> u32),
}

/// Declares numbers that host and WGSL share: constants in Rust, and the table of them for a program's prelude.
macro_rules! constants {
    ($(#[$meta:meta])* $table:ident { $($(#[$doc:meta])* $name:ident = $value:expr,)* }) => {
        $($(#[$doc])* pub(crate) const $name: u32 = $value;)*
        $(#[$meta])*
        pub(crate) const $table: &[(&str, $crate::device::module::Constant)] =
            &[$((stringify!($name), $crate::device::module::Constant::Is($name)),)*];
    };
}
pub(crate) use constants;

/// What a module computes, as data. A program is known by its name.
#[derive(Debug)]
pub struct Program {
    /// Its name; empty where the parts' names are enough.
    pub(crate) name: &'static str,
    /// What its text consists of, in order.
    pub(crate) pieces: &'static [Piece],
    /// Its entry points.
    pub(crate) entries: &'static [&'static str],
    /// Tables of constants that the prelude declares beside `WG`.
    pub(crate) constants: &'static [&'static [(&'static str, Constant)]],
    /// The storage bindings that its text declares, by number; its parts may add some.
    pub(crate) bindings: &'static [(usize, &'static str)],
    /// Tables of the structs of its uniform that the host mirrors.
    pub(crate) mirrors: &'static [&'static [Mirror]],
}

/// A struct that stands in WGSL and in Rust; tests compare the two.
#[derive(Clone, Copy, Debug)]
pub struct Mirror {
    /// Its name in both.
    pub name: &'static str,
    /// Its fields with their types as WGSL calls them: `u32`, `f32`, or the name of another mirror.
    pub fields: &'static [(&'static str, &'static str)],
    /// Its size in Rust, in bytes.
    pub size: usize,
}

/// What can be a field of a uniform: a number of four bytes, or a struct of such that has a mirror.
pub(crate) trait Uniform {
    /// Its type in WGSL.
    const NAME: &'static str;
    /// Its place and its size are multiples of this.
    const ALIGN: usize;
}

impl Uniform for u32 {
    const NAME: &'static str = "u32";
    const ALIGN: usize = 4;
}

impl Uniform for f32 {
    const NAME: &'static str = "f32";
    const ALIGN: usize = 4;
}

/// Declares a struct that mirrors one in WGSL, of the same name unless another is given. Its fields are numbers, or such
/// structs in whole 16 bytes, as WGSL demands of a struct in a uniform; what is not is refused by the compiler.
macro_rules! uniform {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        $crate::device::module::uniform! {
            $(#[$meta])* $vis struct $name as $name { $($fields)* }
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident as $wgsl:ident {
        $($(#[$doc:meta])* $field:ident: $ty:ident,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        $vis struct $name { $($(#[$doc])* pub(crate) $field: $ty,)* }

        impl $crate::device::module::Uniform for $name {
            const NAME: &'static str = stringify!($wgsl);
            const ALIGN: usize = 16;
        }

        const _: () = {
            $({
                let align = <$ty as $crate::device::module::Uniform>::ALIGN;
                assert!(
                    std::mem::offset_of!($name, $field) % align == 0 && size_of::<$ty>() % align == 0,
                    concat!(stringify!($name), ".", stringify!($field), ": not in whole 16 bytes"),
                );
            })*
        };

        impl $name {
            /// What tests compare with the struct in WGSL.
            pub(crate) const MIRROR: $crate::device::module::Mirror = $crate::device::module::Mirror {
                name: stringify!($wgsl),
                fields: &[$((
                    stringify!($field),
                    <$ty as $crate::device::module::Uniform>::NAME,
                ),)*],
                size: size_of::<$name>(),
            };
        }
    };
}
pub(crate) use uniform;

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Most parts of a module.
pub(crate) const PARTS: usize = 15;

/// One WGSL module: a program, its parts, reduction and workgroup size. Everything that its text depends on.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    pub(crate) program: &'static Program,
    pub(crate) parts: [&'static Part; PARTS],
    /// How lanes reduce.
    pub reduce: Reduce,
    /// Lanes of a workgroup.
    pub workgroup: u32,
}

impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        // Parts are statics: the same part stands at the same address.
        let same = |(a, b): (&&Part, &&Part)| std::ptr::eq(*a, *b);
        self.program == other.program
            && self.reduce == other.reduce
            && self.workgroup == other.workgroup
            && self.parts.iter().zip(&other.parts).all(same)
    }
}

impl Eq for Module {}

impl Hash for Module {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.program.hash(state);
        (self.reduce, self.workgroup).hash(state);
        for part in self.parts {
            std::ptr::hash(part, state);
        }
    }
}

/// One kernel: a module and an entry point of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The module.
    pub module: Module,
    /// The entry point.
    pub entry: &'static str,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|part| part.name);
        let names = std::iter::once(self.program.name).chain(parts);
        for name in names.filter(|name| !name.is_empty()) {
            write!(f, "{name}_")?;
        }
        write!(f, "{}_{}", self.reduce.name(), self.workgroup)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.entry)
    }
}

impl Program {
    /// Whether lanes can reduce by subgroups in it; else it has one form.
    pub(crate) fn has_subgroup_form(&self) -> bool {
        let lanes = |piece: &Piece| matches!(piece, Piece::Lanes { .. });
        self.pieces.iter().any(lanes)
    }

    /// The module without parts, in its one form.
    pub(crate) fn module(&'static self, workgroup: u32) -> Module {
        self.with([&NO_PART; PARTS], Reduce::Tree, workgroup)
    }

    /// The module with these parts. Where the program has one form, that is the reduction.
    pub(crate) fn with(
        &'static self,
        parts: [&'static Part; PARTS],
        reduce: Reduce,
        workgroup: u32,
    ) -> Module {
        let reduce = match self.has_subgroup_form() {
            true => reduce,
            false => Reduce::Tree,
        };
        Module {
            program: self,
            parts,
            reduce,
            workgroup,
        }
    }
}

impl Module {
    /// The entry points.
    pub fn entries(&self) -> &'static [&'static str] {
        self.program.entries
    }

    /// The storage bindings that its text declares: number and name.
    pub fn bindings(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let parts = self.parts.into_iter().flat_map(|part| part.bindings);
        self.program.bindings.iter().chain(parts).copied()
    }

    /// The structs that the host mirrors.
    pub fn mirrors(&self) -> impl Iterator<Item = Mirror> {
        let parts = self.parts.into_iter().flat_map(|part| part.mirrors);
        self.program
            .mirrors
            .iter()
            .copied()
            .flatten()
            .chain(parts)
            .copied()
    }

    /// What it is one form of: its program, or the loss where the program is that of all losses of rows.
    pub fn kind(&self) -> &'static str {
        let mut names = std::iter::once(self.program.name).chain(self.part_names());
        names.find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// What its parts are called, without the unnamed.
    pub fn part_names(&self) -> impl Iterator<Item = &'static str> {
        let names = self.parts.into_iter().map(|part| part.name);
        names.filter(|name| !name.is_empty())
    }

    /// The files the module consists of, in order.
    pub fn files(&self) -> Vec<File> {
        let mut files = Vec::new();
        let subgroup = self.reduce == Reduce::Subgroup;
        for piece in self.program.pieces {
            match piece {
                Piece::File(file) => files.push(*file),
                Piece::Lanes { tree, subgroup: by } => {
                    files.push(if subgroup { *by } else { *tree });
                }
                Piece::Part(at) => {
                    let part = self.parts[*at];
                    if subgroup {
                        files.extend(part.subgroup_files);
                    }
                    files.extend(part.files);
                }
            }
        }
        files
    }

    /// Whether the module needs the device feature `SHADER_F16`.
    pub fn needs_f16(&self) -> bool {
        self.parts.iter().any(|part| part.f16)
    }

    /// Whether the module needs the device feature `SUBGROUP`.
    pub fn needs_subgroup(&self) -> bool {
        self.reduce == Reduce::Subgroup || self.needs_cooperative()
    }

    /// Whether the module needs the device feature `EXPERIMENTAL_COOPERATIVE_MATRIX`.
    pub fn needs_cooperative(&self) -> bool {
        self.parts.iter().any(|part| part.cooperative)
    }

    /// The module's WGSL: directives, constants, then its files, each behind a line with its name.
    pub fn compose(&self) -> String {
        let mut text = format!("// {self}\n");
        if self.needs_f16() {
            text.push_str("enable f16;\n");
        }
        if self.needs_cooperative() {
            text.push_str("enable wgpu_cooperative_matrix;\n");
        }
        // naga has the subgroup functions without the directive and refuses it; browsers demand it.
        if self.needs_subgroup() && cfg!(target_arch = "wasm32") {
            text.push_str("enable subgroups;\n");
        }
        text.push_str(&format!("const WG = {}u;\n", self.workgroup));
        let parts = self.parts.into_iter().map(|part| part.constants);
        for (name, constant) in self
            .program
            .constants
            .iter()
            .copied()
            .chain(parts)
            .flatten()
        {
            text.push_str(&match constant {
                Constant::Is(value) => format!("const {name} = {value}u;\n"),
                Constant::Of(value) => format!("const {name} = {}u;\n", value(self.workgroup)),
                Constant::Real(value) => format!("const {name} = {value:?}f;\n"),
            });
        }
        for file in self.files() {
            text.push_str(&format!("\n// ---- {}\n{}", file.path, file.text));
        }
        text
    }
}
