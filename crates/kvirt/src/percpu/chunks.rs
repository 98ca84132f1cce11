//! All chunks, and what is taken of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foliant_units::VirtAddr;

use super::chunk_map::{ChunkMap, GRANULE};

/// A chunk, by the address of its first unit.
#[derive(Debug)]
struct Chunk {
    map: ChunkMap,
    /// Whether static variables are in it: it is never given back.
    first: bool,
    /// Granules that allocations may have.
    room: usize,
}

/// Counts of the allocator.
///
/// # Linux source concept
/// `struct percpu_stats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerCpuStats {
    /// Allocations so far.
    pub nr_alloc: u64,
    /// Of those, how many were given back.
    pub nr_dealloc: u64,
    /// Allocations that there are.
    pub nr_cur_alloc: u64,
    /// The most that there were.
    pub nr_max_alloc: u64,
    /// Chunks.
    pub nr_chunks: u64,
    /// The most that there were.
    pub nr_max_chunks: u64,
    /// Bytes of the smallest allocation so far, on one CPU.
    pub min_alloc_size: u64,
    /// Bytes of the largest.
    pub max_alloc_size: u64,
}

/// All chunks, under the allocator's lock.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    by_base: BTreeMap<VirtAddr, Chunk>,
    /// Chunks by the length of their longest run, roughly: fuller ones first.
    by_room: BTreeSet<(u32, VirtAddr)>,
    /// The reserved part of the first chunk.
    reserved: Option<(VirtAddr, ChunkMap)>,
    pub(crate) stats: PerCpuStats,
}

/// Chunks of a class have runs of at least 2^class granules, perhaps.
fn class(granules: usize) -> u32 {
    granules.checked_ilog2().map_or(0, |log| log + 1)
}

impl Chunks {
    pub(crate) fn add(&mut self, base: VirtAddr, map: ChunkMap, first: bool) {
        let room = map.free();
        self.by_room.insert((class(map.longest()), base));
        self.by_base.insert(base, Chunk { map, first, room });
        self.stats.nr_chunks += 1;
        self.stats.nr_max_chunks = self.stats.nr_max_chunks.max(self.stats.nr_chunks);
    }

    pub(crate) fn set_reserved(&mut self, base: VirtAddr, map: ChunkMap) {
        self.reserved = Some((base, map));
    }

    /// Takes `count` granules of some chunk: the address on CPU 0.
    pub(crate) fn take(&mut self, count: usize, align: usize) -> Option<VirtAddr> {
        let candidates: Vec<(u32, VirtAddr)> = self
            .by_room
            .range((class(count), VirtAddr::ZERO)..)
            .copied()
            .collect();
        for (was, base) in candidates {
            let Some(chunk) = self.by_base.get_mut(&base) else {
                continue;
            };
            let found = chunk.map.take(count, align);
            let now = class(chunk.map.longest());
            if now != was {
                self.by_room.remove(&(was, base));
                self.by_room.insert((now, base));
            }
            if let Some(start) = found {
                self.count(count);
                return Some(base + start as u64 * GRANULE);
            }
        }
        None
    }

    /// The same of the reserved part.
    pub(crate) fn take_reserved(&mut self, count: usize, align: usize) -> Option<VirtAddr> {
        let (base, map) = self.reserved.as_mut()?;
        let at = *base + map.take(count, align)? as u64 * GRANULE;
        self.count(count);
        Some(at)
    }

    fn count(&mut self, granules: usize) {
        let size = granules as u64 * GRANULE;
        let stats = &mut self.stats;
        let first = stats.nr_alloc == 0;
        stats.nr_alloc += 1;
        stats.nr_cur_alloc += 1;
        stats.nr_max_alloc = stats.nr_max_alloc.max(stats.nr_cur_alloc);
        stats.max_alloc_size = stats.max_alloc_size.max(size);
        stats.min_alloc_size = if first {
            size
        } else {
            stats.min_alloc_size.min(size)
        };
    }

    /// Gives back what begins at `at` on CPU 0.
    pub(crate) fn give(&mut self, at: VirtAddr) -> Option<()> {
        let (&base, chunk) = self.by_base.range_mut(..=at).next_back()?;
        if !(at - base).is_multiple_of(GRANULE) {
            return None;
        }
        let start = ((at - base) / GRANULE) as usize;
        let was = class(chunk.map.longest());
        if chunk.map.give(start).is_some() {
            let now = class(chunk.map.longest());
            self.by_room.remove(&(was, base));
            self.by_room.insert((now, base));
        } else {
            let (_, map) = self.reserved.as_mut().filter(|(reserved, _)| *reserved == base)?;
            map.give(start)?;
        }
        self.stats.nr_dealloc += 1;
        self.stats.nr_cur_alloc -= 1;
        Some(())
    }

    /// Takes out the chunks that nothing is in, all but one of them.
    pub(crate) fn take_empty(&mut self) -> Vec<VirtAddr> {
        let is_empty = |chunk: &Chunk| !chunk.first && chunk.map.free() == chunk.room;
        let empty = self.by_base.iter().filter(|(_, chunk)| is_empty(chunk));
        let surplus: Vec<VirtAddr> = empty.map(|(&base, _)| base).skip(1).collect();
        for base in &surplus {
            if let Some(chunk) = self.by_base.remove(base) {
                self.by_room.remove(&(class(chunk.map.longest()), *base));
                self.stats.nr_chunks -= 1;
            }
        }
        surplus
    }

    /// Takes out every chunk; for the end of the allocator.
    pub(crate) fn take_all(&mut self) -> Vec<VirtAddr> {
        self.by_room.clear();
        core::mem::take(&mut self.by_base).into_keys().collect()
    }

    /// Bytes of a unit that are free, over all chunks.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.by_base
            .values()
            .map(|chunk| chunk.map.free() as u64 * GRANULE)
            .sum()
    }
}
