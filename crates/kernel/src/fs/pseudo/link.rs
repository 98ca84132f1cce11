//! Links that the machine makes up.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_uapi::stat::{Mode, Statfs};
use foliant_units::Errno;

use super::Place;
use crate::fs::{Caller, FileRef, FileStat, FileType, Link, Node, OpenHow, pseudo_statfs};

type Target<M> = Box<dyn Fn(Caller) -> Result<Link<M>, Errno> + Send + Sync>;

/// A link whose target is asked for when it is followed.
pub struct PseudoLink<M: Mmu> {
    place: Place,
    target: Target<M>,
}

impl<M: Mmu> PseudoLink<M> {
    /// A link at `place`.
    pub fn new(
        place: Place,
        target: impl Fn(Caller) -> Result<Link<M>, Errno> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            place,
            target: Box::new(target),
        })
    }

    /// A link to a path that never changes.
    pub fn fixed(place: Place, path: &'static [u8]) -> Arc<Self> {
        Self::new(place, move |_| Ok(Link::Text(path.to_vec())))
    }
}

impl<M: Mmu> Node<M> for PseudoLink<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Symlink
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        let stat = self.place.stat(Mode::LINK);
        // Links to descriptors say how they are open, and that they are 64 long.
        let size = if self.place.mode == 0o777 { 0 } else { 64 };
        Ok(FileStat { size, ..stat })
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.place.path.clone())
    }

    fn open(&self, _: OpenHow) -> Result<FileRef<M>, Errno> {
        Err(Errno::LOOP)
    }

    fn link(&self, caller: Caller) -> Result<Link<M>, Errno> {
        (self.target)(caller)
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(self.place.magic))
    }
}
