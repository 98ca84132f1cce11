//! Private memory: zeroes, and copies of what others hold too.

use foliant_phys::{AllocRequest, Frame, FrameFlags, Owner};
use foliant_platform::Mmu;

use super::outcome::{FaultError, Outcome};
use super::page::{Page, Published};
use super::{exclusive, large};
use crate::anon;

impl From<foliant_phys::AllocError> for FaultError {
    fn from(_: foliant_phys::AllocError) -> Self {
        FaultError::OutOfMemory
    }
}

/// Maps the frame of zeroes for reading.
pub(super) fn zero_page<P: Mmu>(page: &Page<'_, P>) -> Result<Outcome, FaultError> {
    Ok(page.publish_zero()?.or_spurious(Outcome::ZeroPage))
}

/// Maps a fresh frame of zeroes, or a block of them.
///
/// # Linux source concept
/// `do_anonymous_page()`.
pub(super) fn fill_zero<P: Mmu>(page: &Page<'_, P>) -> Result<Outcome, FaultError> {
    prepare(page);
    if let Some(block) = large::alloc(page) {
        return Ok(page.publish_block(block)?.or_spurious(Outcome::Anonymous));
    }
    let request = AllocRequest::movable(Owner::Anonymous).zeroed();
    let frame = page.space.env().phys().alloc(request)?;
    Ok(page.publish_private(frame, None)?.or_spurious(Outcome::Anonymous))
}

/// Lets stores pass to a frame that belongs to this mapping alone.
pub(super) fn reuse<P: Mmu>(page: &Page<'_, P>) -> Result<Outcome, FaultError> {
    let phys = page.space.env().phys();
    // Asked again under the lock: a fork may have shared the frame meanwhile.
    let published = page.make_writable(|frame| phys.record(frame).has(FrameFlags::ANON_EXCLUSIVE))?;
    Ok(published.or_spurious(Outcome::Reused))
}

/// Reuses a frame that others held too, if they are gone, or else copies it.
///
/// # Linux source concept
/// `do_wp_page()`, `wp_can_reuse_anon_folio()`, `wp_page_copy()`.
pub(super) fn break_cow<P: Mmu>(page: &Page<'_, P>) -> Result<Outcome, FaultError> {
    let phys = page.space.env().phys();
    let claimed = page.make_writable(|frame| {
        // With the table locked, a single reference is the entry's own, and
        // nobody can get another.
        exclusive::claim(phys.record(frame), 1)
    })?;
    if claimed == Published::Done {
        return Ok(Outcome::Reused);
    }

    prepare(page);
    let Some(old) = page.frame()? else {
        return Ok(Outcome::Spurious);
    };
    let copy = copy_of(page, &old)?;
    drop(old);
    Ok(page
        .publish_private(copy, None)?
        .or_spurious(Outcome::CopyOnWrite))
}

/// A private frame with the bytes of `frame`.
pub(super) fn copy_of<'f, P: Mmu>(
    page: &Page<'f, P>,
    frame: &Frame<'_, P>,
) -> Result<Frame<'f, P>, FaultError> {
    let phys = page.space.env().phys();
    let copy = phys.alloc(AllocRequest::movable(Owner::Anonymous))?;
    phys.content(copy.pfn()).copy_from(phys.content(frame.pfn()));
    Ok(copy)
}

/// Gives the VMA its family before its first private frame.
pub(super) fn prepare<P: Mmu>(page: &Page<'_, P>) {
    if page.vma.family().is_none() {
        let tree = page.space.map().snapshot();
        anon::prepare(&tree, page.vma);
    }
}
