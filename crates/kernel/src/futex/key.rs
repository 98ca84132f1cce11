//! What makes two addresses the same futex.

use alloc::sync::Arc;

use foliant_units::{Errno, PAGE_SHIFT, VirtAddr};

use crate::machine::UserMachine;
use crate::space::Space;

/// A futex: a word of one space, or a word of an object that spaces share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Which space or object. Either lives as long as somebody waits in it.
    owner: usize,
    /// Which byte of it.
    offset: u64,
}

/// Whether a futex may be shared with other spaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// The caller says that it is not (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// What is mapped there decides.
    Shared,
}

impl Key {
    /// The futex at `at`.
    ///
    /// # Errors
    /// `INVAL` if `at` is not a multiple of four; `FAULT` if nothing is mapped there.
    pub(crate) fn at<M: UserMachine>(
        space: &Arc<Space<M>>,
        at: VirtAddr,
        sharing: Sharing,
    ) -> Result<Self, Errno> {
        if !at.is_aligned_to(4) {
            return Err(Errno::INVAL);
        }
        let private = Self {
            owner: Arc::as_ptr(space) as *const () as usize,
            offset: at.raw(),
        };
        match sharing {
            Sharing::Private => Ok(private),
            Sharing::Shared => Ok(shared(space, at)?.unwrap_or(private)),
        }
    }

    /// A number to spread keys by.
    pub(super) fn hash(self) -> usize {
        let mixed = (self.owner as u64 ^ self.offset.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as usize
    }
}

/// The key of a word in an object that is mapped shared; `None` for private memory.
fn shared<M: UserMachine>(space: &Arc<Space<M>>, at: VirtAddr) -> Result<Option<Key>, Errno> {
    let vma = space.map().find(at.page()).ok_or(Errno::FAULT)?;
    let Some(object) = vma.object().filter(|_| vma.is_shared()) else {
        return Ok(None);
    };
    let page = vma.pgoff + (at.page() - vma.range.start);
    let owner = Arc::as_ptr(object) as *const () as usize;
    Ok(Some(Key {
        owner,
        offset: page << PAGE_SHIFT | at.offset() as u64,
    }))
}
