//! Glosses of WordNet with a class at each of three levels, as bags of words.

// Named here and not by the example: wgloss-burn's example has this file too.
#[path = "../glosses/words.rs"]
mod words;

use std::error::Error;
use std::path::Path;
use wgloss::Levels;
use words::{Bags, is_test};

/// Samples: which words each has, and its class at each level.
#[derive(Default)]
pub struct Set {
    /// Of each sample its words with their weights.
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
    let mut samples: Vec<(u32, &str)> = Vec::new();
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["class", level, _, _, parent] => {
                let level: usize = level.parse()?;
                parents.resize(parents.len().max(level), Vec::new());
                parents[level - 1].push(parent.parse().unwrap_or(0));
            }
            ["sample", class, gloss] => samples.push((class.parse()?, gloss)),
            _ => return Err(format!("{}: {line:?}", path.display()).into()),
        }
    }
    let classes: Vec<usize> = parents.iter().map(Vec::len).collect();
    let below: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
    let levels = Levels::new(&classes, &below[..below.len().saturating_sub(1)])?;

    let texts: Vec<&str> = samples.iter().map(|(_, gloss)| *gloss).collect();
    let bags = Bags::new(&texts);
    let mut glosses = Glosses {
        levels,
        train: Set::default(),
        test: Set::default(),
        vocabulary: bags.vocabulary,
    };
    for (i, ((class, _), words)) in samples.iter().zip(bags.of).enumerate() {
        let set = if is_test(i) {
            &mut glosses.test
        } else {
            &mut glosses.train
        };
        set.words.push(words);
        set.class.push(*class);
    }
    Ok(glosses)
}
