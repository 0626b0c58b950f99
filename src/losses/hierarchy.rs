//! Hierarchies of classes, validated once on the host.
//!
//! [`Hierarchy`] is a directed acyclic graph: any node may have several parents. It is what the constraint module
//! ([`Mcm`](crate::Mcm)) needs. [`Levels`] has a class of every level for each sample and one parent for each class,
//! which is what [`Hcal`](crate::Hcal) needs; [`Hierarchy::from_levels`] makes the one of the other.
//!
//! Nodes are numbered, and errors name them by number. Building takes time and memory in proportion to nodes, edges and
//! pairs of a node and a descendant of it: WordNet's nouns (82,192 nodes, 84,505 edges, 20 deep) have 825,938 of them.

use crate::error::{Error, ErrorKind};

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
}

/// Lists of nodes, one for each node, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lists {
    offsets: Vec<u32>,
    nodes: Vec<u32>,
}

impl Lists {
    /// The lists of `second` by `first`, of pairs that come in ascending order of `second`.
    fn group(nodes: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Lists {
        let mut offsets = vec![0_u32; nodes + 1];
        let mut count = 0;
        for (first, _) in pairs.clone() {
            offsets[first as usize + 1] += 1;
            count += 1;
        }
        for i in 0..nodes {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut lists = vec![0; count];
        for (first, second) in pairs {
            lists[next[first as usize] as usize] = second;
            next[first as usize] += 1;
        }
        Lists {
            offsets,
            nodes: lists,
        }
    }

    /// The same pairs the other way round.
    fn transposed(&self) -> Lists {
        let pairs = (0..self.len()).flat_map(|i| self.of(i).iter().map(move |&j| (j, i as u32)));
        Lists::group(self.len(), pairs)
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn of(&self, node: usize) -> &[u32] {
        match (self.offsets.get(node), self.offsets.get(node + 1)) {
            (Some(&from), Some(&to)) => &self.nodes[from as usize..to as usize],
            _ => &[],
        }
    }
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
        let descendants = ancestors.transposed();
        Ok(Hierarchy {
            parents,
            children,
            descendants,
            ancestors,
            order,
            depth,
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

    /// What the kernels read, to be uploaded once to a u32 buffer of [`Hierarchy::words_len`] words: descendants and
    /// ancestors as offsets and lists, and the nodes with many descendants.
    pub fn words(&self) -> Vec<u32> {
        let mut words = Vec::with_capacity(self.words_len());
        words.extend(&self.descendants.offsets);
        words.extend(&self.ancestors.offsets);
        words.extend(&self.descendants.nodes);
        words.extend(&self.ancestors.nodes);
        words.extend(self.large());
        words
    }

    /// Length of [`Hierarchy::words`].
    pub fn words_len(&self) -> usize {
        2 * (self.nodes() + 1 + self.pairs()) + self.large().count()
    }

    /// The nodes whose descendants a workgroup goes through together.
    pub(crate) fn large(&self) -> impl Iterator<Item = u32> + '_ {
        let many = |node: &u32| self.descendants.of(*node as usize).len() > SMALL as usize;
        (0..self.nodes() as u32).filter(many)
    }
}

/// Most descendants that one lane goes through alone.
pub(crate) const SMALL: u32 = 64;

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

/// Of every node itself and all that its parents lead to.
fn closure(parents: &Lists) -> Result<Lists, Error> {
    let nodes = parents.len();
    let mut offsets = vec![0];
    let mut all: Vec<u32> = Vec::new();
    let mut met = vec![u32::MAX; nodes];
    for node in 0..nodes as u32 {
        let begin = all.len();
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

    /// What the kernels read, to be uploaded once to a u32 buffer of [`Levels::words_len`] words: the parents of all
    /// levels but the last, one after the other.
    pub fn words(&self) -> Vec<u32> {
        self.parents.concat()
    }

    /// Length of [`Levels::words`].
    pub fn words_len(&self) -> usize {
        self.parents.iter().map(Vec::len).sum()
    }

    /// Checks one label of each sample and level, `labels[k * samples + i]`, [`Levels::NONE`] where there is none: that
    /// it is in range, and with `paths` that it is the parent of the one below.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] names level, sample and label.
    pub fn check_labels(&self, samples: usize, labels: &[u32], paths: bool) -> Result<(), Error> {
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
                let name = format!("labels_{}", k + 1);
                if label as usize >= self.classes[k] {
                    return Err(Error::value(
                        name,
                        format!("classes below {}, or -1", self.classes[k]),
                        format!("{} of sample {i}", label.cast_signed()),
                    ));
                }
                let below = match k {
                    0 => Levels::NONE,
                    _ => labels[(k - 1) * samples + i],
                };
                let checked = paths && below != Levels::NONE;
                if checked && self.parents[k - 1][below as usize] != label {
                    return Err(Error::value(
                        name,
                        format!(
                            "{}, the parent of class {below} that the sample has at level {k}",
                            self.parents[k - 1][below as usize]
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
