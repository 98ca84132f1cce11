//! What one share of the addresses knows: what is free, used, and waiting.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use foliant_units::{Vpn, VpnRange};

use super::ranges::FreeRanges;

/// Purged areas that are remembered, so that a late access can be explained.
const REMEMBERED: usize = 16;

/// An area and its pages, the guard included.
#[derive(Debug)]
pub(crate) struct Held<A> {
    pub(crate) pages: VpnRange,
    pub(crate) area: A,
}

/// One share, under its lock.
#[derive(Debug)]
pub(crate) struct Book<A> {
    pub(crate) free: FreeRanges,
    /// Areas in use, by first page.
    busy: BTreeMap<Vpn, Held<A>>,
    /// Areas that are unmapped but not flushed.
    lazy: Vec<Held<A>>,
    lazy_pages: u64,
    /// The last areas that were purged, oldest first.
    gone: VecDeque<Held<A>>,
}

/// In which state an area is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// In use.
    Busy,
    /// Given back, and not flushed yet.
    Unpurged,
    /// Given back and flushed a while ago.
    Gone,
}

impl<A> Book<A> {
    pub(crate) fn new() -> Self {
        Self {
            free: FreeRanges::new(),
            busy: BTreeMap::new(),
            lazy: Vec::new(),
            lazy_pages: 0,
            gone: VecDeque::new(),
        }
    }

    pub(crate) fn insert(&mut self, pages: VpnRange, area: A) {
        self.busy.insert(pages.start, Held { pages, area });
    }

    /// Takes out the area that begins at `start`; its pages stay taken.
    pub(crate) fn remove(&mut self, start: Vpn) -> Option<Held<A>> {
        self.busy.remove(&start)
    }

    pub(crate) fn retire(&mut self, held: Held<A>) {
        self.lazy_pages += held.pages.len();
        self.lazy.push(held);
    }

    pub(crate) fn lazy_pages(&self) -> u64 {
        self.lazy_pages
    }

    /// Takes out all that wait for a flush.
    pub(crate) fn take_lazy(&mut self) -> Vec<Held<A>> {
        self.lazy_pages = 0;
        core::mem::take(&mut self.lazy)
    }

    /// The flush is done: the pages are free.
    pub(crate) fn purged(&mut self, held: Held<A>) {
        self.free.give(held.pages);
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back(held);
    }

    /// The area in use that `page` is in.
    pub(crate) fn at(&self, page: Vpn) -> Option<&Held<A>> {
        let (_, held) = self.busy.range(..=page).next_back()?;
        held.pages.contains(page).then_some(held)
    }

    /// The area that `page` is in, or was in not long ago.
    pub(crate) fn trace(&self, page: Vpn) -> Option<(Found, &Held<A>)> {
        let holds = |held: &&Held<A>| held.pages.contains(page);
        let lazy = || self.lazy.iter().find(holds).map(|held| (Found::Unpurged, held));
        let gone = || self.gone.iter().rev().find(holds).map(|held| (Found::Gone, held));
        self.at(page)
            .map(|held| (Found::Busy, held))
            .or_else(lazy)
            .or_else(gone)
    }

    pub(crate) fn busy(&self) -> impl Iterator<Item = &Held<A>> {
        self.busy.values()
    }

    pub(crate) fn lazy(&self) -> impl Iterator<Item = &Held<A>> {
        self.lazy.iter()
    }

    /// Takes out any area in use.
    pub(crate) fn pop_busy(&mut self) -> Option<Held<A>> {
        self.busy.pop_first().map(|(_, held)| held)
    }
}
