//! Files of any tensors, and files of any bytes: the command computes, or refuses them with exit code 2 and a sentence.
//! `fuzz/` draws from the same, and runs what it draws in its own process.

use arbitrary::{Result, Unstructured};
use safetensors::tensor::{Dtype, TensorView};

/// Losses with what a file may hold for them, and their options. A tensor is its name (with `?` where it may be missing),
/// what its elements are and its sides. Elements: `r` reals, `f` flags, `i` integers below the side behind it, `o` offsets of
/// as many lists, `e` edges. Sides: letters for any small number, `W` the words of `L` bits.
#[rustfmt::skip]
const LOSSES: &[(&str, &[&str], &str)] = &[
    ("zlpr", &[ROWS, TARGETS, WEIGHT], "--smoothing=X"),
    ("zlpr-soft", &[ROWS, TARGETS, WEIGHT], "--smoothing=X"),
    ("zlpr-kl", &[ROWS, "other=r,B,L"], "--beta=X --kl=excess"),
    ("tlpr", &[ROWS, TARGETS, WEIGHT, "threshold=r,T"], ""),
    ("lsep", &[ROWS, TARGETS, WEIGHT], "--reduction=mean-active"),
    ("two-way", &[ROWS, TARGETS, WEIGHT], "--t-pos=X --t-neg=X --half=class --half=both"),
    ("bp-mll", &[ROWS, TARGETS, WEIGHT], ""),
    ("bce", &[ROWS, TARGETS, WEIGHT, "pos_weight?=r,L"], "--pos-weight=X --smoothing=X --row=mean --reduction=mean-elements"),
    ("focal", &[ROWS, TARGETS, WEIGHT, "alpha?=r,L"], "--gamma=X --alpha=X --alpha=none --detach-focus"),
    ("asl", &[ROWS, TARGETS, WEIGHT], "--gamma-pos=X --gamma-neg=X --margin=X"),
    ("hill", &[ROWS, TARGETS, WEIGHT], "--gamma=X --margin=X --lambda=X"),
    ("splc", &[ROWS, TARGETS, WEIGHT], "--gamma=X --margin=X --threshold=X"),
    ("dice", &[ROWS, TARGETS], "--smooth=X --squared"),
    ("softmax-ce", &[ROWS, TARGETS, WEIGHT], ""),
    ("wdl", &[ROWS, TARGETS, "permutation?=iL,L theta?=r,R,L theta0?=r,1"],
        "--form=pairs --form=adjacent --prediction=softmax --phi=abs --phi=huber --huber-delta=X --epsilon=X --lambda-presence=X --seed=3 --seed-per-row --additive --ascent"),
    ("mcm", &[ROWS, TARGETS, "edges=e,E,2"], "--row=sum"),
    ("hcal", &["features=r,B,D labels_1=iC,B prototypes_1=r,C,D noise_1?=r,C,D grad_loss?=r,1 level_weights?=r,2",
        "labels_2=iP,B prototypes_2=r,P,D parents_1=iP,C noise_2?=r,P,D"], "--temperature=X --gamma=X --aggregation=tree --attach --epsilon=X --seed=7"),
    ("contrastive", &["embeddings=r,B,D temperature?=r,1 row_mask?=f,B grad_loss?=r,1", SETS, "self_index?=iN,B"],
        "--weighting=mulsupcon --weighting=jaccard --weighting=infonce --placement=both --normalizer=ksum --denominator=negatives --denominator=one-positive --temperature=X --threshold=X --no-normalize --roles=key"),
    ("contrastive", &["embeddings=r,B,D keys=r,N,D key_mask?=f,N", SETS, KEY_SETS, "self_index?=iN,B"], "--weighting=infonce --reduction=none"),
    ("relations", &[SETS, KEY_SETS], ""),
    ("balance", &["losses=r,K previous?=r,K before?=r,K log_variance?=r,K grad_loss?=r,1"],
        "--kind=dwa --kind=uncertainty --kind=random --gamma=X --temperature=X --seed=1"),
];
const ROWS: &str =
    "logits=r,B,L class_mask?=f,L mask?=f,B,L sample_weight?=r,B class_weight?=r,L grad_loss?=r,1";
const WEIGHT: &str = "weight?=r,B,L";
/// The forms of labels, of which a file has one: between bars.
const TARGETS: &str = "targets=f,B,L|targets=r,B,L|targets=iL,B,L|target_bits=iM,B,W|target_offsets=o,O target_indices=iL,I";
const SETS: &str = "labels=f,B,L|label_bits=iM,B,W|label_offsets=o,O label_indices=iL,I";
const KEY_SETS: &str = "key_labels=f,N,L|key_label_bits=iM,N,W";

