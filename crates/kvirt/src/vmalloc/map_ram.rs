//! Short-lived maps of a few frames.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_arch::{KernelFormat, KernelProt};
use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_units::{Pfn, VirtAddr, Vpn, VpnRange};

use super::area::{Frames, Use};
use super::block::{BLOCK_PAGES, Block, Fate, LARGEST_PART};
use super::book::{Found, Held};
use super::flush_list::FlushList;
use super::memory::Vmalloc;
use super::request::VmallocError;
use crate::caller::Caller;
use crate::mapping;

/// The block that a CPU cuts maps from.
#[derive(Clone, Debug)]
pub(super) struct CurrentBlock {
    start: Vpn,
    block: Arc<Block>,
}

/// The place where a CPU keeps it, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct BlockSlot(SpinLock<Option<CurrentBlock>>);

/// A map of some frames, to be [ended](Vmalloc::unmap_ram).
#[derive(PartialEq, Eq, Debug)]
#[must_use = "its addresses are taken until it is unmapped"]
pub struct RamMap {
    pages: VpnRange,
}

impl RamMap {
    /// The first byte of the first frame.
    pub fn start(&self) -> VirtAddr {
        self.pages.start.base()
    }

    /// The pages, in the order of the frames.
    pub fn pages(&self) -> VpnRange {
        self.pages
    }
}

impl<P: Mmu, F: KernelFormat> Vmalloc<P, F> {
    /// Maps frames side by side for a short while, cheaper than
    /// [`map`](Self::map): small maps are cut from a block of the calling CPU.
    /// There is no guard page between them. The map holds a reference to each frame until
    /// its translations are gone; the caller holds one now.
    ///
    /// # Errors
    /// See [`VmallocError`].
    ///
    /// # Linux source concept
    /// `vm_map_ram()`. Differs: it takes references.
    pub fn map_ram(&self, frames: &[Pfn], prot: KernelProt) -> Result<RamMap, VmallocError> {
        let count = frames.len() as u64;
        if count == 0 {
            return Err(VmallocError::Empty);
        }
        let pages = if count <= LARGEST_PART {
            self.cut(count)?
        } else {
            let place = self.place(count + 1, 1).ok_or(VmallocError::NoAddresses)?;
            self.space
                .publish(place, Self::bare(Use::Ram, Caller::named("vm_map_ram"), true));
            VpnRange::new(place.start, place.start + count)
        };
        let map = RamMap { pages };
        self.references(frames).for_each(drop);
        let frame_of = |page| frames[(page - pages.start) as usize];
        match mapping::map_each(&*self.tables, pages, prot, frame_of) {
            Ok(()) => Ok(map),
            Err(error) => {
                self.end(&map, frames);
                Err(VmallocError::NoTable(error))
            }
        }
    }

    /// Ends a map.
    ///
    /// # Linux source concept
    /// `vm_unmap_ram()`.
    pub fn unmap_ram(&self, map: RamMap) {
        let tables = &*self.tables;
        let frames: Vec<Pfn> = map
            .pages
            .iter()
            .filter_map(|page| mapping::frame_at(tables, page))
            .collect();
        self.end(&map, &frames);
    }

    /// Unmaps; the references to `frames` wait for the flush.
    fn end(&self, map: &RamMap, frames: &[Pfn]) {
        mapping::unmap(&*self.tables, map.pages);
        let phys = self.phys();
        let heads = frames.iter().map(|&frame| phys.head(frame));
        let block = self.space.with(map.pages.start, |held| match &held.area.what {
            Use::Block(block) => Some((held.pages.start, block.clone())),
            _ => None,
        });
        match block.flatten() {
            Some((start, block)) => {
                if block.give(map.pages.len(), heads) == Fate::Over {
                    self.retire_block(start);
                }
            }
            None => {
                if let Ok(mut held) = self.remove(map.start(), |what| matches!(what, Use::Ram)) {
                    held.area.frames = Frames {
                        list: heads.collect(),
                        ..Frames::NONE
                    };
                    self.withdraw(held);
                }
            }
        }
    }

    /// Pages from this CPU's block, or from a new one.
    fn cut(&self, count: u64) -> Result<VpnRange, VmallocError> {
        let BlockSlot(slot) = &self.blocks[self.cpu() % self.blocks.len()];
        loop {
            let current = slot.lock().clone();
            if let Some(CurrentBlock { start, block }) = &current
                && let Some(offset) = block.take(count)
            {
                return Ok(VpnRange::new(*start + offset, *start + offset + count));
            }
            let fresh = self.new_block()?;
            let replaced = {
                let mut slot = slot.lock();
                let same = match (&*slot, &current) {
                    (Some(now), Some(before)) => Arc::ptr_eq(&now.block, &before.block),
                    (None, None) => true,
                    _ => false,
                };
                // Who was slower keeps nothing: its block is closed at once.
                if same { slot.replace(fresh) } else { Some(fresh) }
            };
            if let Some(old) = replaced
                && old.block.close() == Fate::Over
            {
                self.retire_block(old.start);
            }
        }
    }

    fn new_block(&self) -> Result<CurrentBlock, VmallocError> {
        let pages = self.place(BLOCK_PAGES + 1, 1).ok_or(VmallocError::NoAddresses)?;
        let block = Arc::new(Block::default());
        let caller = Caller::named("vm_map_ram");
        self.space
            .publish(pages, Self::bare(Use::Block(block.clone()), caller, true));
        Ok(CurrentBlock {
            start: pages.start,
            block,
        })
    }

    /// Nothing is mapped in the block that begins at `start`, for good.
    fn retire_block(&self, start: Vpn) {
        if let Some(held) = self
            .space
            .remove_if(start, |area| matches!(area.what, Use::Block(_)))
        {
            self.withdraw(held);
        }
    }

    /// Flushes the blocks in use in which maps have ended, and gives back the
    /// frames of those maps.
    pub(super) fn flush_blocks(&self) {
        let mut list = FlushList::new();
        let mut frames = Vec::new();
        self.space.for_each(|found, held: &Held<_>| {
            if let (Found::Busy, Use::Block(block)) = (found, &held.area.what) {
                let waiting = block.take_waiting();
                if !waiting.is_empty() {
                    list.add(held.pages);
                    frames.extend(waiting);
                }
            }
        });
        if !list.is_empty() {
            self.flush(list.ranges());
            self.put_all(Frames {
                list: frames,
                ..Frames::NONE
            });
        }
    }
}
