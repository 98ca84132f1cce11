//! The firmware's map of physical memory.

use foliant_units::{Pfn, PhysAddr, PhysRange};

use super::kind::RegionKind;

/// How many entries a map holds unless its type says otherwise; what a boot
/// loader of a PC can hand over.
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

impl MapEntry {
    /// `size` bytes from `start`, as firmware describes them.
    ///
    /// # Errors
    /// [`MapError::Wraps`] if the end passes the address space.
    pub const fn sized(start: PhysAddr, size: u64, kind: RegionKind) -> Result<Self, MapError> {
        match PhysRange::sized(start, size) {
            Some(range) => Ok(Self {
                range,
                kind,
                node: NodeId(0),
            }),
            None => Err(MapError::Wraps),
        }
    }
}

/// Why a map is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// More entries than the map holds.
    Full,
    /// An entry ends past the address space.
    Wraps,
    /// The bytes end inside an entry.
    Truncated,
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            MapError::Full => "the memory map has too many entries",
            MapError::Wraps => "an entry of the memory map ends past the address space",
            MapError::Truncated => "the memory map ends inside an entry",
        })
    }
}

impl core::error::Error for MapError {}

/// A map of physical memory with room for `N` entries, as the firmware gives
/// it: unsorted, with overlaps. [`MemoryMap::pieces`] reads it cleaned.
///
/// # Linux source concept
/// `struct e820_table`, arch/x86/kernel/e820.c.
#[derive(Clone, Debug)]
pub struct MemoryMap<const N: usize = MAP_ENTRIES> {
    entries: [MapEntry; N],
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
        Self::with_room()
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
}

impl<const N: usize> MemoryMap<N> {
    /// An empty map for `N` entries.
    pub const fn with_room() -> Self {
        let nothing = MapEntry {
            range: PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO),
            kind: RegionKind::Reserved,
            node: NodeId(0),
        };
        Self {
            entries: [nothing; N],
            len: 0,
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`MapError::Full`] after `N` entries.
    pub fn add(&mut self, entry: MapEntry) -> Result<(), MapError> {
        let slot = self.entries.get_mut(self.len).ok_or(MapError::Full)?;
        *slot = entry;
        self.len += 1;
        Ok(())
    }

    /// The entries, in the order they were added.
    pub fn entries(&self) -> &[MapEntry] {
        &self.entries[..self.len]
    }

    /// The map sorted, without empty or overlapping entries: where two overlap,
    /// the kind with the larger number wins. Neighbours of one kind and node
    /// are joined. Takes time with the square of the number of entries, and no
    /// memory.
    pub fn pieces(&self) -> impl Iterator<Item = MapEntry> {
        let mut at = PhysAddr::ZERO;
        let raw = core::iter::from_fn(move || {
            let piece = self.piece_from(at)?;
            at = piece.range.end;
            Some(piece)
        });
        let mut raw = raw.peekable();
        core::iter::from_fn(move || {
            let mut piece = raw.next()?;
            while let Some(next) = raw.next_if(|next| joins(&piece, next)) {
                piece.range.end = next.range.end;
            }
            Some(piece)
        })
    }

    /// The map as [`pieces`](Self::pieces) reads it.
    ///
    /// # Errors
    /// [`MapError::Full`] when splitting makes too many entries.
    ///
    /// # Linux source concept
    /// `e820__update_table()`.
    pub fn sanitised(&self) -> Result<Self, MapError> {
        let mut clean = Self::with_room();
        for piece in self.pieces() {
            clean.add(piece)?;
        }
        Ok(clean)
    }

