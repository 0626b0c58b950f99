//! Hierarchies of classes, validated once on the host.
//!
//! [`Hierarchy`] is a directed acyclic graph: any node may have several parents. It is what the constraint module
//! ([`Mcm`](crate::Mcm)) needs. [`Levels`] has a class of every level for each sample and one parent for each class,
//! which is what [`Hcal`](crate::Hcal) needs; [`Hierarchy::from_levels`] makes the one of the other.
//!
//! Nodes are numbered, and errors name them by number. Building takes time and memory in proportion to nodes, edges and
//! pairs of a node and a descendant of it: WordNet's nouns (82,192 nodes, 84,505 edges, 20 deep) have 825,938 of them.

use crate::error::{Error, ErrorKind};
use crate::losses::climb::Climb;
use crate::losses::lists::Lists;

/// Most pairs of a node and a descendant.
const MOST_PAIRS: usize = 1 << 27;

/// A directed acyclic graph of classes, with the descendants and the ancestors of every node, itself among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    parents: Lists,
    children: Lists,
    descendants: Lists,
    ancestors: Lists,
    order: Vec<u32>,
    depth: usize,
    climb: Climb,
}

impl Hierarchy {
    /// The hierarchy of `nodes` nodes with these edges, each a child and a parent of it.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] names the nodes of an edge out of range, of a self-loop, of an edge that is there
    /// twice, and of a cycle; [`ErrorKind::Shape`] where there is no node or there are 2^31 or more;
    /// [`ErrorKind::Unsupported`] from 2^27 pairs of a node and a descendant on.
    pub fn from_edges(nodes: usize, edges: &[[u32; 2]]) -> Result<Hierarchy, Error> {
        if nodes == 0 || nodes >= 1 << 31 || edges.len() >= 1 << 31 {
            return Err(Error::shape(
                "hierarchy",
                "at least one node, and fewer than 2^31 nodes and edges",
                format!("{nodes} nodes, {} edges", edges.len()),
            ));
        }
        for (i, &[child, parent]) in edges.iter().enumerate() {
            if child as usize >= nodes || parent as usize >= nodes {
                return Err(Error::value(
                    "edges",
                    format!("nodes below {nodes}"),
                    format!("child {child}, parent {parent} in edge {i}"),
                ));
            }
            if child == parent {
                return Err(Error::value(
                    "edges",
                    "no node that is its own parent",
                    format!("node {child} in edge {i}"),
                ));
            }
        }
        // By child, then both ways: the lists come out ascending.
        let by_parent = Lists::group(nodes, edges.iter().map(|&[child, parent]| (parent, child)));
        let parents = by_parent.transposed();
        let children = parents.transposed();
        for child in 0..nodes {
            if let Some(twice) = parents.of(child).windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::value(
                    "edges",
                    "each pair of child and parent once",
                    format!("child {child} with parent {} twice", twice[0]),
                ));
            }
        }
        let (order, depth) = sorted(&parents, &children)?;
        let ancestors = closure(&parents)?;
        // For the descendants and the climb; pairs may be far more than edges, and an allocation that fails ends the
        // process.
        let mut room: Vec<u32> = Vec::new();
        let words = ancestors.nodes.len().saturating_add(nodes);
        room.try_reserve_exact(words.saturating_mul(6))
            .map_err(|_| no_memory(ancestors.nodes.len()))?;
        drop(room);
        let descendants = ancestors.transposed();
        let climb = Climb::new(&children, &descendants, &order);
        Ok(Hierarchy {
            parents,
            children,
            descendants,
            ancestors,
            order,
            depth,
            climb,
        })
    }

    /// All classes of some levels in one hierarchy: those of level 1 first, then those of level 2, and so on.
    ///
    /// # Errors
    /// As [`Hierarchy::from_edges`], for sizes.
    pub fn from_levels(levels: &Levels) -> Result<Hierarchy, Error> {
        let mut edges = Vec::new();
        let mut first = 0;
        for (k, parents) in levels.parents.iter().enumerate() {
            let next = first + levels.classes[k];
            let up = |(child, parent): (usize, &u32)| {
                [
                    (first + child) as u32,
                    (next as u64 + u64::from(*parent)) as u32,
                ]
            };
            edges.extend(parents.iter().enumerate().map(up));
            first = next;
        }
        Hierarchy::from_edges(levels.classes.iter().sum(), &edges)
    }

    /// Nodes.
    pub fn nodes(&self) -> usize {
        self.parents.len()
    }

    /// Edges.
    pub fn edges(&self) -> usize {
        self.parents.nodes.len()
    }

    /// Pairs of a node and a descendant of it, itself among them: what a call of the constraint module costs for each
    /// sample.
    pub fn pairs(&self) -> usize {
        self.descendants.nodes.len()
    }

    /// Nodes of the longest way from a root to a leaf.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The parents of a node, ascending. Of a node that is not there: none.
    pub fn parents(&self, node: usize) -> &[u32] {
        self.parents.of(node)
    }

    /// The children of a node, ascending.
    pub fn children(&self, node: usize) -> &[u32] {
        self.children.of(node)
    }

    /// A node and all below it, ascending.
    pub fn descendants(&self, node: usize) -> &[u32] {
        self.descendants.of(node)
    }

    /// A node and all above it, ascending.
    pub fn ancestors(&self, node: usize) -> &[u32] {
        self.ancestors.of(node)
    }

    /// All nodes, parents before their children.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// What the kernels read, to be uploaded once to a u32 buffer of [`Hierarchy::words_len`] words: in which steps the
    /// largest of each node's descendants is found.
    pub fn words(&self) -> Vec<u32> {
        self.climb.words()
    }

    /// Length of [`Hierarchy::words`].
    pub fn words_len(&self) -> usize {
        let [.., end] = self.climb.places();
        end
    }

    /// The steps to the winners of all nodes.
    pub(crate) fn climb(&self) -> &Climb {
        &self.climb
    }
}

