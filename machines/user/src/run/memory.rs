//! The machine's physical memory, as firmware would tell of it.

use foliant_phys::boot::{MapEntry, RegionKind, resources};
use foliant_phys::{MemoryMap, NodeId, SECTION};
use foliant_uapi::text::Iomem;
use foliant_units::{PAGE_MASK, PAGE_SHIFT, PhysAddr, PhysRange};
use thiserror::Error;

/// RAM and where it lies.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    map: MemoryMap,
    end: u64,
    movable: u64,
    hotplug: PhysRange,
}

/// Why a plan makes no machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PlanError {
    /// Less than the machine itself needs.
    #[error("a machine needs at least 4 MiB of RAM")]
    TooSmall,
    /// More than the allocator can number.
    #[error("a machine can have 1 TiB of RAM at most")]
    TooLarge,
    /// Memory comes in blocks.
    #[error("memory is plugged in in blocks of 128 MiB")]
    NoBlocks,
    /// More movable memory than memory.
    #[error("the Movable zone is larger than RAM")]
    TooMovable,
}

/// What lies below 1 MiB besides RAM: BIOS data, video, ROM.
const HOLE: (u64, u64) = (0x9_fc00, 0x10_0000);
/// Where devices begin below 4 GiB, and where RAM goes on.
const DEVICES: (u64, u64) = (3 << 30, 4 << 30);
const SMALLEST: u64 = 4 << 20;
const LARGEST: u64 = 1 << 40;
/// Bytes that come at once.
const BLOCK: u64 = SECTION << PAGE_SHIFT;

impl MemoryPlan {
    /// A machine with `ram` bytes, laid out as a PC's: up to 3 GiB below the
    /// devices, the rest from 4 GiB on.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn flat(ram: u64) -> Result<Self, PlanError> {
        let low = ram.min(DEVICES.0);
        Self::zoned(low, ram - low, 0)
    }

    /// A machine with `low` bytes below 3 GiB and `high` bytes from 4 GiB on,
    /// of which `movable` bytes at the top are the Movable zone.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn zoned(low: u64, high: u64, movable: u64) -> Result<Self, PlanError> {
        let (low, high, movable) = (low & PAGE_MASK, high & PAGE_MASK, movable & PAGE_MASK);
        let total = low.checked_add(high).ok_or(PlanError::TooLarge)?;
        if total > LARGEST || low > DEVICES.0 {
            return Err(PlanError::TooLarge);
        }
        if low < SMALLEST {
            return Err(PlanError::TooSmall);
        }
        if movable >= total {
            return Err(PlanError::TooMovable);
        }
        let mut pieces = vec![
            (0, HOLE.0, RegionKind::Usable),
            (HOLE.0, HOLE.1, RegionKind::Reserved),
            (HOLE.1, low, RegionKind::Usable),
        ];
        let mut end = low;
        if high > 0 {
            end = DEVICES.1 + high;
            pieces.push((DEVICES.1, end, RegionKind::Usable));
        }
        let mut map = MemoryMap::new();
        for (start, end, kind) in pieces {
            let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
            // Four entries fit.
            map.add(MapEntry {
                range,
                kind,
                node: NodeId(0),
            })
            .map_err(|_| PlanError::TooLarge)?;
        }
        Ok(Self {
            map,
            end,
            movable,
            hotplug: PhysRange::default(),
        })
    }

    /// The same machine, to which `bytes` can be added while it runs, in blocks
    /// of 128 MiB: from 4 GiB on, or from the next GiB behind RAM there.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn with_hotplug(mut self, bytes: u64) -> Result<Self, PlanError> {
        if !bytes.is_multiple_of(BLOCK) {
            return Err(PlanError::NoBlocks);
        }
        let start = self.end.next_multiple_of(1 << 30).max(DEVICES.1);
        let end = start.checked_add(bytes).ok_or(PlanError::TooLarge)?;
        if end > LARGEST + DEVICES.1 {
            return Err(PlanError::TooLarge);
        }
        self.hotplug = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        Ok(self)
    }

    /// As firmware tells it.
    pub fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// What lies where, as `/proc/iomem` tells it. The kernel's code and data
    /// are not in it: they are a program of the host.
    pub fn iomem(&self) -> Iomem {
        let text = resources(&self.map, None, None).to_string();
        // What one part of the library writes the other reads.
        Iomem::parse(text.as_bytes()).unwrap_or_default()
    }

    /// Where memory can be added; empty if nowhere.
    pub fn hotplug(&self) -> PhysRange {
        self.hotplug
    }

    /// Where the last byte of RAM ends that there is or can be.
    pub fn reach(&self) -> u64 {
        match self.hotplug.is_empty() {
            true => self.end,
            false => self.hotplug.end.raw(),
        }
    }

    /// Where the last byte of RAM ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of the Movable zone.
    pub fn movable(&self) -> u64 {
        self.movable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_beyond_three_gigabytes_lies_above_the_devices() {
        assert_eq!(MemoryPlan::flat(1 << 30).unwrap().end(), 1 << 30);
        assert_eq!(MemoryPlan::flat(5 << 30).unwrap().end(), 6 << 30);
    }

    #[test]
    fn memory_is_told_with_its_hole_and_its_devices() {
        let plan = MemoryPlan::flat(5 << 30).unwrap();
        let entries = plan.iomem().entries;
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.start, entry.last, entry.name.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (0, 0x9_fbff, "System RAM"),
                (0x9_fc00, 0xf_ffff, "Reserved"),
                (0xf_0000, 0xf_ffff, "System ROM"),
                (0x10_0000, 0xbfff_ffff, "System RAM"),
                (4 << 30, (6 << 30) - 1, "System RAM"),
            ]
        );
    }

    #[test]
    fn memory_to_come_lies_behind_ram_and_the_devices() {
        let region = |ram: u64, more: u64| {
            let plan = MemoryPlan::flat(ram << 20).unwrap().with_hotplug(more << 20);
            plan.map(|plan| (plan.hotplug().start.raw() >> 20, plan.reach() >> 20))
        };
        assert_eq!(region(512, 0), Ok((4096, 512)));
        assert_eq!(region(512, 256), Ok((4096, 4352)));
        assert_eq!(region(3 * 1024 + 100, 128), Ok((5 * 1024, 5 * 1024 + 128)));
        assert_eq!(region(512, 100), Err(PlanError::NoBlocks));
        assert_eq!(region(512, 2 << 20), Err(PlanError::TooLarge));
    }

    #[test]
    fn what_makes_no_machine_is_refused() {
        assert_eq!(MemoryPlan::flat(4096).unwrap_err(), PlanError::TooSmall);
        assert_eq!(MemoryPlan::flat(2 << 40).unwrap_err(), PlanError::TooLarge);
        assert_eq!(
            MemoryPlan::zoned(1 << 30, 0, 1 << 30).unwrap_err(),
            PlanError::TooMovable
        );
    }
}
