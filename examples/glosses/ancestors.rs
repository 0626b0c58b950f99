//! Glosses of WordNet with all that they are kinds of, as labels.

use crate::words::{Bags, is_test};
use std::error::Error;
use std::ops::Range;
use std::path::Path;

/// Glosses and what they are kinds of.
pub struct Glosses {
    pub bags: Bags,
    /// Of each gloss its labels, in rising order.
    pub labels: Vec<Vec<u32>>,
    /// Numbers of those to train and to test with.
    pub train: Vec<usize>,
    pub test: Vec<usize>,
    /// How many training glosses each label has.
    pub counts: Vec<u32>,
}

/// The labels of some glosses that are in a range, as the losses take them: counted from the range's first.
pub fn lists(glosses: &Glosses, samples: &[usize], range: Range<u32>) -> (Vec<u32>, Vec<u32>) {
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for sample in samples {
        let labels = glosses.labels[*sample].iter();
        let here = labels.filter(|label| range.contains(label));
        indices.extend(here.map(|label| label - range.start));
        offsets.push(indices.len() as u32);
    }
    (offsets, indices)
}

/// Reads `ancestors.tsv`; examples/data/README.md says what stands in it.
pub fn read(path: &Path) -> Result<Glosses, Box<dyn Error>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (mut parents, mut texts) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (direct, gloss) = line
            .split_once('\t')
            .ok_or_else(|| format!("no tab: {line:?}"))?;
        let direct = direct.split(',').filter(|number| !number.is_empty());
        parents.push(direct.map(str::parse).collect::<Result<Vec<usize>, _>>()?);
        texts.push(gloss);
    }
    let ancestors: Vec<Vec<usize>> = (0..parents.len())
        .map(|start| above(&parents, start))
        .collect::<Result<_, _>>()?;
    // What is an ancestor of anything is a label.
    let mut number = vec![None; parents.len()];
    let mut some = vec![false; parents.len()];
    ancestors.iter().flatten().for_each(|at| some[*at] = true);
    let labels = (0..parents.len()).filter(|at| some[*at]);
    let mut counts = Vec::new();
    for at in labels {
        number[at] = Some(counts.len() as u32);
        counts.push(0);
    }
    let (train, test) = (0..parents.len()).partition(|i| !is_test(*i));
    let mut glosses = Glosses {
        bags: Bags::new(&texts),
        labels: Vec::new(),
        train,
        test,
        counts,
    };
    for (i, found) in ancestors.iter().enumerate() {
        let mut labels: Vec<u32> = found.iter().filter_map(|at| number[*at]).collect();
        labels.sort_unstable();
        if !is_test(i) {
            labels
                .iter()
                .for_each(|label| glosses.counts[*label as usize] += 1);
        }
        glosses.labels.push(labels);
    }
    Ok(glosses)
}

/// All that can be reached upwards, each once.
fn above(parents: &[Vec<usize>], start: usize) -> Result<Vec<usize>, String> {
    let (mut found, mut open) = (Vec::new(), parents[start].clone());
    while let Some(at) = open.pop() {
        if !found.contains(&at) {
            open.extend(parents.get(at).ok_or_else(|| format!("no line {at}"))?);
            found.push(at);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::above;

    #[test]
    fn an_ancestor_by_two_ways_is_found_once() {
        let parents = [vec![], vec![0], vec![0], vec![1, 2]];
        let mut found = above(&parents, 3).unwrap();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
        assert!(above(&[vec![7]], 0).is_err());
    }
}
