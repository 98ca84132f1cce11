//! How far nodes are from each other.

use super::zones::MAX_NODES;
use crate::boot::NodeId;

/// The distance of every two nodes, as firmware tells it: 10 to itself, 20 to
/// a neighbour unless it says otherwise.
///
/// # Linux source concept
/// `node_distance()`, the SLIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Distances([[u8; MAX_NODES]; MAX_NODES]);

impl Default for Distances {
    fn default() -> Self {
        let mut all = [[20; MAX_NODES]; MAX_NODES];
        for (node, row) in all.iter_mut().enumerate() {
            row[node] = 10;
        }
        Self(all)
    }
}

impl Distances {
    /// The same with another distance between two nodes, both ways.
    pub const fn with(mut self, one: NodeId, other: NodeId, distance: u8) -> Self {
        self.0[one.index() % MAX_NODES][other.index() % MAX_NODES] = distance;
        self.0[other.index() % MAX_NODES][one.index() % MAX_NODES] = distance;
        self
    }

    /// How far it is from one node to another.
    pub const fn get(&self, from: NodeId, to: NodeId) -> u8 {
        self.0[from.index() % MAX_NODES][to.index() % MAX_NODES]
    }

    /// The nodes below `nodes` in the order in which `from` asks them: itself,
    /// then the nearest, and among equals the one that fewer others asked
    /// before, so that not all of them crowd the first.
    pub(crate) fn order(&self, from: NodeId, nodes: usize) -> [NodeId; MAX_NODES] {
        let mut order: [NodeId; MAX_NODES] = core::array::from_fn(|at| NodeId(at as u8));
        order[..nodes.min(MAX_NODES)].sort_by_key(|&node| {
            let round = (node.index() + MAX_NODES - from.index()) % MAX_NODES;
            (node != from, self.get(from, node), round)
        });
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_node_is_asked_first_and_neighbours_share_the_load() {
        let two = Distances::default().with(NodeId(0), NodeId(2), 12);
        assert_eq!(two.order(NodeId(0), 3)[..3], [NodeId(0), NodeId(2), NodeId(1)]);
        assert_eq!(two.order(NodeId(1), 3)[..3], [NodeId(1), NodeId(2), NodeId(0)]);
        assert_eq!(two.order(NodeId(2), 3)[..3], [NodeId(2), NodeId(0), NodeId(1)]);
    }
}
