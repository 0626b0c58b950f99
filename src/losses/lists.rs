//! Lists of nodes.

/// Lists of nodes, one for each node, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) offsets: Vec<u32>,
    pub(crate) nodes: Vec<u32>,
}

impl Lists {
    /// The lists of `second` by `first`, of pairs that come in ascending order of `second`.
    pub(crate) fn group(nodes: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Lists {
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
    pub(crate) fn transposed(&self) -> Lists {
        let pairs = (0..self.len()).flat_map(|i| self.of(i).iter().map(move |&j| (j, i as u32)));
        Lists::group(self.len(), pairs)
    }

    /// Lists.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The list of a node; of one that is not there: nothing.
    pub(crate) fn of(&self, node: usize) -> &[u32] {
        match (self.offsets.get(node), self.offsets.get(node + 1)) {
            (Some(&from), Some(&to)) => &self.nodes[from as usize..to as usize],
            _ => &[],
        }
    }
}
