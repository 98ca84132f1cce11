//! Nodes and lookups.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use foliant_units::{Vpn, VpnRange};

/// Something that covers a range of pages.
pub trait Spanned {
    /// The pages, at least one.
    fn span(&self) -> VpnRange;
}

/// Entries per node. Sixteen pointers are two cache lines, and a path copy
/// then touches little more than what it changes.
pub(super) const FANOUT: usize = 16;

/// A persistent B+tree of shared ranges; see the [module](super).
///
/// # Linux source concept
/// The maple tree of an `mm_struct`. Differs: copied on write as a whole path,
/// so that a snapshot is a value.
pub struct Tree<T> {
    pub(super) root: Option<Child<T>>,
}

/// A subtree with what a search must know before it goes there.
pub(super) struct Child<T> {
    pub(super) node: Arc<Node<T>>,
    pub(super) summary: Summary,
}

/// What a subtree holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Summary {
    /// First page of the first range to last page of the last one.
    pub(super) hull: VpnRange,
    /// Pages in the largest gap between two of its ranges.
    pub(super) widest: u64,
    /// Ranges in it.
    pub(super) len: usize,
}

pub(super) enum Node<T> {
    Leaf(Vec<Arc<T>>),
    Inner(Vec<Child<T>>),
}

impl<T: Spanned> Tree<T> {
    /// The empty set.
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.summary.len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The range that contains `vpn`.
    pub fn get(&self, vpn: Vpn) -> Option<&Arc<T>> {
        self.at_or_above(vpn).filter(|found| found.span().contains(vpn))
    }

    /// The first range that ends above `vpn`: it contains `vpn` or is the next one.
    pub fn at_or_above(&self, vpn: Vpn) -> Option<&Arc<T>> {
        let mut child = self.root.as_ref()?;
        loop {
            match &*child.node {
                Node::Leaf(items) => {
                    return items.get(items.partition_point(|item| item.span().end <= vpn));
                }
                Node::Inner(children) => {
                    child = children.get(children.partition_point(|child| child.summary.hull.end <= vpn))?;
                }
            }
        }
    }

    /// The last range that starts below `vpn`.
    pub fn below(&self, vpn: Vpn) -> Option<&Arc<T>> {
        let mut child = self.root.as_ref()?;
        loop {
            match &*child.node {
                Node::Leaf(items) => {
                    let after = items.partition_point(|item| item.span().start < vpn);
                    return items.get(after.checked_sub(1)?);
                }
                Node::Inner(children) => {
                    let after = children.partition_point(|child| child.summary.hull.start < vpn);
                    child = children.get(after.checked_sub(1)?)?;
                }
            }
        }
    }

    /// Whether a range shares a page with `range`.
    pub fn overlaps(&self, range: VpnRange) -> bool {
        self.at_or_above(range.start)
            .is_some_and(|found| found.span().overlaps(range))
    }
}

impl<T> Child<T> {
    /// A subtree of `node`, which is not empty.
    pub(super) fn new(node: Node<T>) -> Self
    where
        T: Spanned,
    {
        Self {
            summary: node.summary(),
            node: Arc::new(node),
        }
    }
}

impl<T: Spanned> Node<T> {
    /// Computed from the entries alone.
    pub(super) fn summary(&self) -> Summary {
        match self {
            Node::Leaf(items) => Summary::over(items.iter().map(|item| Summary::of(item.span()))),
            Node::Inner(children) => Summary::over(children.iter().map(|child| child.summary)),
        }
    }
}

impl<T> Node<T> {
    /// Entries, of whatever kind.
    pub(super) fn entries(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }
}

impl Summary {
    const fn of(span: VpnRange) -> Self {
        Self {
            hull: span,
            widest: 0,
            len: 1,
        }
    }

    /// Of neighbours in order. An empty node has an empty hull at zero; it
    /// exists only inside an edit.
    fn over(parts: impl Iterator<Item = Self>) -> Self {
        let joined = parts.reduce(|left, right| Self {
            hull: VpnRange::new(left.hull.start, right.hull.end),
            widest: left
                .widest
                .max(right.widest)
                .max(right.hull.start - left.hull.end),
            len: left.len + right.len,
        });
        joined.unwrap_or(Self {
            hull: VpnRange::default(),
            widest: 0,
            len: 0,
        })
    }
}

impl<T> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl<T> Clone for Child<T> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            summary: self.summary,
        }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(items) => Node::Leaf(items.clone()),
            Node::Inner(children) => Node::Inner(children.clone()),
        }
    }
}

impl<T: Spanned> Default for Tree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Spanned + fmt::Debug> fmt::Debug for Tree<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
