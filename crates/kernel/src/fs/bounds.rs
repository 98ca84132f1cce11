//! What a walk along a path may not do, as `openat2` asks for.

use foliant_platform::Mmu;
use foliant_uapi::open::ResolveFlags;
use foliant_units::Errno;

use super::node::NodeRef;
use super::walk::{Walk, same};

impl<M: Mmu> Walk<M> {
    /// Keeps a walk within bounds from now on.
    pub fn bound(&mut self, bounds: ResolveFlags) {
        self.bounds = bounds;
        if bounds.contains(ResolveFlags::IN_ROOT) {
            self.root = self.start.clone();
            self.chrooted = true;
        }
    }

    /// A child that the walk may go to.
    pub(super) fn child(&self, dir: &NodeRef<M>, name: &[u8]) -> Result<NodeRef<M>, Errno> {
        let node = dir.lookup(name, self.caller)?;
        self.may_cross(dir, &node)?;
        Ok(node)
    }

    /// A child that is opened without being looked up first.
    pub(super) fn may_open_child(&self, dir: &NodeRef<M>, name: &[u8]) -> Result<(), Errno> {
        if !self.bounds.contains(ResolveFlags::NO_XDEV) {
            return Ok(());
        }
        match dir.lookup(name, self.caller) {
            Ok(node) => self.may_cross(dir, &node),
            // What is to be made is made here.
            Err(Errno::NOENT) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// From one node to another of the same file system.
    ///
    /// # Linux source concept
    /// The checks of `LOOKUP_NO_XDEV`. Differs: a file system that is mounted
    /// twice looks like one.
    pub(super) fn may_cross(&self, from: &NodeRef<M>, to: &NodeRef<M>) -> Result<(), Errno> {
        if self.bounds.contains(ResolveFlags::NO_XDEV) && from.stat()?.dev != to.stat()?.dev {
            return Err(Errno::XDEV);
        }
        Ok(())
    }

    /// From a directory to the one above: not from where the walk began.
    pub(super) fn may_leave<'a>(&self, node: &'a NodeRef<M>) -> Result<&'a NodeRef<M>, Errno> {
        if self.bounds.contains(ResolveFlags::BENEATH) && same(node, &self.start)? {
            return Err(Errno::XDEV);
        }
        Ok(node)
    }

    /// By a link that leads to a node and not to a name.
    ///
    /// # Linux source concept
    /// `nd_jump_link()`.
    pub(super) fn may_jump(&self, from: &NodeRef<M>, to: &NodeRef<M>) -> Result<(), Errno> {
        if self.bounds.contains(ResolveFlags::NO_MAGICLINKS) {
            return Err(Errno::LOOP);
        }
        if self
            .bounds
            .intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT)
        {
            return Err(Errno::XDEV);
        }
        self.may_cross(from, to)
    }

    /// By a link whose text begins at the root.
    ///
    /// # Linux source concept
    /// `nd_jump_root()`, which takes a root that the walk has not asked for yet
    /// for another file system.
    pub(super) fn may_restart(&self, from: &NodeRef<M>, rooted: bool) -> Result<NodeRef<M>, Errno> {
        let unknown = self.bounds.contains(ResolveFlags::NO_XDEV) && !rooted;
        if unknown || self.bounds.contains(ResolveFlags::BENEATH) {
            return Err(Errno::XDEV);
        }
        self.may_cross(from, &self.root)?;
        Ok(self.root.clone())
    }
}
