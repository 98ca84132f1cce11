//! Frames of an object: mapped for reading, copied, shared.

use alloc::sync::Arc;

use foliant_platform::Mmu;
use foliant_units::{Vpn, VpnRange};

use super::anonymous;
use super::outcome::{FaultError, Outcome, Weight};
use super::page::{AROUND, Around, Page};
use crate::Object;
use crate::flags::VmFlags;
use crate::object::{FillError, Pages};

impl From<FillError> for FaultError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::NoMemory(_) => FaultError::OutOfMemory,
            FillError::BeyondEnd | FillError::File(_) => FaultError::Bus,
        }
    }
}

/// How a fault on an object went.
type Done = (Outcome, Weight);

/// Maps the object's frame for reading, and those of its neighbours that are
/// in memory.
///
/// # Linux source concept
/// `do_read_fault()`, `filemap_map_pages()`.
pub(super) fn map<P: Mmu>(page: &Page<'_, P>) -> Result<Done, FaultError> {
    let object = object(page)?;
    let layout = object.layout();
    if page.vma.flags.contains(VmFlags::PFNMAP) {
        let (frame, weight) = object.frame(page.index())?;
        return Ok((
            page.publish_special(&frame)?.or_spurious(Outcome::FileRead),
            weight,
        ));
    }
    // Brings the page in, and its neighbours if the file below is at hand.
    let found = object.frame(page.index());

    // Linux maps the neighbours even if the page itself lies past the end.
    let window = window(page);
    let mut around = neighbours(page, object, window);
    let wanted = window_pages(page, object, window);
    // An aligned chunk of the file need not be an aligned window of addresses.
    if (around.len() as u64) < wanted.end - wanted.start && object.is_at_hand() {
        drop(around);
        object.prefetch(wanted.start, wanted.end - wanted.start);
        around = neighbours(page, object, window);
    }
    if around.is_empty() {
        drop(found?);
        return Ok((Outcome::Spurious, Weight::Minor));
    }
    let published = page.publish_object(&mut around, layout, false)?;
    let (_, weight) = found?;
    Ok((published.or_spurious(Outcome::FileRead), weight))
}

/// The object's pages that `window` shows.
fn window_pages<P: Mmu>(page: &Page<'_, P>, object: &Object<P>, window: VpnRange) -> Pages {
    let first = page.vma.pgoff_at(window.start);
    first..(first + window.len()).min(object.pages()).max(first)
}

/// The frames in memory that `window` shows.
fn neighbours<'f, P: Mmu>(page: &Page<'_, P>, object: &'f Object<P>, window: VpnRange) -> Around<'f, P> {
    let pages = window_pages(page, object, window);
    let first = pages.start;
    let mut around = Around::new();
    object.lookup_each(pages, |index, frame| {
        around.add(window.start + (index - first), frame);
    });
    around
}

/// Maps a private copy of the object's frame.
///
/// # Linux source concept
/// `do_cow_fault()`, and `wp_page_copy()` of a file's page.
pub(super) fn copy<P: Mmu>(page: &Page<'_, P>) -> Result<Done, FaultError> {
    let object = object(page)?;
    anonymous::prepare(page);
    let layout = object.layout();
    let (frame, weight) = object.frame(page.index())?;
    let copy = anonymous::copy_of(page, &frame)?;
    drop(frame);
    let published = page.publish_private(copy, Some(layout))?;
    Ok((published.or_spurious(Outcome::FileCopy), weight))
}

/// Maps the object's frame for writing.
///
/// # Linux source concept
/// `do_shared_fault()`.
pub(super) fn share<P: Mmu>(page: &Page<'_, P>) -> Result<Done, FaultError> {
    let object = object(page)?;
    let layout = object.layout();
    let (frame, weight) = object.frame(page.index())?;
    // Before the entry: a store must not come between the two.
    if !object.dirty(page.index(), frame.pfn()) {
        return Ok((Outcome::Spurious, weight));
    }
    let mut around = Around::new();
    around.add(page.vpn, frame);
    let published = page.publish_object(&mut around, layout, true)?;
    Ok((published.or_spurious(Outcome::FileWrite), weight))
}

/// Lets stores pass to the object's frame that is mapped.
///
/// # Linux source concept
/// `wp_page_shared()`.
pub(super) fn make_writable<P: Mmu>(page: &Page<'_, P>) -> Result<Done, FaultError> {
    let object = object(page)?;
    let published = page.make_writable(|frame| object.dirty(page.index(), frame))?;
    Ok((published.or_spurious(Outcome::FileWrite), Weight::Minor))
}

fn object<'f, P: Mmu>(page: &Page<'f, P>) -> Result<&'f Arc<Object<P>>, FaultError> {
    // A mapping without an object is classified otherwise.
    page.vma.object().ok_or(FaultError::Bus)
}

/// The pages that one fault maps: sixteen from an aligned place, or from the
/// start of the mapping if that comes later, inside the mapping and one leaf
/// table.
///
/// # Linux source concept
/// `do_fault_around()`.
fn window<P: Mmu>(page: &Page<'_, P>) -> VpnRange {
    if page.vma.flags.contains(VmFlags::DONTEXPAND) {
        // Special mappings have no `map_pages()`.
        return VpnRange::new(page.vpn, page.vpn + 1);
    }
    let most = AROUND as u64;
    let start = page.vpn.align_down(most).max(page.vma.range.start);
    let table_end = Vpn::new((page.vpn.raw() | 511) + 1);
    let end = (start + most).min(table_end).min(page.vma.range.end);
    VpnRange::new(start, end)
}
