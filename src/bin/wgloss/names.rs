//! Which tensors belong to which loss: the names of the file contract, as data. A loss that comes to read another tensor
//! gets its name in its row.

use crate::tensors::TensorFile;
use wgloss::Error;

const ROWS: &str = "logits class_mask mask sample_weight class_weight grad_loss";
const TARGETS: &str = "targets target_bits target_offsets target_indices";
const SETS: &str = "labels label_bits label_offsets label_indices \
    key_labels key_label_bits key_label_offsets key_label_indices self_index";
const OF_ROWS: &str = "loss grad_logits";

/// Losses, what they read, and what they write. `_k` stands for the number of a level.
#[rustfmt::skip]
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("zlpr lsep two-way bp-mll", &[ROWS, TARGETS, "weight"], &[OF_ROWS]),
    ("zlpr-soft asl hill splc softmax-ce", &[ROWS, TARGETS, "weight"], &[OF_ROWS, "grad_targets"]),
    ("dice", &[ROWS, TARGETS], &[OF_ROWS, "grad_targets"]),
    ("bce", &[ROWS, TARGETS, "weight pos_weight"], &[OF_ROWS, "grad_targets"]),
    ("focal", &[ROWS, TARGETS, "weight alpha"], &[OF_ROWS, "grad_targets"]),
    ("tlpr", &[ROWS, TARGETS, "weight threshold"], &[OF_ROWS, "grad_threshold"]),
    ("zlpr-kl", &[ROWS, "other"], &[OF_ROWS, "grad_other"]),
    ("wdl", &[ROWS, TARGETS, "permutation theta theta0"], &[OF_ROWS, "grad_targets grad_theta grad_theta0"]),
    ("linear", &["hidden weights bias target_bits target_offsets target_indices class_mask class_weight sample_weight grad_loss state"],
        &["loss grad_hidden grad_weights grad_bias weights state top_labels top_scores"]),
    ("mcm", &[ROWS, TARGETS, "edges"], &[OF_ROWS, "probabilities"]),
    ("hcal", &["features labels_k prototypes_k parents_k noise_k level_weights grad_loss"],
        &["loss losses weights grad_features grad_prototypes_k predictions_k hvr"]),
    ("contrastive", &["embeddings keys row_mask key_mask temperature grad_loss", SETS],
        &["loss loss_rows grad_embeddings grad_keys grad_temperature"]),
    ("relations", &[SETS], &["counts"]),
    ("balance", &["losses previous before log_variance grad_loss"], &["weights loss grad_losses grad_log_variance"]),
];

/// Letters by which a name may differ from a known one to be taken for a slip.
const SLIP: usize = 2;
/// Most names in the notice.
const MOST_NAMED: usize = 4;

fn words<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    texts.iter().flat_map(|text| text.split_whitespace())
}

/// The names that a loss reads, and those that it writes.
fn of_loss(loss: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut rows = TABLE.iter();
    let row = rows.find(|(losses, ..)| losses.split_whitespace().any(|name| name == loss));
    row.map_or_else(Default::default, |(_, reads, writes)| {
        (words(reads).collect(), words(writes).collect())
    })
}

/// A name as the table has it: with `k` for a number at its end, where it has one of a level.
fn in_table(tensor: &str, known: &[&str]) -> bool {
    match level(tensor) {
        Some((kind, _)) if known.contains(&&format!("{kind}_k")[..]) => true,
        _ => !tensor.ends_with("_k") && known.contains(&tensor),
    }
}

/// The kind and the number, as it is written, of a tensor of a level: `labels_1`.
pub fn level(tensor: &str) -> Option<(&str, &str)> {
    let (kind, number) = tensor.rsplit_once('_')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((kind, number))
}

/// Refuses tensors whose names the contract knows, but not for this loss. Of what nobody knows, gives a notice where it
/// looks like a slip. What a loss writes may lie in a file beside what it read.
pub fn check(file: &TensorFile, loss: &str) -> Result<Option<String>, Error> {
    let (mine, written) = of_loss(loss);
    let all: Vec<&str> = TABLE
        .iter()
        .flat_map(|(_, reads, _)| words(reads))
        .collect();
    let results: Vec<&str> = TABLE
        .iter()
        .flat_map(|(.., writes)| words(writes))
        .collect();
    let mut slips = Vec::new();
    for tensor in file.names() {
        let tensor = &tensor[..];
        if in_table(tensor, &mine) || in_table(tensor, &written) {
            continue;
        }
        if in_table(tensor, &all) {
            let reason = format!("{loss} does not take it (it takes {})", mine.join(", "));
            return Err(Error::refused(tensor, reason));
        }
        if !in_table(tensor, &results) {
            slips.extend(meant(tensor, &mine, &all).map(|meant| format!("{tensor} ({meant}?)")));
        }
    }
    if slips.is_empty() {
        return Ok(None);
    }
    let more = slips.len().saturating_sub(MOST_NAMED);
    slips.truncate(MOST_NAMED);
    let names = slips.join(", ");
    Ok(Some(match more {
        0 => format!("{names}: left alone, no loss reads a tensor of this name"),
        _ => format!("{names} and {more} more: left alone, no loss reads tensors of these names"),
    }))
}

/// The known name that an unknown one may stand for, rather one of the loss's own.
fn meant(tensor: &str, mine: &[&str], all: &[&str]) -> Option<String> {
    // Whatever number it ends with is taken for a level's.
    let digits = tensor.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = if digits.is_empty() { "1" } else { digits };
    let candidates = mine
        .iter()
        .map(|name| (0, name))
        .chain(all.iter().map(|name| (1, name)));
    let named = candidates.filter_map(|(order, name)| {
        let name = match name.strip_suffix("_k") {
            Some(kind) => format!("{kind}_{number}"),
            None => (*name).to_owned(),
        };
        let distance = distance(tensor, &name);
        (distance <= SLIP).then_some((distance, order, name))
    });
    named.min().map(|(.., name)| name)
}

/// How many letters are to be added, left out or changed to make one name of the other; more than [`SLIP`] where that
/// is plain.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 4 * SLIP {
        return SLIP + 1; // a letter has at most four bytes
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, wanted) in other.iter().enumerate() {
            let changed = before + usize::from(letter != *wanted);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Loss;

    #[test]
    fn every_loss_has_one_row() {
        let mut rows: Vec<&str> = TABLE
            .iter()
            .flat_map(|(losses, ..)| losses.split_whitespace())
            .collect();
        let mut losses: Vec<&str> = Loss::computed(None).map(|loss| loss.name()).collect();
        rows.sort_unstable();
        losses.sort_unstable();
        assert_eq!(rows, losses);
    }

    #[test]
    fn slips_are_within_two_letters() {
        for (one, other, letters) in [
            ("mask", "mask", 0),
            ("masks", "mask", 1),
            ("class_weights", "class_weight", 1),
            ("lable", "label", 2),
            ("logit_s", "logits", 1),
            ("", "ab", 2),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
        assert!(distance("scores", "logits") > SLIP);
        assert!(distance("a name that is much longer", "mask") > SLIP);
        let mine = of_loss("hcal").0;
        let of = |name: &str| meant(name, &mine, &mine);
        assert_eq!(of("label_12"), Some("labels_12".into()));
        assert_eq!(of("labels1"), Some("labels_1".into()));
        assert_eq!(of("parents_k"), Some("parents_1".into()));
        assert_eq!(of("id"), None);
    }
}
