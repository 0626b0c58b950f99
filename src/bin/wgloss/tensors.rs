//! Safetensors files. Every error names the tensor (or the file), what was expected and what was found.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo, View};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use wgloss::host::{Dense, Values};
use wgloss::{Error, ErrorKind};

/// Element types of real values.
const REALS: &[Dtype] = &[Dtype::F32, Dtype::F16, Dtype::BF16];
/// Element types of flags.
const FLAGS: &[Dtype] = &[Dtype::U8, Dtype::BOOL];
/// Element types of indices.
const INDICES: &[Dtype] = &[Dtype::U32, Dtype::I32, Dtype::I64];
/// Most bytes of a header; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;
/// Bytes read at a time; whole elements of every type.
const BLOCK: usize = 1 << 16;

/// An open file. The header is in memory and checked against the file's size; tensors are read when asked for.
pub struct TensorFile {
    name: String,
    file: File,
    metadata: Metadata,
    /// Where the tensors begin.
    data: u64,
    /// Bytes of the file.
    size: u64,
}

/// Real numbers in the type that the file has them in.
pub enum Reals {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Reals {
    /// The numbers, borrowed.
    pub fn values(&self) -> Values<'_> {
        match self {
            Reals::F32(v) => Values::F32(v),
            Reals::F16(v) => Values::F16(v),
            Reals::Bf16(v) => Values::Bf16(v),
        }
    }
}

/// Dense targets, as the file has them.
pub enum Labels {
    Flags(Vec<u8>),
    Integers(Vec<u32>),
    Reals(Reals),
}

impl Labels {
    /// The same, borrowed.
    pub fn view(&self) -> Dense<'_> {
        match self {
            Labels::Flags(flags) => Dense::Flags(flags),
            Labels::Integers(integers) => Dense::Integers(integers),
            Labels::Reals(reals) => Dense::Values(reals.values()),
        }
    }
}

