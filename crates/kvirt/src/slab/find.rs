//! The way from an object's address to its slab.

use foliant_phys::{FrameRecord, RecordView};
use foliant_platform::Platform;
use foliant_units::{Order, Pfn};

use super::cache::Cache;
use super::object::{DirectMap, Object};
use super::page::{Frames, Tag};
use super::report::Problem;
use super::shape::Grid;

/// An object's slab, and its number there.
#[derive(Clone, Copy)]
pub(crate) struct Located<'a> {
    pub(crate) head: &'a FrameRecord,
    pub(crate) pfn: Pfn,
    pub(crate) index: u32,
}

/// What a loop over objects needs to find their slabs, as one value: stores into
/// records cannot change it, so it stays in registers.
#[derive(Clone, Copy)]
pub(crate) struct Finder<'a> {
    records: RecordView<'a>,
    /// Where the first frame that has a record there is shown.
    origin: DirectMap,
    order: Order,
    tag: Tag,
    /// With no objects in caches with red zones, whose objects are found the
    /// long way.
    grid: Grid,
}

impl<'a> Finder<'a> {
    /// The slab of an object, as a number of frames behind the first record, and
    /// the object's number; `None` if it is none of this cache's, or lies where
    /// only [`Cache::locate`] looks.
    ///
    /// Only the slab's first frame is looked at. Slabs of a cache are all of one
    /// order and aligned to it, so a frame that is aligned to it and has the
    /// cache's tag is the first of a slab, and the frames behind it are the slab's.
    #[inline(always)]
    pub(crate) fn find(&self, address: usize) -> Option<(&'a FrameRecord, u32)> {
        let (within, offset) = self.origin.place_of(address, self.order);
        let head = self.records.nth(within)?;
        if Tag::of(head) != Some(self.tag) {
            return None;
        }
        Some((head, self.grid.index_of(offset)?))
    }

    /// The slab in which [`find`](Self::find) found this object.
    pub(crate) fn frame(&self, address: usize) -> Pfn {
        let (within, _) = self.origin.place_of(address, self.order);
        self.records.first() + within as u64
    }
}

impl<P: Platform> Cache<P> {
    /// See [`Finder`].
    #[inline]
    pub(crate) fn finder(&self) -> Finder<'_> {
        let (shape, records) = (&self.shape, self.phys.view_records());
        Finder {
            records,
            origin: self.map.from(records.first()),
            order: shape.order,
            tag: self.tag,
            grid: if shape.left == 0 {
                shape.grid
            } else {
                Grid::default()
            },
        }
    }

    /// The slab of an object and its number there; or why it is none of ours.
    pub(crate) fn locate(&self, object: Object) -> Result<Located<'_>, Problem> {
        let (within, offset) = self.map.place_of(object.0.as_ptr().addr(), self.shape.order);
        let pfn = Pfn::new(within as u64);
        let frame = self.map.frame_of(object.0);
        let record = self.phys.peek(frame).ok_or(Problem::NotAnObject)?;
        if Tag::of(record) != Some(self.tag) {
            return Err(Problem::WrongCache(None));
        }
        let head = self.phys.peek(pfn).ok_or(Problem::NotAnObject)?;
        let index = self.shape.index_of(offset).ok_or(Problem::NotAnObject)?;
        Ok(Located { head, pfn, index })
    }
}
