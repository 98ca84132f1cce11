//! What CPUs know of an address space, and its tag.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foliant_arch::tlb::Pcid;
use foliant_units::PhysAddr;

/// The part of a space that TLBs deal with.
#[derive(Debug)]
pub(crate) struct SpaceState {
    /// Its tag in every TLB, its own as long as it lives.
    pub(crate) tag: Pcid,
    /// Its top table.
    pub(crate) root: PhysAddr,
    /// How many flushes it had. A CPU that saw fewer has old entries.
    generation: AtomicU64,
}

impl SpaceState {
    pub(crate) fn new(tag: Pcid, root: PhysAddr) -> Arc<Self> {
        // Zero is what CPUs have seen of a tag that they never met.
        Arc::new(Self {
            tag,
            root,
            generation: AtomicU64::new(1),
        })
    }

    /// One more flush; returns its number.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

/// The tags of all spaces.
#[derive(Debug)]
pub(crate) struct Tags {
    spaces: Vec<Option<Arc<SpaceState>>>,
}

impl Tags {
    /// `count` tags, at most as many as a PCID has values.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            spaces: vec![None; count.clamp(1, 4096)],
        }
    }

    /// Gives the first free tag to the space whose top table is at `root`.
    pub(crate) fn take(&mut self, root: PhysAddr) -> Option<Arc<SpaceState>> {
        let free = self.spaces.iter().position(Option::is_none)?;
        let space = SpaceState::new(Pcid(free as u16), root);
        self.spaces[free] = Some(space.clone());
        Some(space)
    }

    pub(crate) fn give_back(&mut self, tag: Pcid) {
        self.spaces[usize::from(tag.0)] = None;
    }

    pub(crate) fn get(&self, tag: Pcid) -> Option<&Arc<SpaceState>> {
        self.spaces.get(usize::from(tag.0))?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.spaces.len()
    }
}