impl TensorFile {
    /// Opens a file and checks its header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bad = |found: String| Error::value(&name, "a safetensors file", found);
        let failed = |error: io::Error| bad(error.to_string());
        // Before opening: that of a pipe waits for a writer.
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() {
            return Err(bad(no_file(kind).into()));
        }
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        let size = about.len();
        let mut start = Vec::new();
        (&file).take(16).read_to_end(&mut start).map_err(failed)?;
        let Some((length, _)) = start.split_first_chunk() else {
            return Err(bad(match size {
                0 => "an empty file".into(),
                _ => format!("only {size} bytes"),
            }));
        };
        let header = u64::from_le_bytes(*length);
        if header > MOST_HEADER || header > size - 8 {
            let other = OTHERS.iter().find(|(magic, _)| start.starts_with(magic));
            return Err(bad(match other {
                Some((_, what)) => (*what).into(),
                None => format!("a header of {header} bytes in a file of {size}"),
            }));
        }
        if let Some(there) = mostly_absent(&about) {
            return Err(bad(format!(
                "a file of {size} bytes of which the disk has {there}"
            )));
        }
        let mut text = vec![0; header as usize];
        (&file)
            .seek(SeekFrom::Start(8))
            .and_then(|_| (&file).read_exact(&mut text))
            .map_err(failed)?;
        if let Some(tensor) = given_twice(&text) {
            return Err(bad(format!(
                "an invalid header ({tensor} stands in it twice)"
            )));
        }
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| {
            let what = misfit(&text).unwrap_or_else(|| error.to_string());
            bad(format!("an invalid header ({what})"))
        })?;
        let (found, described) = (size - 8 - header, metadata.data_len() as u64);
        if found != described {
            return Err(bad(format!(
                "{found} bytes of tensors where the header describes {described}"
            )));
        }
        Ok(TensorFile {
            name,
            file,
            metadata,
            data: 8 + header,
            size,
        })
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// Refuses tensors that mean nothing beside the others, or with these options.
    pub fn refuse(&self, tensors: &[&str], reason: impl std::fmt::Display) -> Result<(), Error> {
        match tensors.iter().find(|tensor| self.has(tensor)) {
            Some(tensor) => Err(Error::refused(tensor, reason)),
            None => Ok(()),
        }
    }

    /// Most that a dimension may count of which the file has no elements: what is made for each costs no more than what
    /// is there.
    pub fn most(&self) -> usize {
        usize::try_from(self.size)
            .unwrap_or(usize::MAX)
            .max(1 << 16)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, tensor: &str) -> bool {
        self.metadata.info(tensor).is_some()
    }

    fn info(&self, tensor: &str) -> Result<&TensorInfo, Error> {
        self.metadata.info(tensor).ok_or_else(|| {
            let mut names = self.names();
            names.truncate(12);
            let found = format!("none (in the file: {})", names.join(", "));
            Error::shape(tensor, "a tensor of this name", found)
        })
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: &str) -> Result<&[usize], Error> {
        Ok(&self.info(tensor)?.shape)
    }

    /// Checks the shape of a tensor.
    pub fn expect(&self, tensor: &str, shape: &[usize]) -> Result<(), Error> {
        let found = self.shape(tensor)?;
        if found == shape {
            return Ok(());
        }
        Err(Error::shape(
            tensor,
            format!("{shape:?}"),
            format!("{found:?}"),
        ))
    }

    /// Real numbers, in their own type.
    pub fn reals(&self, tensor: &str) -> Result<Reals, Error> {
        let info = self.info(tensor)?;
        Ok(match info.dtype {
            Dtype::F32 => Reals::F32(self.read(tensor, info, f32::from_le_bytes)?),
            Dtype::F16 => Reals::F16(self.read(tensor, info, f16::from_le_bytes)?),
            Dtype::BF16 => Reals::Bf16(self.read(tensor, info, bf16::from_le_bytes)?),
            found => return Err(wrong_type(tensor, REALS, found)),
        })
    }

    /// Real numbers as f32.
    pub fn floats(&self, tensor: &str) -> Result<Vec<f32>, Error> {
        Ok(match self.reals(tensor)? {
            Reals::F32(v) => v,
            Reals::F16(v) => v.into_iter().map(f32::from).collect(),
            Reals::Bf16(v) => v.into_iter().map(f32::from).collect(),
        })
    }

    /// The same of a tensor that need not be there, and has this length.
    pub fn floats_if_any(&self, tensor: &str, len: usize) -> Result<Option<Vec<f32>>, Error> {
        if !self.has(tensor) {
            return Ok(None);
        }
        self.expect(tensor, &[len])?;
        self.floats(tensor).map(Some)
    }

    /// Labels: flags, integers or real numbers, by the tensor's type.
    pub fn dense(&self, tensor: &str) -> Result<Labels, Error> {
        let info = self.info(tensor)?;
        Ok(match info.dtype {
            found if FLAGS.contains(&found) => Labels::Flags(self.flags(tensor)?),
            found if REALS.contains(&found) => Labels::Reals(self.reals(tensor)?),
            Dtype::U32 | Dtype::I32 => {
                Labels::Integers(self.read(tensor, info, u32::from_le_bytes)?)
            }
            Dtype::I64 => Labels::Integers(self.read(tensor, info, |bytes| {
                // What is no u32 is neither 0 nor 1 either.
                u32::try_from(i64::from_le_bytes(bytes)).unwrap_or(u32::MAX)
            })?),
            found => {
                let expected = [FLAGS, INDICES, REALS].concat();
                return Err(wrong_type(tensor, &expected, found));
            }
        })
    }

    /// Flags.
    pub fn flags(&self, tensor: &str) -> Result<Vec<u8>, Error> {
        let info = self.info(tensor)?;
        if !FLAGS.contains(&info.dtype) {
            return Err(wrong_type(tensor, FLAGS, info.dtype));
        }
        self.read(tensor, info, |[byte]: [u8; 1]| byte)
    }

    /// The same of a tensor that need not be there, and has this shape.
    pub fn flags_if_any(&self, tensor: &str, shape: &[usize]) -> Result<Option<Vec<u8>>, Error> {
        if !self.has(tensor) {
            return Ok(None);
        }
        self.expect(tensor, shape)?;
        self.flags(tensor).map(Some)
    }

    /// Words of bits. Signed words are taken bit by bit: not every framework has unsigned ones.
    pub fn words(&self, tensor: &str) -> Result<Vec<u32>, Error> {
        match self.info(tensor)? {
            info if info.dtype == Dtype::I32 => self.read(tensor, info, u32::from_le_bytes),
            _ => self.indices(tensor),
        }
    }

    /// Indices.
    pub fn indices(&self, tensor: &str) -> Result<Vec<u32>, Error> {
        self.counted_indices(tensor, |_| true)
    }

    /// Indices as far as they count, by their places; 0 in place of the others.
    pub fn counted_indices(
        &self,
        tensor: &str,
        counts: impl Fn(usize) -> bool,
    ) -> Result<Vec<u32>, Error> {
        let info = self.info(tensor)?;
        let checked = |values: Vec<i64>| {
            let range = |(at, value): (usize, i64)| {
                let value = if counts(at) { value } else { 0 };
                u32::try_from(value).map_err(|_| {
                    Error::value(
                        tensor,
                        format!("values from 0 to {}", u32::MAX),
                        format!("{value} at {:?}", place(at, &info.shape)),
                    )
                })
            };
            values.into_iter().enumerate().map(range).collect()
        };
        match info.dtype {
            Dtype::U32 => {
                let mut values = self.read(tensor, info, u32::from_le_bytes)?;
                for (at, value) in values.iter_mut().enumerate() {
                    *value *= u32::from(counts(at));
                }
                Ok(values)
            }
            Dtype::I32 => checked(self.read(tensor, info, |b| i64::from(i32::from_le_bytes(b)))?),
            Dtype::I64 => checked(self.read(tensor, info, i64::from_le_bytes)?),
            found => Err(wrong_type(tensor, INDICES, found)),
        }
    }

    /// Classes as u32, -1 (none) as all ones.
    pub fn labels(&self, tensor: &str) -> Result<Vec<u32>, Error> {
        let info = self.info(tensor)?;
        let values = match info.dtype {
            Dtype::U32 => self.read(tensor, info, |b| i64::from(u32::from_le_bytes(b)))?,
            Dtype::I32 => self.read(tensor, info, |b| i64::from(i32::from_le_bytes(b)))?,
            Dtype::I64 => self.read(tensor, info, i64::from_le_bytes)?,
            found => return Err(wrong_type(tensor, INDICES, found)),
        };
        let label = |(at, value): (usize, i64)| match i32::try_from(value) {
            Ok(value) if value >= -1 => Ok(value.cast_unsigned()),
            _ => Err(Error::value(
                tensor,
                "classes, or -1",
                format!("{value} at {:?}", place(at, &info.shape)),
            )),
        };
        values.into_iter().enumerate().map(label).collect()
    }

    /// Indices of which -1 is one, as far as they count, by their places; -1 in place of the others.
    pub fn counted_signed(
        &self,
        tensor: &str,
        counts: impl Fn(usize) -> bool,
    ) -> Result<Vec<i32>, Error> {
        let info = self.info(tensor)?;
        let wide: Vec<i64> = match info.dtype {
            Dtype::I32 => self.read(tensor, info, |b| i64::from(i32::from_le_bytes(b)))?,
            Dtype::U32 => self.read(tensor, info, |b| i64::from(u32::from_le_bytes(b)))?,
            Dtype::I64 => self.read(tensor, info, i64::from_le_bytes)?,
            found => return Err(wrong_type(tensor, INDICES, found)),
        };
        let narrow = |(at, value): (usize, i64)| {
            let value = if counts(at) { value } else { -1 };
            i32::try_from(value).map_err(|_| {
                let expected = format!("values up to {}", i32::MAX);
                let found = format!("{value} at {:?}", place(at, &info.shape));
                Error::value(tensor, expected, found)
            })
        };
        wide.into_iter().enumerate().map(narrow).collect()
    }

    /// The upstream gradient: one value, or where each row has a loss, one or as many as there are `rows`.
    pub fn grad_loss(&self, rows: Option<usize>) -> Result<Option<Vec<f32>>, Error> {
        if !self.has("grad_loss") {
            return Ok(None);
        }
        match *self.shape("grad_loss")? {
            [] | [1] => {}
            [len] if rows == Some(len) => {}
            ref shape => {
                let expected = match rows {
                    Some(rows) => format!("[1] or [{rows}]"),
                    None => "[1]".into(),
                };
                return Err(Error::shape("grad_loss", expected, format!("{shape:?}")));
            }
        }
        self.floats("grad_loss").map(Some)
    }

    /// Reads a tensor whose elements have `N` bytes.
    fn read<const N: usize, T>(
        &self,
        tensor: &str,
        info: &TensorInfo,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let (first, end) = info.data_offsets;
        let mut values = Vec::new();
        values.try_reserve_exact((end - first) / N).map_err(|_| {
            let (bytes, expected) = (end - first, "memory for its bytes");
            Error::new(
                ErrorKind::OutOfMemory,
                tensor,
                expected,
                format!("none for {bytes}"),
            )
        })?;
        let mut block = vec![0; BLOCK.min(end - first)];
        let mut read = || -> io::Result<()> {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(self.data + first as u64))?;
            let mut left = end - first;
            while left > 0 {
                let part = &mut block[..left.min(BLOCK)];
                file.read_exact(part)?;
                left -= part.len();
                values.extend(part.chunks_exact(N).map(|bytes| {
                    let mut element = [0; N];
                    element.copy_from_slice(bytes);
                    value(element)
                }));
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok(values),
            Err(error) => {
                let expected = format!("{} bytes in {}", end - first, self.name);
                Err(Error::value(tensor, expected, error))
            }
        }
    }
}

