//! Walks in ascending order.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_units::{Vpn, VpnRange};

use super::node::{Child, Node, Spanned, Tree};

/// The ranges of a tree in ascending order.
pub struct Iter<'a, T> {
    path: Vec<&'a [Child<T>]>,
    leaf: &'a [Arc<T>],
}

impl<T: Spanned> Tree<T> {
    /// All ranges.
    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(Vpn::ZERO)
    }

    /// The ranges that end above `from`.
    pub fn iter_from(&self, from: Vpn) -> Iter<'_, T> {
        let mut iter = Iter {
            path: Vec::new(),
            leaf: &[],
        };
        if let Some(root) = &self.root {
            iter.descend(&root.node, from);
        }
        iter
    }

    /// The ranges that share a page with `range`.
    pub fn overlapping(&self, range: VpnRange) -> impl Iterator<Item = &Arc<T>> {
        self.iter_from(range.start)
            .take_while(move |item| item.span().start < range.end)
    }
}

impl<'a, T: Spanned> Iter<'a, T> {
    fn descend(&mut self, mut node: &'a Node<T>, from: Vpn) {
        loop {
            match node {
                Node::Leaf(items) => {
                    let at = items.partition_point(|item| item.span().end <= from);
                    self.leaf = &items[at..];
                    return;
                }
                Node::Inner(children) => {
                    let at = children.partition_point(|child| child.summary.hull.end <= from);
                    let Some((first, rest)) = children[at..].split_first() else {
                        return;
                    };
                    self.path.push(rest);
                    node = &first.node;
                }
            }
        }
    }
}

impl<'a, T: Spanned> Iterator for Iter<'a, T> {
    type Item = &'a Arc<T>;

    fn next(&mut self) -> Option<&'a Arc<T>> {
        loop {
            if let Some((first, rest)) = self.leaf.split_first() {
                self.leaf = rest;
                return Some(first);
            }
            let siblings = self.path.pop()?;
            if let Some((next, rest)) = siblings.split_first() {
                self.path.push(rest);
                self.descend(&next.node, Vpn::ZERO);
            }
        }
    }
}

impl<'a, T: Spanned> IntoIterator for &'a Tree<T> {
    type Item = &'a Arc<T>;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
