//! Search for free space.

use foliant_units::{Vpn, VpnRange};

use super::node::{Child, Node, Spanned, Tree};

/// From which end the search starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The highest gap that fits.
    TopDown,
    /// The lowest gap that fits.
    BottomUp,
}

/// A search for free pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GapRequest {
    /// Pages needed, at least one.
    pub pages: u64,
    /// Where they may lie.
    pub limits: VpnRange,
    /// Which of several gaps is taken.
    pub direction: Direction,
}

impl<T: Spanned> Tree<T> {
    /// The first gap, in the direction of the request, that has the pages; all
    /// of the gap as far as it lies inside the limits.
    pub fn find_gap(&self, request: GapRequest) -> Option<VpnRange> {
        let limits = request.limits;
        if request.pages == 0 || limits.len() < request.pages {
            return None;
        }
        let mut search = Search {
            pages: request.pages,
            limits,
            edge: match request.direction {
                Direction::TopDown => limits.end,
                Direction::BottomUp => limits.start,
            },
        };
        let inside = self.root.as_ref().and_then(|root| match request.direction {
            Direction::TopDown => search.down(root),
            Direction::BottomUp => search.up(root),
        });
        // What is left beyond the outermost range.
        inside.or_else(|| match request.direction {
            Direction::TopDown => search.fit(limits.start, search.edge),
            Direction::BottomUp => search.fit(search.edge, limits.end),
        })
    }
}

struct Search {
    pages: u64,
    limits: VpnRange,
    /// Where the next gap begins in the direction of the search: everything
    /// before it is looked at.
    edge: Vpn,
}

impl Search {
    fn fit(&self, start: Vpn, end: Vpn) -> Option<VpnRange> {
        let gap = VpnRange::new(start, end).intersect(self.limits);
        (gap.len() >= self.pages).then_some(gap)
    }

    fn down<T: Spanned>(&mut self, child: &Child<T>) -> Option<VpnRange> {
        let summary = child.summary;
        if let Some(gap) = self.fit(summary.hull.end, self.edge) {
            return Some(gap);
        }
        let beyond = summary.hull.start >= self.limits.end || summary.hull.end <= self.limits.start;
        if summary.widest >= self.pages && !beyond {
            let found = match &*child.node {
                Node::Leaf(items) => items.iter().rev().find_map(|item| {
                    let span = item.span();
                    let found = self.fit(span.end, self.edge);
                    self.edge = span.start;
                    found
                }),
                Node::Inner(children) => children.iter().rev().find_map(|child| self.down(child)),
            };
            if found.is_some() {
                return found;
            }
        }
        self.edge = summary.hull.start;
        None
    }

    fn up<T: Spanned>(&mut self, child: &Child<T>) -> Option<VpnRange> {
        let summary = child.summary;
        if let Some(gap) = self.fit(self.edge, summary.hull.start) {
            return Some(gap);
        }
        let beyond = summary.hull.start >= self.limits.end || summary.hull.end <= self.limits.start;
        if summary.widest >= self.pages && !beyond {
            let found = match &*child.node {
                Node::Leaf(items) => items.iter().find_map(|item| {
                    let span = item.span();
                    let found = self.fit(self.edge, span.start);
                    self.edge = span.end;
                    found
                }),
                Node::Inner(children) => children.iter().find_map(|child| self.up(child)),
            };
            if found.is_some() {
                return found;
            }
        }
        self.edge = summary.hull.end;
        None
    }
}