/// How files of other formats begin, which the length of a header cannot.
const OTHERS: &[(&[u8], &str)] = &[
    (
        b"\x93NUMPY",
        "a NumPy array (.npy); safetensors.numpy.save_file writes safetensors",
    ),
    (
        b"PK\x03\x04",
        "a zip archive, as torch.save (.pt) and np.savez (.npz) write; safetensors.torch.save_file writes safetensors",
    ),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GGUF", "a GGUF file"),
];
const PICKLE: &str =
    "a pickle, as older torch.save (.pt) writes; safetensors.torch.save_file writes safetensors";

/// Bytes on the disk of a file that is hardly there: it claims much, and is holes. What it claims would be read.
#[cfg(unix)]
fn mostly_absent(about: &fs::Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    // Far more than what file systems compress tensors to, but for tensors of zeros.
    const SMALL: u64 = 1 << 28;
    let there = about.blocks().saturating_mul(512);
    (about.len() > SMALL && there < about.len() / 1000).then_some(there)
}

#[cfg(not(unix))]
fn mostly_absent(_: &fs::Metadata) -> Option<u64> {
    None
}

/// What is wrong with the first tensor whose shape needs other bytes than it has.
fn misfit(header: &[u8]) -> Option<String> {
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    header.iter().find_map(|(name, info)| {
        let info: TensorInfo = serde_json::from_value(info.clone()).ok()?;
        let (first, end) = info.data_offsets;
        let found = end as i128 - first as i128;
        let bits = info.shape.iter().try_fold(info.dtype.bitsize() as i128, |bits, len| {
            bits.checked_mul(*len as i128)
        });
        let (shape, dtype) = (&info.shape, info.dtype);
        match bits {
            Some(bits) if bits == 8 * found => None,
            Some(bits) => Some(format!(
                "{name}: expected {} bytes for {shape:?} of {dtype}, found {found} from {first} to {end}",
                bits as f64 / 8.0
            )),
            None => Some(format!("{name}: expected a shape that can be counted, found {shape:?}")),
        }
    })
}

