//! A counted reference to a folio.

use core::fmt;

use foliant_platform::Platform;
use foliant_units::{Order, PAGE_SIZE, Pfn};

use crate::content::Content;
use crate::phys::Phys;
use crate::record::FrameRecord;

/// One reference to a folio, by its first frame. Dropping it puts the
/// reference, and the last one frees the folio.
///
/// A slot of a page table holds a reference as a bare number:
/// [`into_pfn`](Frame::into_pfn) hands it over, [`Phys::adopt`] takes it back.
#[must_use = "dropping the frame puts its reference"]
pub struct Frame<'a, P: Platform> {
    phys: &'a Phys<P>,
    pfn: Pfn,
}

impl<'a, P: Platform> Frame<'a, P> {
    /// Takes over a reference that exists.
    #[inline]
    pub(crate) fn new(phys: &'a Phys<P>, pfn: Pfn) -> Self {
        Self { phys, pfn }
    }

    /// The first frame of the folio.
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// How many frames the folio has, as a power of two.
    pub fn order(&self) -> Order {
        self.record().order()
    }

    /// What is known about the first frame.
    pub fn record(&self) -> &'a FrameRecord {
        self.phys.record(self.pfn)
    }

    /// The bytes of the first frame.
    pub fn content(&self) -> Content<'a> {
        self.phys.content(self.pfn)
    }

    /// The bytes of the frame `at` frames into the folio.
    pub fn content_at(&self, at: u64) -> Content<'a> {
        debug_assert!(at < self.order().frames(), "frame {at} of {self:?}");
        self.phys.content(self.pfn + at)
    }

    /// The allocator that the folio is from.
    pub fn phys(&self) -> &'a Phys<P> {
        self.phys
    }

    /// Puts the reference to a frame whose bytes are all zero: a page table that
    /// was emptied entry by entry, say. Who asks for zeroes next need not clear it.
    ///
    /// # Linux source concept
    /// None: Linux clears page tables when it allocates them.
    pub fn put_zeroed(self) {
        debug_assert!(
            self.content().is_filled(0, PAGE_SIZE, 0),
            "{self:?} is not all zero"
        );
        if self.order() == Order::ZERO {
            self.phys.put_zeroed(self.into_pfn());
        }
    }

    /// Hands the reference to the caller, who puts it with [`Phys::adopt`].
    #[inline]
    pub fn into_pfn(self) -> Pfn {
        let pfn = self.pfn;
        core::mem::forget(self);
        pfn
    }
}

impl<P: Platform> Clone for Frame<'_, P> {
    fn clone(&self) -> Self {
        self.record().refs.get_another();
        Self {
            phys: self.phys,
            pfn: self.pfn,
        }
    }
}

impl<P: Platform> Drop for Frame<'_, P> {
    // So that what is called has the number, not the place of a frame.
    #[inline(always)]
    fn drop(&mut self) {
        self.phys.put(self.pfn);
    }
}

impl<P: Platform> PartialEq for Frame<'_, P> {
    fn eq(&self, other: &Self) -> bool {
        self.pfn == other.pfn
    }
}

impl<P: Platform> Eq for Frame<'_, P> {}

impl<P: Platform> fmt::Debug for Frame<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.pfn, self.order())
    }
}
