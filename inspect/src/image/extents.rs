//! Memory that lies in a file as it is.

use foliant_units::PhysAddr;

use super::error::ImageError;

/// A stretch of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RamRange {
    /// First byte.
    pub start: PhysAddr,
    /// Bytes.
    pub len: u64,
}

/// A stretch of memory and where it lies in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    /// Bytes in the file.
    pub(crate) len: u64,
    pub(crate) offset: u64,
}

/// Extents in ascending order, without overlap, each inside the file.
#[derive(Debug)]
pub(crate) struct Extents(Vec<Extent>);

impl Extents {
    /// Sorts and checks.
    pub(crate) fn new(mut all: Vec<Extent>, file: u64) -> Result<Self, ImageError> {
        all.retain(|extent| extent.len != 0);
        all.sort_by_key(|extent| extent.start);
        let mut end = 0;
        for extent in &all {
            let last = extent.start.checked_add(extent.len);
            let stop = extent.offset.checked_add(extent.len);
            let (Some(last), Some(stop)) = (last, stop) else {
                return Err(ImageError::Nonsense("ranges of memory"));
            };
            if extent.start < end {
                return Err(ImageError::Nonsense("ranges of memory"));
            }
            if stop > file {
                return Err(ImageError::Truncated("memory"));
            }
            end = last;
        }
        Ok(Self(all))
    }

    /// Where the `len` bytes at `at` lie in the file, if they lie in one piece.
    #[inline]
    pub(crate) fn find(&self, at: u64, len: u64) -> Option<u64> {
        let index = self.0.partition_point(|extent| extent.start <= at);
        let extent = self.0.get(index.checked_sub(1)?)?;
        let inside = at - extent.start;
        (inside < extent.len && len <= extent.len - inside).then(|| extent.offset + inside)
    }

    /// Where the byte at `at` lies in the file, and how many follow in one piece.
    pub(crate) fn piece(&self, at: u64) -> Option<(u64, u64)> {
        let index = self.0.partition_point(|extent| extent.start <= at);
        let extent = self.0.get(index.checked_sub(1)?)?;
        let inside = at - extent.start;
        (inside < extent.len).then(|| (extent.offset + inside, extent.len - inside))
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = RamRange> {
        self.0.iter().map(|extent| RamRange {
            start: PhysAddr::new(extent.start),
            len: extent.len,
        })
    }
}
