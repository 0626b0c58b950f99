//! Glosses of WordNet with a class at each of three levels, as bags of words.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use wgloss::Levels;

/// Every so many-th sample of a class is for testing.
const TEST: usize = 5;
/// Words that occur in fewer training glosses are left out.
const LEAST: usize = 2;

/// Samples: which words each has, and its class at each level.
#[derive(Default)]
pub struct Set {
    /// Of each sample its words, each with a weight; the squares of a sample's weights sum to 1.
    pub words: Vec<Vec<(usize, f32)>>,
    /// Of each sample its class of level 1.
    pub class: Vec<u32>,
}

impl Set {
    /// Labels as the losses take them: all of level 1, then of level 2, and so on.
    pub fn labels(&self, samples: &[usize], levels: &Levels) -> Vec<u32> {
        let mut of: Vec<u32> = samples.iter().map(|i| self.class[*i]).collect();
        let mut all = Vec::new();
        for k in 0..levels.len() {
            all.extend(&of);
            for class in &mut of {
                *class = levels.parents(k).get(*class as usize).copied().unwrap_or(0);
            }
        }
        all
    }
}

/// What the file holds.
pub struct Glosses {
    pub levels: Levels,
    pub train: Set,
    pub test: Set,
    /// How many words there are.
    pub vocabulary: usize,
}

/// Reads `wordnet.tsv`; examples/data/README.md says what stands in it.
pub fn wordnet(path: &Path) -> Result<Glosses, Box<dyn Error>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut parents: Vec<Vec<u32>> = Vec::new();
    let mut samples: Vec<(u32, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["class", level, _, _, parent] => {
                let level: usize = level.parse()?;
                parents.resize(parents.len().max(level), Vec::new());
                parents[level - 1].push(parent.parse().unwrap_or(0));
            }
            ["sample", class, gloss] => samples.push((class.parse()?, words(gloss))),
            _ => return Err(format!("{}: {line:?}", path.display()).into()),
        }
    }
    let classes: Vec<usize> = parents.iter().map(Vec::len).collect();
    let below: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
    let levels = Levels::new(&classes, &below[..below.len().saturating_sub(1)])?;

    let is_test = |i: usize| i.is_multiple_of(TEST);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (_, gloss) in samples
        .iter()
        .enumerate()
        .filter(|(i, _)| !is_test(*i))
        .map(|(_, s)| s)
    {
        for word in gloss {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut known: Vec<(&str, usize)> = counts.into_iter().filter(|(_, n)| *n >= LEAST).collect();
    known.sort_unstable();
    let index: HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .map(|(i, (w, _))| (*w, i))
        .collect();
    let mut glosses = Glosses {
        levels,
        train: Set::default(),
        test: Set::default(),
        vocabulary: known.len(),
    };
    for (i, (class, gloss)) in samples.iter().enumerate() {
        let found = gloss.iter().filter_map(|word| index.get(word.as_str()));
        // Rare words say more.
        let rarity = |&at: &usize| (at, (samples.len() as f32 / known[at].1 as f32).ln());
        let mut weighted: Vec<(usize, f32)> = found.map(rarity).collect();
        let norm = weighted
            .iter()
            .map(|(_, w)| w * w)
            .sum::<f32>()
            .sqrt()
            .max(1e-6);
        for (_, weight) in &mut weighted {
            *weight /= norm;
        }
        let set = if is_test(i) {
            &mut glosses.test
        } else {
            &mut glosses.train
        };
        set.words.push(weighted);
        set.class.push(*class);
    }
    Ok(glosses)
}

/// The words of a gloss, each once, without the ends that English adds.
fn words(gloss: &str) -> Vec<String> {
    let lower = gloss.to_lowercase();
    let all = lower.split(|c: char| !c.is_alphabetic());
    let stem = |word: &str| {
        let mut word = word.to_owned();
        for end in ["ing", "ed", "es", "s"] {
            if word.len() > end.len() + 3 && word.ends_with(end) {
                word.truncate(word.len() - end.len());
                break;
            }
        }
        word
    };
    let mut found: Vec<String> = all.filter(|w| w.len() > 1).map(stem).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_cut_down_and_stand_once() {
        assert_eq!(
            words("Trees, growing a tree; grows bushes"),
            ["bush", "grow", "tree"]
        );
    }
}
