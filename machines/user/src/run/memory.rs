//! The machine's physical memory, as firmware would tell of it.

use foliant_phys::boot::{MapEntry, RegionKind, resources};
use foliant_phys::{MemoryMap, NodeId};
use foliant_uapi::text::Iomem;
use foliant_units::{PAGE_MASK, PhysAddr, PhysRange};
use thiserror::Error;

/// RAM and where it lies.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    map: MemoryMap,
    end: u64,
    movable: u64,
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
        Ok(Self { map, end, movable })
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
    fn what_makes_no_machine_is_refused() {
        assert_eq!(MemoryPlan::flat(4096).unwrap_err(), PlanError::TooSmall);
        assert_eq!(MemoryPlan::flat(2 << 40).unwrap_err(), PlanError::TooLarge);
        assert_eq!(
            MemoryPlan::zoned(1 << 30, 0, 1 << 30).unwrap_err(),
            PlanError::TooMovable
        );
    }
}
