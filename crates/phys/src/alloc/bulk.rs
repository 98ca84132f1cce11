//! Many folios at once.

use foliant_platform::Platform;

use super::request::{AllocError, AllocRequest};
use crate::frame::Frame;
use crate::phys::Phys;

impl<P: Platform> Phys<P> {
    /// Allocates up to `count` folios and hands each to `each`; returns how
    /// many it got. Consecutive single frames tend to be neighbours.
    ///
    /// # Errors
    /// Why it stopped, if it got none at all.
    ///
    /// # Linux source concept
    /// `alloc_pages_bulk()`.
    pub fn alloc_bulk<'a>(
        &'a self,
        request: AllocRequest,
        count: usize,
        mut each: impl FnMut(Frame<'a, P>),
    ) -> Result<usize, AllocError> {
        for got in 0..count {
            match self.alloc(request) {
                Ok(frame) => each(frame),
                Err(error) if got == 0 => return Err(error),
                Err(_) => return Ok(got),
            }
        }
        Ok(count)
    }
}