/// Nodes with parents before children, and the length of the longest way; an error that names a cycle.
fn sorted(parents: &Lists, children: &Lists) -> Result<(Vec<u32>, usize), Error> {
    let nodes = parents.len();
    let mut waiting: Vec<usize> = (0..nodes).map(|node| parents.of(node).len()).collect();
    let mut order: Vec<u32> = (0..nodes as u32)
        .filter(|node| waiting[*node as usize] == 0)
        .collect();
    let mut level = vec![1_usize; nodes];
    let mut at = 0;
    while let Some(&node) = order.get(at) {
        for &child in children.of(node as usize) {
            let child_at = child as usize;
            level[child_at] = level[child_at].max(level[node as usize] + 1);
            waiting[child_at] -= 1;
            if waiting[child_at] == 0 {
                order.push(child);
            }
        }
        at += 1;
    }
    if order.len() == nodes {
        return Ok((order, level.into_iter().max().unwrap_or(0)));
    }
    // What still waits has a parent that waits: going up must come round.
    let up = |node: usize| {
        let waits = |parent: &&u32| waiting[**parent as usize] > 0;
        parents.of(node).iter().find(waits).map(|p| *p as usize)
    };
    let mut node = (0..nodes).find(|node| waiting[*node] > 0);
    let mut met = vec![false; nodes];
    while let Some(here) = node.filter(|here| !met[*here]) {
        met[here] = true;
        node = up(here);
    }
    let begin = node;
    let mut names = Vec::new();
    while let Some(here) = node {
        names.push(here.to_string());
        if names.len() > 12 {
            names.push("..".into());
            break;
        }
        node = up(here);
        if node == begin {
            names.extend(node.map(|node| node.to_string()));
            break;
        }
    }
    Err(Error::value(
        "edges",
        "no cycle",
        format!("from child to parent {}", names.join(" -> ")),
    ))
}

fn no_memory(pairs: usize) -> Error {
    let expected = "memory for all pairs of a node and a descendant";
    Error::new(
        ErrorKind::OutOfMemory,
        "hierarchy",
        expected,
        format!("none for {pairs}"),
    )
}

/// Of every node itself and all that its parents lead to.
fn closure(parents: &Lists) -> Result<Lists, Error> {
    let nodes = parents.len();
    let mut offsets = vec![0];
    let mut all: Vec<u32> = Vec::new();
    let mut met = vec![u32::MAX; nodes];
    for node in 0..nodes as u32 {
        let begin = all.len();
        // A node has no more ancestors than there are nodes.
        all.try_reserve(nodes).map_err(|_| no_memory(begin))?;
        all.push(node);
        met[node as usize] = node;
        let mut at = begin;
        while let Some(&here) = all.get(at) {
            for &parent in parents.of(here as usize) {
                if met[parent as usize] != node {
                    met[parent as usize] = node;
                    all.push(parent);
                }
            }
            at += 1;
        }
        if all.len() >= MOST_PAIRS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "hierarchy",
                format!("fewer than {MOST_PAIRS} pairs of a node and a descendant"),
                format!("{} up to node {node}", all.len()),
            ));
        }
        all[begin..].sort_unstable();
        offsets.push(all.len() as u32);
    }
    Ok(Lists {
        offsets,
        nodes: all,
    })
}

