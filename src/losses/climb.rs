//! In which order the winners of a hierarchy's classes are found: each from a few classes and a few winners before it.
//!
//! A class's winner is the best of itself and all below it, and the best of two overlapping sets is the best of their
//! bests. So a class looks at the leaves below it and at the winners of its other children. Where that made a level for
//! every edge of the longest way, a child of about the same size is replaced by what it looks at itself.

use crate::losses::lists::Lists;

/// Most classes and winners that one step looks at: beyond, others are put between.
pub(crate) const MOST: usize = 64;
/// Classes are of one size where their descendants lie between the same two powers of this.
const SIZE: usize = 16;

/// The steps to all winners but those of leaves, which are their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Climb {
    leaves: Vec<bool>,
    /// Of each step the class whose winner it finds, or [`Climb::NONE`] where it only helps.
    classes: Vec<u32>,
    /// Where the entries of each step begin, first its classes, then its steps; and their end.
    starts: Vec<u32>,
    /// Classes beside the step's own, and steps of lower levels.
    entries: Vec<u32>,
    /// Where each level of steps begins; and their end.
    levels: Vec<usize>,
}

/// What a step looks at.
#[derive(Clone, Default)]
struct Looks {
    classes: Vec<u32>,
    steps: Vec<u32>,
}

impl Looks {
    fn len(&self) -> usize {
        self.classes.len() + self.steps.len()
    }
}

struct Step {
    class: u32,
    level: usize,
    looks: Looks,
}

/// Steps while they are collected.
#[derive(Default)]
struct Steps {
    all: Vec<Step>,
}

impl Steps {
    fn push(&mut self, class: u32, looks: Looks) -> u32 {
        let levels = looks.steps.iter().map(|step| self.level(*step) + 1);
        let level = levels.max().unwrap_or(0);
        self.all.push(Step {
            class,
            level,
            looks,
        });
        self.all.len() as u32 - 1
    }

    fn level(&self, step: u32) -> usize {
        self.all.get(step as usize).map_or(0, |step| step.level)
    }

    /// Not more than [`MOST`] for the same, by steps between.
    fn few(&mut self, mut looks: Looks) -> Looks {
        while looks.len() > MOST {
            let Looks { classes, mut steps } = std::mem::take(&mut looks);
            steps.sort_by_key(|step| self.level(*step));
            for some in classes.chunks(MOST) {
                let some = Looks {
                    classes: some.to_vec(),
                    steps: Vec::new(),
                };
                looks.steps.push(self.push(Climb::NONE, some));
            }
            for some in steps.chunks(MOST) {
                let some = Looks {
                    classes: Vec::new(),
                    steps: some.to_vec(),
                };
                looks.steps.push(self.push(Climb::NONE, some));
            }
        }
        looks
    }
}

/// Numbers of which each is taken once.
struct Once {
    turn: u32,
    met: Vec<u32>,
}

impl Once {
    fn push(&mut self, to: &mut Vec<u32>, value: u32) {
        let at = value as usize;
        if at >= self.met.len() {
            self.met.resize(at + 1, u32::MAX);
        }
        if self.met[at] != self.turn {
            self.met[at] = self.turn;
            to.push(value);
        }
    }
}

impl Climb {
    /// Stands for no class.
    pub(crate) const NONE: u32 = u32::MAX;