/// What options are given for numbers.
const NUMBERS: &[&str] = &[
    "0", "1", "0.5", "2", "1e-3", "-1", "1e38", "nan", "inf", "x", "",
];

/// A run of the command: what follows `run`, but for the file, and the file's bytes.
pub struct Run {
    pub args: Vec<String>,
    pub file: Vec<u8>,
}

/// The run that some bytes stand for.
pub fn draw(bytes: &mut Unstructured<'_>) -> Result<Run> {
    let (loss, tensors, options) = *bytes.choose(LOSSES)?;
    let mut args = vec![loss.to_owned()];
    let options: Vec<&str> = options.split_whitespace().collect();
    for _ in 0..bytes.int_in_range(0..=3)? / 2 {
        if let Ok(option) = bytes.choose(&options) {
            let number = bytes.choose(NUMBERS)?;
            args.push(option.replace("=X", &format!("={number}")));
        }
    }
    let mut file = tensors_of(tensors, bytes)?;
    match bytes.int_in_range(0..=11)? {
        0 => file = bytes.arbitrary()?,
        1 => file.truncate(bytes.choose_index(file.len().max(1))?),
        2 | 3 => {
            // In the header, mostly, where all that is checked stands.
            for _ in 0..bytes.int_in_range(1..=3)? {
                let end = if bytes.ratio(1, 4)? {
                    file.len()
                } else {
                    file.len().min(200)
                };
                if let Ok(at) = bytes.choose_index(end) {
                    file[at] = bytes.arbitrary()?;
                }
            }
        }
        _ => {}
    }
    Ok(Run { args, file })
}

/// The sides that the letters stand for.
struct Sides([usize; 26]);

impl Sides {
    fn of(&self, name: &str) -> usize {
        let letter = |byte: u8| {
            byte.is_ascii_uppercase()
                .then(|| self.0[(byte - b'A') as usize])
        };
        let side = name.bytes().next().and_then(letter);
        side.or(name.parse().ok()).unwrap_or(1)
    }
}

/// Name, element type, shape and bytes of a tensor.
type Described = (String, Dtype, Vec<usize>, Vec<u8>);

fn tensors_of(tensors: &[&str], bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut sides = Sides([0; 26]);
    for side in &mut sides.0 {
        *side = match bytes.int_in_range(0..=15)? {
            0 => 0,
            1 => *bytes.choose(&[31, 32, 33, 70])?,
            _ => bytes.int_in_range(1..=5)?,
        };
    }
    let mut set = |letter: u8, to: usize| sides.0[(letter - b'A') as usize] = to;
    set(b'M', usize::MAX);
    let (rows, labels) = (sides.of("B"), sides.of("L"));
    let mut set = |letter: u8, to: usize| sides.0[(letter - b'A') as usize] = to;
    set(b'O', rows + 1);
    set(b'W', labels.div_ceil(32));
    set(b'T', *bytes.choose(&[1, rows, labels])?);
    let mut file: Vec<Described> = Vec::new();
    for group in tensors {
        let forms: Vec<&str> = group.split('|').collect();
        for tensor in bytes.choose(&forms)?.split_whitespace() {
            if let Some(tensor) = tensor_of(tensor, &sides, bytes)? {
                file.push(tensor);
            }
        }
    }
    let views = file.iter().filter_map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).ok()?;
        Some((name, view))
    });
    Ok(safetensors::serialize(views, None).unwrap_or_default())
}

