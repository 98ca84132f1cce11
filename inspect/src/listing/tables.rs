//! Which tables are meant.

use foliant_arch::EntryMemory;
use foliant_arch::arm64::Half;

use crate::image::Image;
use crate::root::Root;

/// Tables that may be met again even in a small memory.
const FEW: u64 = 512;

/// Tables, and the memory that they lie in: an image, or that of a machine.
pub struct Tables<'a, M> {
    pub(super) memory: &'a M,
    pub(super) root: Root,
    pub(super) half: Half,
    /// Tables read at most: each is a frame, and few are met twice.
    pub(super) most: u64,
}

impl<'a, M: EntryMemory> Tables<'a, M> {
    /// The tables at `root` in a memory of `frames` frames. On arm64 `half` says
    /// under which of its roots they are.
    pub fn new(memory: &'a M, frames: u64, root: Root, half: Half) -> Self {
        Self {
            memory,
            root,
            half,
            most: frames.saturating_add(FEW),
        }
    }
}

impl<'a> Tables<'a, Image> {
    /// Tables in an image.
    pub fn in_image(image: &'a Image, root: Root, half: Half) -> Self {
        Self::new(image, image.frames(), root, half)
    }
}
