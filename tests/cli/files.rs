//! Files that are spoilt, and files that are written.

use crate::support::*;
use safetensors::tensor::Dtype;
use std::fs;
use std::path::Path;

/// A file with this header, and so many bytes after it.
pub fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn malformed_files_are_refused() {
    let folder = Folder::new("malformed");
    let whole = good().bytes();
    let one = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let header = |tensors: &[String]| format!("{{{}}}", tensors.join(","));
    // Sizes that add up to 2^64 and a little more.
    let eighth = (1_u64 << 61) - 1;
    let mut huge = Vec::new();
    let mut end = 0_u64;
    for i in 0..8 {
        let begin = end;
        end += eighth;
        let offsets = format!("[{begin},{end}]");
        huge.push(one(
            &format!("t{i}"),
            "U8",
            &format!("[{eighth}]"),
            &offsets,
        ));
    }
    let mut table = vec![
        ("empty", vec![]),
        ("seven bytes", vec![0; 7]),
        ("no header", vec![0; 8]),
        ("half of it", whole[..whole.len() / 2].into()),
        ("a byte less", whole[..whole.len() - 1].into()),
        ("a byte more", [&whole[..], &[0]].concat()),
        ("huge header", [&[0xff; 8][..], &whole[8..]].concat()),
        ("header of 2^40", file("{}", 0)),
        ("no JSON", file("not JSON", 0)),
        ("other JSON", file("[1, 2, 3]", 0)),
        (
            "no UTF-8",
            [&[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe][..]].concat(),
        ),
        ("deep JSON", file(&"[".repeat(100_000), 0)),
        ("lines", file("{\"a\n\r\nb\": \n\n}", 0)),
        (
            "overlap",
            file(
                &header(&[
                    one("logits", "F32", "[1,1]", "[0,4]"),
                    one("targets", "F32", "[1,1]", "[0,4]"),
                ]),
                4,
            ),
        ),
        (
            "hole",
            file(&header(&[one("logits", "F32", "[1,1]", "[4,8]")]), 8),
        ),
        (
            "backwards",
            file(&header(&[one("logits", "F32", "[1,1]", "[4,0]")]), 4),
        ),
        (
            "beyond the end",
            file(&header(&[one("logits", "F32", "[1,4]", "[0,16]")]), 4),
        ),
        (
            "wrong size",
            file(&header(&[one("logits", "F32", "[1,3]", "[0,4]")]), 4),
        ),
        (
            "unknown type",
            file(&header(&[one("logits", "F99", "[1,1]", "[0,4]")]), 4),
        ),
        (
            "negative shape",
            file(&header(&[one("logits", "F32", "[-1,1]", "[0,4]")]), 4),
        ),
        (
            "overflowing shape",
            file(
                &header(&[one("logits", "F32", "[4294967296,4294967296,4]", "[0,4]")]),
                4,
            ),
        ),
        ("sizes beyond 2^64", file(&header(&huge), 0)),
    ];
    if let Some((_, bytes)) = table.iter_mut().find(|(name, _)| *name == "header of 2^40") {
        bytes[..8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    }
    for (name, bytes) in table {
        let input = folder.write("in.safetensors", &bytes);
        let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
        let line = done.refusal(2);
        let expected = format!("{input}: expected a safetensors file, found ");
        assert!(line.starts_with(&expected), "{name}: {line}");
    }
    for path in [folder.path(""), folder.path("no-such-file")] {
        let done = wgloss(&["run", "zlpr", &path, "--backend", "cpu"]);
        assert!(done.refusal(2).contains("expected a safetensors file"));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = Folder::new("wrong");
    let one = |name: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let twice = format!(
        "{{{},{},{}}}",
        one("logits", "[1,1]", "[0,4]"),
        one("targets", "[1,1]", "[4,8]"),
        one("log\\u0069ts", "[1,1]", "[8,12]"),
    );
    let short = format!("{{{}}}", one("logits", "[1,3]", "[0,4]"));
    let metadata = r#"{"__metadata__":{"logits":"a","x":"{\"logits\":"},"logits":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
    let table: [(&[u8], &str); 9] = [
        (b"", "an empty file"),
        (b"1234567", "only 7 bytes"),
        (
            &file(&twice, 12),
            "an invalid header (logits stands in it twice)",
        ),
        (
            &file(&short, 4),
            "an invalid header (logits: expected 12 bytes for [1, 3] of F32, found 4 from 0 to 4)",
        ),
        (b"\x93NUMPY\x01\0v\0{'descr'", "a NumPy array (.npy); "),
        (
            b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl",
            "a zip archive, as torch.save (.pt) ",
        ),
        (b"\x80\x02}q\0X\x06\0\0\0logits", "a pickle, "),
        (b"\x89HDF\r\n\x1a\n\0\0\0", "an HDF5 file"),
        (
            b"abcdefghij",
            "a header of 7523094288207667809 bytes in a file of 10",
        ),
    ];
    for (bytes, message) in table {
        let input = folder.write("in.safetensors", bytes);
        let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
        let wanted = format!("{input}: expected a safetensors file, found {message}");
        let line = done.refusal(2);
        assert!(line.starts_with(&wanted), "{line}\nexpected {wanted}");
    }
    // The same name one level deeper, or in a string, is no tensor.
    let input = folder.write("in.safetensors", &file(metadata, 4));
    let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
    assert!(done.refusal(2).starts_with("targets: "), "{}", done.stderr);
}

/// Numbers from a seed (xorshift).
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn spoilt_files_never_cause_a_panic() {
    let folder = Folder::new("spoilt");
    let sparse = good()
        .without("targets")
        .u32("target_offsets", &[0, 1, 3])
        .i64("target_indices", &[0, 1, 2])
        .f32("threshold", &[2], &[0.5, -0.5]);
    let dense = good()
        .real("logits", Dtype::BF16, &[2, 3], &[0.5; 6])
        .u8("mask", &[2, 3], &[1; 6])
        .f32("sample_weight", &[2], &[1.0; 2])
        .f32("grad_loss", &[1], &[2.0]);
    let files = [("tlpr", sparse.bytes()), ("zlpr", dense.bytes())];
    let (mut good, mut bad) = (0, 0);
    for round in 0..240_u64 {
        let mut seed = Seed(0x9e37_79b9_7f4a_7c15 ^ (round + 1));
        let (loss, whole) = &files[round as usize % 2];
        let mut bytes = whole.clone();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        match round / 2 % 6 {
            0 => bytes.truncate(seed.below(bytes.len())),
            1 => bytes[seed.below(8)] = seed.below(256) as u8,
            2 => {
                // Any bits of the header.
                for _ in 0..=seed.below(4) {
                    bytes[8 + seed.below(header - 8)] ^= 1 << seed.below(8);
                }
            }
            3 => {
                // Another digit, which leaves it JSON.
                let digits: Vec<usize> = (8..header)
                    .filter(|at| bytes[*at].is_ascii_digit())
                    .collect();
                for _ in 0..=seed.below(3) {
                    bytes[digits[seed.below(digits.len())]] = b'0' + seed.below(10) as u8;
                }
            }
            4 => {
                // Any bits of the tensors.
                for _ in 0..=seed.below(8) {
                    let at = header + seed.below(bytes.len() - header);
                    bytes[at] ^= 1 << seed.below(8);
                }
            }
            _ => {
                // A piece of the header twice.
                let from = 8 + seed.below(header - 8);
                let piece = bytes[from..header].to_vec();
                bytes.splice(from..from, piece);
                let longer = (2 * header - from - 8) as u64;
                bytes[..8].copy_from_slice(&longer.to_le_bytes());
            }
        }
        let input = folder.write("in.safetensors", &bytes);
        let output = folder.path("out.safetensors");
        let done = wgloss(&["run", loss, &input, "-o", &output, "--backend", "cpu"]);
        let written = Path::new(&output).exists();
        if done.code == Some(0) {
            done.json();
            assert!(written, "round {round}");
            fs::remove_file(&output).unwrap();
            good += 1;
        } else {
            done.refusal(2);
            assert!(!written, "round {round}");
            bad += 1;
        }
    }
    // Both happen: it is no test of the first check alone.
    assert!(good >= 10 && bad >= 100, "{good} good, {bad} bad");
}