/// A tensor that the header describes twice. Readers of JSON take the last one without a word; others the first.
fn given_twice(header: &[u8]) -> Option<String> {
    let mut names = std::collections::HashSet::new();
    // The keys of an object are the strings one level deep that a colon follows.
    let (mut depth, mut at) = (0, 0);
    while let Some(&byte) = header.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                while header.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if header[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                let rest = header.get(at..).unwrap_or_default().trim_ascii_start();
                if depth == 1 && rest.starts_with(b":") {
                    let name: String = serde_json::from_slice(header.get(begin..at)?).ok()?;
                    if let Some(twice) = names.replace(name) {
                        return Some(twice);
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// The row whose list has the index at a place, by whatever offsets there are.
pub fn row_of(offsets: &[u32], at: usize) -> usize {
    let after = offsets.partition_point(|end| *end as usize <= at);
    after.saturating_sub(1)
}

/// The indices of an element of a row-major tensor.
pub fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices = vec![0; shape.len()];
    for (index, len) in indices.iter_mut().zip(shape).rev() {
        *index = at % len.max(&1);
        at /= len.max(&1);
    }
    indices
}

fn wrong_type(tensor: &str, expected: &[Dtype], found: Dtype) -> Error {
    let expected: Vec<String> = expected.iter().map(Dtype::to_string).collect();
    Error::new(ErrorKind::DType, tensor, expected.join(" or "), found)
}

/// A tensor to write.
pub struct Output {
    pub name: Cow<'static, str>,
    pub shape: Vec<usize>,
    pub values: Numbers,
}

impl Output {
    /// A tensor of reals.
    pub fn reals(
        name: impl Into<Cow<'static, str>>,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> Output {
        Output {
            name: name.into(),
            shape,
            values: Numbers::F32(values),
        }
    }
}

/// The elements of a tensor to write.
pub enum Numbers {
    F32(Vec<f32>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl View for &Output {
    fn dtype(&self) -> Dtype {
        match self.values {
            Numbers::F32(_) => Dtype::F32,
            Numbers::U32(_) => Dtype::U32,
            Numbers::I32(_) => Dtype::I32,
            Numbers::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.values {
            Numbers::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::U32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::I64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        match &self.values {
            Numbers::F32(v) => 4 * v.len(),
            Numbers::U32(v) => 4 * v.len(),
            Numbers::I32(v) => 4 * v.len(),
            Numbers::I64(v) => 8 * v.len(),
        }
    }
}

/// What something is that is no file.
pub fn no_file(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else {
        "a device or a pipe"
    }
}
