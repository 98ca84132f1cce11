//! The firmware's map of physical memory.

use foliant_units::{PhysAddr, PhysRange};

/// How many entries a map holds.
pub const MAP_ENTRIES: usize = 128;

/// Number of a NUMA node, dense from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u8);

impl NodeId {
    /// The number as an index into per-node arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the firmware says about a range (E820 types).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RegionKind {
    /// Usable RAM.
    Usable,
    /// Firmware tables that may be reused once read.
    AcpiData,
    /// Firmware storage that must survive.
    AcpiNvs,
    /// Broken RAM.
    Unusable,
    /// Anything else: ROM, devices, firmware.
    Reserved,
}

/// One range of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapEntry {
    /// The bytes.
    pub range: PhysRange,
    /// What they are.
    pub kind: RegionKind,
    /// The node they belong to.
    pub node: NodeId,
}

/// The map is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapFull;

/// A map of physical memory, as the firmware gives it: unsorted, with
/// overlaps. [`MemoryMap::sanitised`] cleans it.
///
/// # Linux source concept
/// `struct e820_table`, arch/x86/kernel/e820.c.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    entries: [MapEntry; MAP_ENTRIES],
    len: usize,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// An empty map.
    pub const fn new() -> Self {
        let nothing = MapEntry {
            range: PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO),
            kind: RegionKind::Reserved,
            node: NodeId(0),
        };
        Self {
            entries: [nothing; MAP_ENTRIES],
            len: 0,
        }
    }

    /// A map that is one range of RAM on node 0.
    pub const fn ram(range: PhysRange) -> Self {
        let mut map = Self::new();
        map.entries[0] = MapEntry {
            range,
            kind: RegionKind::Usable,
            node: NodeId(0),
        };
        map.len = 1;
        map
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`MapFull`] after [`MAP_ENTRIES`] entries.
    pub fn add(&mut self, entry: MapEntry) -> Result<(), MapFull> {
        let slot = self.entries.get_mut(self.len).ok_or(MapFull)?;
        *slot = entry;
        self.len += 1;
        Ok(())
    }

    /// The entries, in the order they were added.
    pub fn entries(&self) -> &[MapEntry] {
        &self.entries[..self.len]
    }

    /// The map sorted, without empty or overlapping entries: where two overlap,
    /// the later kind in [`RegionKind`]'s order wins, so that nobody allocates
    /// from what any entry calls reserved. Neighbours of one kind and node are
    /// joined.
    ///
    /// # Errors
    /// [`MapFull`] when splitting makes too many entries.
    ///
    /// # Linux source concept
    /// `e820__update_table()`.
    pub fn sanitised(&self) -> Result<Self, MapFull> {
        let mut clean = Self::new();
        let mut at = PhysAddr::ZERO;
        while let Some(piece) = self.piece_from(at) {
            at = piece.range.end;
            clean.push_joining(piece)?;
        }
        Ok(clean)
    }

    /// The first stretch at or after `at` over which the same entries apply.
    fn piece_from(&self, at: PhysAddr) -> Option<MapEntry> {
        let live = || {
            self.entries()
                .iter()
                .filter(|entry| entry.range.end > at && !entry.range.is_empty())
        };
        let start = live().map(|entry| entry.range.start.max(at)).min()?;
        let winner = live()
            .filter(|entry| entry.range.contains(start))
            .max_by_key(|entry| entry.kind)?;
        let end = live()
            .flat_map(|entry| [entry.range.start, entry.range.end])
            .filter(|&edge| edge > start)
            .min()?;
        Some(MapEntry {
            range: PhysRange::new(start, end),
            ..*winner
        })
    }

    fn push_joining(&mut self, piece: MapEntry) -> Result<(), MapFull> {
        if let Some(last) = self.entries[..self.len].last_mut()
            && last.range.end == piece.range.start
            && (last.kind, last.node) == (piece.kind, piece.node)
        {
            last.range.end = piece.range.end;
            return Ok(());
        }
        self.add(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std_alloc::vec::Vec;

    fn entry(start: u64, end: u64, kind: RegionKind) -> MapEntry {
        MapEntry {
            range: PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)),
            kind,
            node: NodeId(0),
        }
    }

    fn clean(entries: &[MapEntry]) -> Vec<MapEntry> {
        let mut map = MemoryMap::new();
        for &entry in entries {
            map.add(entry).unwrap();
        }
        map.sanitised().unwrap().entries().to_vec()
    }

    #[test]
    fn reserved_wins_over_usable_wherever_it_lies() {
        use RegionKind::{Reserved, Usable};
        assert_eq!(
            clean(&[entry(0x1000, 0x9000, Usable), entry(0x3000, 0x4000, Reserved)]),
            [
                entry(0x1000, 0x3000, Usable),
                entry(0x3000, 0x4000, Reserved),
                entry(0x4000, 0x9000, Usable)
            ]
        );
        assert_eq!(
            clean(&[entry(0x3000, 0x4000, Reserved), entry(0x0, 0x3800, Usable)]),
            [entry(0, 0x3000, Usable), entry(0x3000, 0x4000, Reserved)]
        );
    }

    #[test]
    fn neighbours_and_overlaps_of_one_kind_are_joined() {
        use RegionKind::Usable;
        assert_eq!(
            clean(&[
                entry(0x5000, 0x9000, Usable),
                entry(0x1000, 0x5000, Usable),
                entry(0x2000, 0x6000, Usable),
                entry(0x7000, 0x7000, Usable),
            ]),
            [entry(0x1000, 0x9000, Usable)]
        );
    }
}