/// A tensor as it is described, or now and then not quite; none where it may be missing.
fn tensor_of(text: &str, sides: &Sides, bytes: &mut Unstructured<'_>) -> Result<Option<Described>> {
    let (name, rest) = text.split_once('=').unwrap_or((text, "r"));
    let chance = if name.ends_with('?') { (1, 2) } else { (1, 80) };
    if bytes.ratio(chance.0, chance.1)? {
        return Ok(None);
    }
    let mut parts = rest.split(',');
    let kind = parts.next().unwrap_or("r");
    let mut shape: Vec<usize> = parts.map(|side| sides.of(side)).collect();
    match bytes.int_in_range(0..=80)? {
        0 => shape.push(1),
        1 => drop(shape.pop()),
        2 if !shape.is_empty() => {
            let at = bytes.choose_index(shape.len())?;
            shape[at] = bytes.int_in_range(0..=6)?;
            // Sizes that no file has, of what has no element.
            if shape.contains(&0) && bytes.arbitrary()? {
                let at = bytes.choose_index(shape.len())?;
                shape[at] = 1 << bytes.int_in_range(0..=57)?;
            }
        }
        _ => {}
    }
    let dtypes: &[Dtype] = match (bytes.ratio(1, 80)?, &kind[..1]) {
        (true, _) => &[
            Dtype::F64,
            Dtype::BOOL,
            Dtype::I8,
            Dtype::U32,
            Dtype::F32,
            Dtype::I64,
        ],
        (_, "r") => &[Dtype::F32, Dtype::F32, Dtype::F16, Dtype::BF16],
        (_, "f") => &[Dtype::U8, Dtype::BOOL],
        _ => &[Dtype::U32, Dtype::I32, Dtype::I64],
    };
    let dtype = *bytes.choose(dtypes)?;
    // What safetensors' writer can count, in bits, that is.
    let bits = shape
        .iter()
        .try_fold(64_usize, |bits, side| bits.checked_mul(*side));
    let Some(len) = bits.map(|bits| bits / 64) else {
        return Ok(None);
    };
    let width = dtype.bitsize() / 8;
    let mut data = Vec::new();
    let mut offset = 0;
    let lists = (sides.of("I") as u64).div_ceil(len.max(1) as u64);
    for i in 0..len.min(1 << 12) {
        let word: u64 = match &kind[..1] {
            "r" if bytes.ratio(1, 8)? => real(dtype, *bytes.choose(REALS)?),
            "r" => real(dtype, *bytes.choose(&REALS[..4])?),
            "f" => u64::from(bytes.arbitrary::<bool>()?),
            "o" => {
                offset += if i == 0 {
                    0
                } else {
                    bytes.int_in_range(0..=2 * lists)?
                };
                offset.min(sides.of("I") as u64)
            }
            // Children above their parents: no cycle.
            "e" => {
                let nodes = sides.of("L").max(2) as u64;
                let node = bytes.int_in_range(0..=nodes / 2)?;
                if i % 2 == 0 {
                    (node + nodes / 2).min(nodes - 1)
                } else {
                    node
                }
            }
            _ => bytes.int_in_range(0..=(sides.of(&kind[1..]).clamp(1, 1 << 31) - 1) as u64)?,
        };
        let word = if bytes.ratio(1, 1000)? {
            bytes.arbitrary()?
        } else {
            word
        };
        data.extend(&word.to_le_bytes()[..width]);
    }
    if kind == "o" && data.len() >= width && !bytes.ratio(1, 20)? {
        let end = data.len() - width;
        data[end..].copy_from_slice(&(sides.of("I") as u64).to_le_bytes()[..width]);
    }
    Ok(Some((
        name.trim_end_matches('?').into(),
        dtype,
        shape,
        data,
    )))
}

const REALS: &[f32] = &[
    0.0,
    1.0,
    0.5,
    0.1,
    -0.5,
    2.0,
    -3.0,
    1e-7,
    -1e4,
    6e4,
    1e30,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

/// The bits of a number in an element type.
fn real(dtype: Dtype, value: f32) -> u64 {
    match dtype {
        Dtype::F16 => u64::from(half::f16::from_f32(value).to_bits()),
        Dtype::BF16 => u64::from(half::bf16::from_f32(value).to_bits()),
        Dtype::F64 => f64::from(value).to_bits(),
        _ => u64::from(value.to_bits()),
    }
}

#[test]
fn any_file_is_computed_or_refused() {
    use crate::support::{Folder, command, finish};
    const CASES: u64 = 1500;
    let folder = Folder::new("any-file");
    let output = folder.path("out.safetensors");
    let mut computed = 0;
    for seed in 0..CASES {
        let mut rng = wgloss::check::Rng(seed);
        let bytes: Vec<u8> = (0..512).flat_map(|_| rng.word().to_le_bytes()).collect();
        let run = draw(&mut Unstructured::new(&bytes)).unwrap();
        let input = folder.write("in.safetensors", &run.file);
        let mut command = command(&["run"]);
        command.args(&run.args).args([&input, "--backend", "cpu"]);
        if seed % 2 == 0 {
            command.args(["-o", &output]);
        }
        let done = finish(command);
        let what = format!("seed {seed}: {:?}", run.args);
        match done.code {
            Some(0) => {
                assert_eq!(done.stdout.lines().count(), 1, "{what}: {}", done.stdout);
                computed += 1;
            }
            Some(2) => assert!(done.refusal(2).len() > 8, "{what}"),
            code => panic!("{what}: exit code {code:?}, {}", done.stderr),
        }
    }
    assert!(
        computed > CASES / 5 && computed < CASES,
        "{computed} of {CASES} computed"
    );
}