    /// Gives what is `from` inside `range` another kind, or takes it out, and
    /// sanitises. Says how many bytes changed.
    ///
    /// # Errors
    /// [`MapError::Full`] when splitting makes too many entries; the map is
    /// then unchanged.
    ///
    /// # Linux source concept
    /// `e820__range_update()` and `e820__range_remove()`.
    pub fn update(
        &mut self,
        range: PhysRange,
        from: RegionKind,
        to: Option<RegionKind>,
    ) -> Result<u64, MapError> {
        let mut new = Self::with_room();
        let mut changed = 0;
        for piece in self.pieces() {
            let inside = piece.range.intersect(range);
            if piece.kind != from || inside.is_empty() {
                new.add(piece)?;
                continue;
            }
            changed += inside.len();
            let with = |start, end, kind| MapEntry {
                range: PhysRange::new(start, end),
                kind,
                ..piece
            };
            let parts = [
                Some(with(piece.range.start, inside.start, piece.kind)),
                to.map(|kind| with(inside.start, inside.end, kind)),
                Some(with(inside.end, piece.range.end, piece.kind)),
            ];
            for part in parts.into_iter().flatten().filter(|part| !part.range.is_empty()) {
                new.add(part)?;
            }
        }
        *self = new;
        Ok(changed)
    }

    /// The first frame above all usable RAM below `limit`.
    ///
    /// # Linux source concept
    /// `e820__end_of_ram_pfn()`.
    pub fn end_of_ram(&self, limit: Pfn) -> Pfn {
        let usable = self.pieces().filter(|piece| piece.kind == RegionKind::Usable);
        let ends = usable.filter_map(|piece| {
            let frames = piece.range.whole_frames();
            (frames.start < limit && !frames.is_empty()).then(|| frames.end.min(limit))
        });
        ends.max().unwrap_or(Pfn::ZERO)
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
            .max_by_key(|entry| entry.kind.code())?;
        let end = live()
            .flat_map(|entry| [entry.range.start, entry.range.end])
            .filter(|&edge| edge > start)
            .min()?;
        Some(MapEntry {
            range: PhysRange::new(start, end),
            ..*winner
        })
    }
}

fn joins(piece: &MapEntry, next: &MapEntry) -> bool {
    piece.range.end == next.range.start
        && (piece.kind, piece.node) == (next.kind, next.node)
        && !piece.kind.stays_apart()
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

    #[test]
    fn the_larger_type_number_wins() {
        use RegionKind::{AcpiNvs, Reserved, Usable};
        assert_eq!(
            clean(&[
                entry(0, 0x9000, Usable),
                entry(0x2000, 0x6000, AcpiNvs),
                entry(0x1000, 0x4000, Reserved),
            ]),
            [
                entry(0, 0x1000, Usable),
                entry(0x1000, 0x2000, Reserved),
                entry(0x2000, 0x6000, AcpiNvs),
                entry(0x6000, 0x9000, Usable),
            ]
        );
    }

    #[test]
    fn a_part_changes_its_kind_or_goes() {
        use RegionKind::{Reserved, Usable};
        let mut map = MemoryMap::ram(entry(0, 0x10_0000, Usable).range);
        let page_zero = entry(0, 0x1000, Usable).range;
        assert_eq!(map.update(page_zero, Usable, Some(Reserved)), Ok(0x1000));
        let hole = entry(0xa_0000, 0x10_0000, Usable).range;
        assert_eq!(map.update(hole, Usable, None), Ok(0x6_0000));
        assert_eq!(map.update(hole, Usable, None), Ok(0));
        assert_eq!(
            map.entries(),
            [entry(0, 0x1000, Reserved), entry(0x1000, 0xa_0000, Usable)]
        );
        assert_eq!(map.end_of_ram(Pfn::new(0x1000)), Pfn::new(0xa0));
        assert_eq!(map.end_of_ram(Pfn::new(0x50)), Pfn::new(0x50));
    }

    #[test]
    fn an_entry_that_wraps_is_refused() {
        let refused = MapEntry::sized(PhysAddr::new(u64::MAX - 10), 20, RegionKind::Usable);
        assert_eq!(refused, Err(MapError::Wraps));
    }
}
