//! Contiguous frames of any number.

use core::fmt;

use foliant_platform::Platform;
use foliant_units::{Order, Pfn, PfnRange};

use super::request::{AllocError, AllocRequest};
use crate::frame::Frame;
use crate::phys::Phys;

/// Contiguous single frames with one reference each, put together when dropped.
pub struct Run<'a, P: Platform> {
    phys: &'a Phys<P>,
    frames: PfnRange,
}

impl<'a, P: Platform> Run<'a, P> {
    /// Takes over one reference to each of `frames`.
    pub(crate) fn new(phys: &'a Phys<P>, frames: PfnRange) -> Self {
        Self { phys, frames }
    }
    /// Which frames.
    pub fn frames(&self) -> PfnRange {
        self.frames
    }

    /// Hands the references to the caller, one for each frame.
    pub fn into_frames(self) -> PfnRange {
        let frames = self.frames;
        core::mem::forget(self);
        frames
    }
}

impl<P: Platform> Drop for Run<'_, P> {
    fn drop(&mut self) {
        for pfn in self.frames.iter() {
            self.phys.put(pfn);
        }
    }
}

impl<P: Platform> fmt::Debug for Run<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {:?}", self.frames)
    }
}

impl<P: Platform> Phys<P> {
    /// Allocates exactly `count` contiguous frames, each counted on its own;
    /// the order of `request` is ignored.
    ///
    /// # Errors
    /// As [`alloc`](Phys::alloc); also when `count` is zero or more than a
    /// folio of the largest order has.
    ///
    /// # Linux source concept
    /// `alloc_pages_exact()`.
    pub fn alloc_exact(&self, request: AllocRequest, count: u64) -> Result<Run<'_, P>, AllocError> {
        let order = Order::covering(count)
            .filter(|_| count > 0)
            .ok_or(AllocError::OutOfMemory)?;
        let pfn = self.alloc(request.order(order))?.split().start;
        for surplus in count..order.frames() {
            self.put(pfn + surplus);
        }
        Ok(Run {
            phys: self,
            frames: PfnRange::new(pfn, pfn + count),
        })
    }
}

impl<P: Platform> Frame<'_, P> {
    /// Cuts the folio into single frames with one reference each, which the
    /// caller then owns (see [`Phys::adopt`]). The folio must have no other
    /// reference.
    ///
    /// # Linux source concept
    /// `split_page()`.
    pub fn split(self) -> PfnRange {
        let (phys, order) = (self.phys(), self.order());
        let owner = self.record().owner();
        let first: Pfn = self.into_pfn();
        debug_assert_eq!(phys.record(first).refs.get(), 1, "{first:?} is shared");
        phys.record(first).set_order(Order::ZERO);
        for at in 1..order.frames() {
            phys.record(first + at).begin(Order::ZERO, owner);
        }
        phys.split_charge(first, order);
        phys.note_split(first, order);
        PfnRange::new(first, first + order.frames())
    }
}
