//! Glosses of WordNet as bags of words; some are for testing.

use std::collections::HashMap;

/// Every so many-th gloss is for testing.
const TEST: usize = 5;
/// Words that occur in fewer training glosses are left out.
const LEAST: usize = 2;

/// Which words each gloss has, each with a weight; the squares of a gloss's weights sum to 1.
pub struct Bags {
    pub of: Vec<Vec<(usize, f32)>>,
    /// How many words there are.
    pub vocabulary: usize,
}

/// Whether the gloss with this number is for testing.
pub fn is_test(i: usize) -> bool {
    i.is_multiple_of(TEST)
}

impl Bags {
    /// Counts the words of the glosses to train with.
    pub fn new(glosses: &[&str]) -> Bags {
        let glosses: Vec<Vec<String>> = glosses.iter().map(|gloss| words(gloss)).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (_, gloss) in glosses.iter().enumerate().filter(|(i, _)| !is_test(*i)) {
            for word in gloss {
                *counts.entry(word).or_default() += 1;
            }
        }
        let mut known: Vec<(&str, usize)> =
            counts.into_iter().filter(|(_, n)| *n >= LEAST).collect();
        known.sort_unstable();
        let index: HashMap<&str, usize> = known
            .iter()
            .enumerate()
            .map(|(i, (word, _))| (*word, i))
            .collect();
        let bag = |gloss: &Vec<String>| {
            let found = gloss.iter().filter_map(|word| index.get(word.as_str()));
            // Rare words say more.
            let rarity = |&at: &usize| (at, (glosses.len() as f32 / known[at].1 as f32).ln());
            let mut weighted: Vec<(usize, f32)> = found.map(rarity).collect();
            let squares: f32 = weighted.iter().map(|(_, weight)| weight * weight).sum();
            let norm = squares.sqrt().max(1e-6);
            for (_, weight) in &mut weighted {
                *weight /= norm;
            }
            weighted
        };
        Bags {
            of: glosses.iter().map(bag).collect(),
            vocabulary: known.len(),
        }
    }
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
