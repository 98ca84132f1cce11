//! Against a sorted list.

use alloc::sync::Arc;
use std::collections::BTreeMap;
use std::prelude::v1::*;

use foliant_units::{Vpn, VpnRange};

use super::node::{Child, FANOUT, Node};
use super::{Direction, GapRequest, Spanned, Tree};

impl Spanned for VpnRange {
    fn span(&self) -> VpnRange {
        *self
    }
}

fn pages(start: u64, end: u64) -> VpnRange {
    VpnRange::new(Vpn::new(start), Vpn::new(end))
}

/// A small generator, so that a failure names its seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Summaries fit, nodes are not too full, leaves are at one depth.
fn audit(tree: &Tree<VpnRange>) {
    fn depth(child: &Child<VpnRange>) -> usize {
        assert_eq!(child.summary, child.node.summary(), "stale summary");
        assert!((1..=FANOUT).contains(&child.node.entries()));
        match &*child.node {
            Node::Leaf(_) => 0,
            Node::Inner(children) => {
                let depths: Vec<_> = children.iter().map(depth).collect();
                assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "ragged");
                depths[0] + 1
            }
        }
    }
    if let Some(root) = &tree.root {
        depth(root);
    }
    let spans: Vec<_> = tree.iter().map(|item| **item).collect();
    assert_eq!(spans.len(), tree.len());
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

fn naive_gap(model: &BTreeMap<u64, u64>, request: GapRequest) -> Option<VpnRange> {
    let mut gaps = Vec::new();
    let mut from = 0;
    for (&start, &end) in model {
        gaps.push(pages(from, start));
        from = end;
    }
    gaps.push(pages(from, u64::MAX));
    let mut fitting = gaps
        .into_iter()
        .map(|gap| gap.intersect(request.limits))
        .filter(|gap| gap.len() >= request.pages);
    match request.direction {
        Direction::BottomUp => fitting.next(),
        Direction::TopDown => fitting.next_back(),
    }
}

#[test]
fn behaves_like_a_sorted_list() {
    for seed in 1..=20 {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
        let mut tree = Tree::new();
        let mut model = BTreeMap::new();
        for step in 0..1500 {
            let start = rng.below(4000);
            let range = pages(start, start + 1 + rng.below(9));
            let grows = (step / 300) % 2 == 0;
            if rng.below(10) < if grows { 8 } else { 3 } {
                let clash = model
                    .range(..range.end.raw())
                    .next_back()
                    .is_some_and(|(_, &end)| end > start);
                assert_eq!(tree.overlaps(range), clash);
                if !clash {
                    tree.insert(Arc::new(range));
                    model.insert(start, range.end.raw());
                }
            } else if let Some(found) = tree.at_or_above(range.start).cloned() {
                assert!(tree.remove(*found).is_some_and(|taken| *taken == *found));
                assert_eq!(model.remove(&found.start.raw()), Some(found.end.raw()));
            }
            let probe = rng.below(4010);
            let above = model
                .iter()
                .map(|(&s, &e)| pages(s, e))
                .find(|r| r.end.raw() > probe);
            assert_eq!(tree.at_or_above(Vpn::new(probe)).map(|r| **r), above);
            let below = model.range(..probe).next_back().map(|(&s, &e)| pages(s, e));
            assert_eq!(tree.below(Vpn::new(probe)).map(|r| **r), below);
            for direction in [Direction::TopDown, Direction::BottomUp] {
                let low = rng.below(4000);
                let request = GapRequest {
                    pages: 1 + rng.below(60),
                    limits: pages(low, low + rng.below(4000)),
                    direction,
                };
                assert_eq!(tree.find_gap(request), naive_gap(&model, request), "{request:?}");
            }
            if step % 50 == 0 {
                audit(&tree);
                let from = Vpn::new(probe);
                assert!(
                    tree.iter_from(from)
                        .map(|r| **r)
                        .eq(model.iter().map(|(&s, &e)| pages(s, e)).filter(|r| r.end > from))
                );
            }
        }
    }
}

#[test]
fn a_snapshot_keeps_what_it_saw() {
    let mut tree = Tree::new();
    for at in 0..200 {
        tree.insert(Arc::new(pages(at * 2, at * 2 + 1)));
    }
    let before = tree.clone();
    for at in (0..200).step_by(2) {
        tree.remove(pages(at * 2, at * 2 + 1));
    }
    assert_eq!((before.len(), tree.len()), (200, 100));
    audit(&before);
    audit(&tree);
}

#[test]
fn emptied_trees_hold_nothing() {
    let mut tree = Tree::new();
    for at in 0..1000 {
        tree.insert(Arc::new(pages(at, at + 1)));
    }
    for at in 0..1000 {
        assert!(tree.remove(pages(at, at + 1)).is_some());
    }
    assert!(tree.is_empty() && tree.iter().next().is_none());
}