/// Levels of classes, from the finest, and of every class of a level its one parent in the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    classes: Vec<usize>,
    parents: Vec<Vec<u32>>,
}

impl Levels {
    /// Levels of `classes[0]` (the finest), `classes[1]`, .. classes; `parents[k][c]` is the parent, in level `k + 1`,
    /// of class `c` of level `k`.
    ///
    /// # Errors
    /// [`ErrorKind::Shape`] where there is no level, a level has no class, or the parents are not one for each class of
    /// each level but the last; [`ErrorKind::Value`] names a parent that is out of range. Errors count levels from 1.
    pub fn new(classes: &[usize], parents: &[&[u32]]) -> Result<Levels, Error> {
        if classes.is_empty() || classes.len() > 1 << 16 {
            return Err(Error::shape(
                "levels",
                "from 1 to 65536 levels",
                classes.len(),
            ));
        }
        for (k, &count) in classes.iter().enumerate() {
            if count == 0 || count >= 1 << 31 {
                return Err(Error::shape(
                    format!("level {}", k + 1),
                    "at least 1 class and fewer than 2^31",
                    count,
                ));
            }
        }
        if parents.len() + 1 != classes.len() {
            return Err(Error::shape(
                "parents",
                format!("those of {} levels (all but the last)", classes.len() - 1),
                format!("of {}", parents.len()),
            ));
        }
        for (k, of) in parents.iter().enumerate() {
            let name = format!("parents_{}", k + 1);
            if of.len() != classes[k] {
                return Err(Error::shape(
                    name,
                    format!("[{}] (one for each class)", classes[k]),
                    format!("[{}]", of.len()),
                ));
            }
            if let Some(c) = of.iter().position(|p| *p as usize >= classes[k + 1]) {
                return Err(Error::value(
                    name,
                    format!("classes of level {}, below {}", k + 2, classes[k + 1]),
                    format!("{} as parent of class {c}", of[c]),
                ));
            }
        }
        Ok(Levels {
            classes: classes.to_vec(),
            parents: parents.iter().map(|of| of.to_vec()).collect(),
        })
    }

    /// Levels.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// False: there is at least one level.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Classes of each level, from the finest.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Parents of the classes of level `k` (from 0), in level `k + 1`; of the last level and beyond: none.
    pub fn parents(&self, k: usize) -> &[u32] {
        self.parents.get(k).map_or(&[], Vec::as_slice)
    }

    /// What the kernels read, to be uploaded once to a u32 buffer of [`Levels::words_len`] words: of each level its
    /// classes, and where their parents begin; then the parents of all levels but the last, one after the other.
    pub fn words(&self) -> Vec<u32> {
        let level = |k: usize| [self.classes[k] as u32, self.parents_at(k) as u32];
        let mut words: Vec<u32> = (0..self.len()).flat_map(level).collect();
        words.extend(self.parents.iter().flatten());
        words
    }

    /// Length of [`Levels::words`].
    pub fn words_len(&self) -> usize {
        self.parents_at(self.parents.len())
    }

    /// Where the words have the parents of the classes of level `k`.
    pub(crate) fn parents_at(&self, k: usize) -> usize {
        let before = self.parents.iter().take(k);
        2 * self.len() + before.map(Vec::len).sum::<usize>()
    }

    /// Checks one label of each sample and level, `labels[k * samples + i]`, [`Levels::NONE`] where there is none: that
    /// it is in range.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] names level, sample and label.
    pub fn check_labels(&self, samples: usize, labels: &[u32]) -> Result<(), Error> {
        if labels.len() != self.len().saturating_mul(samples) {
            return Err(Error::shape(
                "labels",
                format!("{} levels of {samples} samples", self.len()),
                format!("{} labels", labels.len()),
            ));
        }
        for k in 0..self.len() {
            for i in 0..samples {
                let label = labels[k * samples + i];
                if label == Levels::NONE {
                    continue;
                }
                if label as usize >= self.classes[k] {
                    return Err(Error::value(
                        format!("labels_{}", k + 1),
                        format!("classes below {}, or -1", self.classes[k]),
                        format!("{} of sample {i}", label.cast_signed()),
                    ));
                }
            }
        }
        Ok(())
    }

