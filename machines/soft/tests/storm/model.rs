//! What the pages of a region must show.

use std::sync::atomic::{AtomicU64, Ordering};

const FLUX: u64 = 1 << 63;
const READ: u64 = 1 << 62;
const WRITE: u64 = 1 << 61;
const MAPPED: u64 = 1 << 60;
const VALUE: u64 = MAPPED - 1;

/// What a page must show: nothing, or a word and rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expected(u64);

impl Expected {
    pub(crate) const NOTHING: Self = Self(0);

    pub(crate) fn fresh(rights: Rights) -> Self {
        Self(MAPPED).with_rights(rights)
    }

    pub(crate) fn with_rights(self, rights: Rights) -> Self {
        let bits = match rights {
            Rights::None => 0,
            Rights::Read => READ,
            Rights::ReadWrite => READ | WRITE,
        };
        Self(self.0 & !(READ | WRITE) | bits)
    }

    pub(crate) fn with_value(self, value: u64) -> Self {
        Self(self.0 & !VALUE | value & VALUE)
    }

    pub(crate) fn value(self) -> u64 {
        self.0 & VALUE
    }

    pub(crate) fn is_mapped(self) -> bool {
        self.0 & MAPPED != 0
    }

    pub(crate) fn is_readable(self) -> bool {
        self.0 & READ != 0
    }

    pub(crate) fn is_writable(self) -> bool {
        self.0 & WRITE != 0
    }

    /// Whether a read may have ended like this; `None` is a refusal.
    pub(crate) fn allows_read(self, found: Option<u64>) -> bool {
        found == self.is_readable().then(|| self.value())
    }
}

/// Rights that the storm uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rights {
    None,
    Read,
    ReadWrite,
}

/// The pages of one region. Its owner changes it; anybody may look, and knows
/// whether it was changing meanwhile.
#[derive(Debug)]
pub(crate) struct Region(Vec<AtomicU64>);

impl Region {
    pub(crate) fn new(pages: usize) -> Self {
        Self((0..pages).map(|_| AtomicU64::new(0)).collect())
    }

    /// What the page must show, unless that is changing.
    pub(crate) fn look(&self, page: usize) -> Option<Expected> {
        let word = self.0[page].load(Ordering::SeqCst);
        (word & FLUX == 0).then_some(Expected(word))
    }

    /// What the owner knows.
    pub(crate) fn get(&self, page: usize) -> Expected {
        Expected(self.0[page].load(Ordering::SeqCst) & !FLUX)
    }

    pub(crate) fn snapshot(&self) -> Vec<Expected> {
        (0..self.0.len()).map(|page| self.get(page)).collect()
    }

    /// Does `work`, which turns each page of `pages` into what `after` makes of it.
    pub(crate) fn change<R>(
        &self,
        pages: std::ops::Range<usize>,
        after: impl Fn(Expected) -> Expected,
        work: impl FnOnce() -> R,
    ) -> R {
        for page in pages.clone() {
            self.0[page].fetch_or(FLUX, Ordering::SeqCst);
        }
        let result = work();
        for page in pages {
            self.0[page].store(after(self.get(page)).0, Ordering::SeqCst);
        }
        result
    }

    /// The longest part of `pages` from its start on that is mapped.
    pub(crate) fn mapped(&self, pages: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let end = pages
            .clone()
            .find(|&page| !self.get(page).is_mapped())
            .unwrap_or(pages.end);
        pages.start..end
    }
}
