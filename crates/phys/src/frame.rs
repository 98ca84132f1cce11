//! A counted reference to a folio.

use core::fmt;

use foliant_platform::Platform;
use foliant_units::{Order, Pfn};

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