    /// [`Levels::check_labels`], and that each label is the parent of the one below.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] names level, sample and label.
    pub fn check_paths(&self, samples: usize, labels: &[u32]) -> Result<(), Error> {
        self.check_labels(samples, labels)?;
        for (k, parents) in self.parents.iter().enumerate() {
            for i in 0..samples {
                let (below, label) = (labels[k * samples + i], labels[(k + 1) * samples + i]);
                if below == Levels::NONE || label == Levels::NONE {
                    continue;
                }
                let parent = parents[below as usize];
                if parent != label {
                    return Err(Error::value(
                        format!("labels_{}", k + 2),
                        format!(
                            "{parent}, the parent of class {below} that the sample has at level {}",
                            k + 1
                        ),
                        format!("{label} of sample {i}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The label of a sample that has none at a level: -1 as a signed number.
    pub const NONE: u32 = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every step its class and the classes it has seen, directly or through others, by the words alone.
    fn seen(hierarchy: &Hierarchy) -> Vec<(u32, Vec<u32>)> {
        let (words, climb) = (hierarchy.words(), hierarchy.climb());
        assert_eq!(words.len(), hierarchy.words_len());
        let [_, classes, starts, entries, _] = climb.places();
        let mut all: Vec<(u32, Vec<u32>)> = Vec::new();
        for (first, count, of_level) in climb.levels() {
            let mut looked = 0;
            for i in first..first + count {
                let at = |k: usize| entries + words[starts + 2 * i + k] as usize;
                let (of_classes, of_steps) = (&words[at(0)..at(1)], &words[at(1)..at(2)]);
                assert!(at(2) - at(0) <= 64);
                looked += (at(2) - at(0)) as u64;
                let class = words[classes + i];
                let mut own = of_classes.to_vec();
                own.extend(Some(class).filter(|class| *class != Climb::NONE));
                for step in of_steps {
                    assert!((*step as usize) < first, "a step of its own level");
                    own.extend(&all[*step as usize].1);
                }
                own.sort_unstable();
                own.dedup();
                all.push((class, own));
            }
            assert_eq!(looked, of_level);
        }
        all
    }

    #[test]
    fn every_class_sees_its_descendants_in_few_levels() {
        let tree: Vec<[u32; 2]> = (1..3000).map(|i| [i, (i * 7919) % i]).collect();
        let wide: Vec<[u32; 2]> = (1..3000).map(|i| [i, (i - 1) / 3]).collect();
        let chain: Vec<[u32; 2]> = (1..700).map(|i| [i, i - 1]).collect();
        let star: Vec<[u32; 2]> = (1..9000).map(|i| [i, 0]).collect();
        let both = |i: u32| [[i, (i * 31) % i], [i, (i * 31 + 1 + i / 3) % i]];
        let mut dag: Vec<[u32; 2]> = (2..600).flat_map(both).collect();
        dag.sort_unstable();
        dag.dedup();
        let many = |to: u32| (0..200).map(move |i| [200 + to, i]);
        let dense: Vec<[u32; 2]> = (0..200).flat_map(many).collect();
        for (name, nodes, edges, levels) in [
            ("tree", 3000, tree, 3),
            ("wide", 3000, wide, 3),
            ("chain", 700, chain, 12),
            ("star", 9000, star, 3),
            ("dag", 600, dag, 24),
            ("dense", 400, dense, 2),
            ("flat", 5, vec![], 0),
        ] {
            let hierarchy = Hierarchy::from_edges(nodes, &edges).unwrap();
            let found = hierarchy.climb().levels().count();
            assert!(found <= levels, "{name}: {found} levels");
            let leaf = |node: &usize| hierarchy.children(*node).is_empty();
            let mut inner: Vec<u32> = Vec::new();
            for (class, seen) in seen(&hierarchy) {
                if class != Climb::NONE {
                    assert_eq!(seen, hierarchy.descendants(class as usize), "{name}");
                    inner.push(class);
                }
            }
            inner.sort_unstable();
            let expected = (0..nodes)
                .filter(|node| !leaf(node))
                .map(|node| node as u32);
            assert_eq!(inner, expected.collect::<Vec<_>>(), "{name}");
            let words = hierarchy.words();
            let bit = |node: usize| (words[node / 32] >> (node % 32)) & 1 == 1;
            assert!((0..nodes).all(|node| bit(node) == leaf(&node)), "{name}");
        }
    }
}
