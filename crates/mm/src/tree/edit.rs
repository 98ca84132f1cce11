//! Insertion and removal: a mutable B+tree whose shared nodes are copied on
//! the way down, so an edit of a private tree is in place.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_units::VpnRange;

use super::node::{Child, FANOUT, Node, Spanned, Tree};

/// Fewer entries than this and a node joins its neighbour.
const LEAST: usize = FANOUT / 3;

impl<T: Spanned> Tree<T> {
    /// Adds a range that overlaps none of the others.
    pub fn insert(&mut self, item: Arc<T>) {
        debug_assert!(!self.overlaps(item.span()), "overlapping insertion");
        let Some(root) = &mut self.root else {
            self.root = Some(Child::new(Node::Leaf(Vec::from([item]))));
            return;
        };
        if let Some(right) = root.insert(item) {
            let left = root.clone();
            self.root = Some(Child::new(Node::Inner(Vec::from([left, right]))));
        }
    }

    /// Takes out the range that starts where `span` starts.
    pub fn remove(&mut self, span: VpnRange) -> Option<Arc<T>> {
        let root = self.root.as_mut()?;
        let taken = root.remove(span);
        // A root with one child is a level too many.
        while let Some(root) = &self.root {
            match &*root.node {
                Node::Leaf(items) if items.is_empty() => self.root = None,
                Node::Inner(children) if children.len() == 1 => self.root = children.first().cloned(),
                Node::Leaf(_) | Node::Inner(_) => break,
            }
        }
        taken
    }

    /// Puts `new` where the ranges `old` were; both may be empty.
    pub fn replace<'a>(
        &mut self,
        old: impl IntoIterator<Item = &'a Arc<T>>,
        new: impl IntoIterator<Item = Arc<T>>,
    ) where
        T: 'a,
    {
        for item in old {
            let taken = self.remove(item.span());
            debug_assert!(
                taken.is_some_and(|taken| Arc::ptr_eq(&taken, item)),
                "replacing a stranger"
            );
        }
        for item in new {
            self.insert(item);
        }
    }
}

impl<T: Spanned> Child<T> {
    /// The new right sibling, if the node had to split.
    fn insert(&mut self, item: Arc<T>) -> Option<Self> {
        let start = item.span().start;
        let right = match Arc::make_mut(&mut self.node) {
            Node::Leaf(items) => {
                let at = items.partition_point(|other| other.span().start < start);
                items.insert(at, item);
                split(items).map(Node::Leaf)
            }
            Node::Inner(children) => {
                let after = children.partition_point(|child| child.summary.hull.start < start);
                let at = after.saturating_sub(1);
                if let Some(new) = children.get_mut(at).and_then(|child| child.insert(item)) {
                    children.insert(at + 1, new);
                }
                split(children).map(Node::Inner)
            }
        };
        self.summary = self.node.summary();
        right.map(Self::new)
    }

    /// May leave the node empty or too small; the parent looks after it.
    fn remove(&mut self, span: VpnRange) -> Option<Arc<T>> {
        let taken = match Arc::make_mut(&mut self.node) {
            Node::Leaf(items) => {
                let at = items
                    .binary_search_by_key(&span.start, |item| item.span().start)
                    .ok()?;
                Some(items.remove(at))
            }
            Node::Inner(children) => {
                let after = children.partition_point(|child| child.summary.hull.start <= span.start);
                let at = after.checked_sub(1)?;
                let taken = children.get_mut(at)?.remove(span);
                join_if_small(children, at);
                taken
            }
        };
        self.summary = self.node.summary();
        taken
    }
}

/// Cuts the upper half off a node that is too full.
fn split<E>(entries: &mut Vec<E>) -> Option<Vec<E>> {
    (entries.len() > FANOUT).then(|| {
        // Ascending insertions, as a loader makes them, leave full nodes behind.
        entries.split_off(entries.len() * 2 / 3)
    })
}

/// Joins a child that became small with a neighbour, or evens the two out.
fn join_if_small<T: Spanned>(children: &mut Vec<Child<T>>, at: usize) {
    if children.len() < 2 || children[at].node.entries() >= LEAST {
        return;
    }
    let left = at.min(children.len() - 2);
    let right = children.remove(left + 1);
    let rest = match (
        Arc::make_mut(&mut children[left].node),
        Arc::unwrap_or_clone(right.node),
    ) {
        (Node::Leaf(items), Node::Leaf(more)) => {
            items.extend(more);
            split(items).map(Node::Leaf)
        }
        (Node::Inner(inner), Node::Inner(more)) => {
            inner.extend(more);
            split(inner).map(Node::Inner)
        }
        // All leaves are at one depth.
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => unreachable!("ragged tree"),
    };
    children[left].summary = children[left].node.summary();
    if let Some(rest) = rest {
        children.insert(left + 1, Child::new(rest));
    }
}