    /// Of nodes in `order`, parents first.
    pub(crate) fn new(children: &Lists, descendants: &Lists, order: &[u32]) -> Climb {
        let nodes = children.len();
        let size = |node: u32| descendants.of(node as usize).len().max(1).ilog(SIZE);
        let leaf = |node: u32| children.of(node as usize).is_empty();
        let mut steps = Steps::default();
        let mut of_class = vec![Climb::NONE; nodes];
        let once = || Once {
            turn: 0,
            met: Vec::new(),
        };
        let (mut once_classes, mut once_steps) = (once(), once());
        for &node in order.iter().rev().filter(|node| !leaf(**node)) {
            let mut looks = |through: bool| {
                once_classes.turn = once_classes.turn.wrapping_add(1);
                once_steps.turn = once_steps.turn.wrapping_add(1);
                let mut looks = Looks::default();
                once_classes.push(&mut looks.classes, node);
                for &child in children.of(node as usize) {
                    let step = of_class[child as usize];
                    match steps.all.get(step as usize) {
                        None => once_classes.push(&mut looks.classes, child),
                        Some(below) if through && size(child) == size(node) => {
                            once_classes.push(&mut looks.classes, child);
                            for &class in &below.looks.classes {
                                once_classes.push(&mut looks.classes, class);
                            }
                            for &step in &below.looks.steps {
                                once_steps.push(&mut looks.steps, step);
                            }
                        }
                        Some(_) => once_steps.push(&mut looks.steps, step),
                    }
                }
                // The step's own class is known to it.
                looks.classes.swap_remove(0);
                looks
            };
            let through = looks(true);
            let few = match through.len() <= MOST {
                true => through,
                false => {
                    let direct = looks(false);
                    steps.few(direct)
                }
            };
            of_class[node as usize] = steps.push(node, few);
        }
        Climb::sorted((0..nodes as u32).map(leaf).collect(), steps.all)
    }

    /// Level by level, within one by how much there is to look at, so that neighbours take the same time.
    fn sorted(leaves: Vec<bool>, steps: Vec<Step>) -> Climb {
        let mut order: Vec<u32> = (0..steps.len() as u32).collect();
        order.sort_by_key(|step| {
            let step = &steps[*step as usize];
            let Looks { classes, steps } = &step.looks;
            (step.level, classes.len(), steps.len(), step.class)
        });
        let mut place = vec![0; steps.len()];
        for (i, step) in order.iter().enumerate() {
            place[*step as usize] = i as u32;
        }
        let mut climb = Climb {
            leaves,
            classes: Vec::with_capacity(steps.len()),
            starts: Vec::with_capacity(2 * steps.len() + 1),
            entries: Vec::new(),
            levels: Vec::new(),
        };
        for (i, step) in order.iter().enumerate() {
            let step = &steps[*step as usize];
            if step.level == climb.levels.len() {
                climb.levels.push(i);
            }
            climb.classes.push(step.class);
            climb.starts.push(climb.entries.len() as u32);
            climb.entries.extend(&step.looks.classes);
            climb.starts.push(climb.entries.len() as u32);
            let below = step.looks.steps.iter().map(|step| place[*step as usize]);
            climb.entries.extend(below);
        }
        climb.starts.push(climb.entries.len() as u32);
        climb.levels.push(steps.len());
        climb
    }

    /// Steps.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Of each level the first step, how many there are, and how many entries they have.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        self.levels.windows(2).map(|pair| {
            let entries = self.starts[2 * pair[1]] - self.starts[2 * pair[0]];
            (pair[0], pair[1] - pair[0], u64::from(entries))
        })
    }

    /// Where the four parts of the words begin: a bit for each leaf, classes, starts, entries; and their end.
    pub(crate) fn places(&self) -> [usize; 5] {
        let leaves = self.leaves.len().div_ceil(32);
        let starts = leaves + self.classes.len();
        let entries = starts + self.starts.len();
        [0, leaves, starts, entries, entries + self.entries.len()]
    }

    /// What the kernels read.
    pub(crate) fn words(&self) -> Vec<u32> {
        let bits = |some: &[bool]| {
            let bits = some.iter().enumerate();
            bits.fold(0, |word, (i, leaf)| word | (u32::from(*leaf) << i))
        };
        let mut words: Vec<u32> = self.leaves.chunks(32).map(bits).collect();
        words.extend(&self.classes);
        words.extend(&self.starts);
        words.extend(&self.entries);
        words
    }
}
