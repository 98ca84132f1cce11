//! From the firmware's map to limits and boot memory.

use foliant_platform::Platform;
use foliant_units::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, PhysRange};

use super::log::Log;
use super::machine::{Dialect, MachineKind};
use crate::boot::first_megabyte::BIOS_HOLE;
use crate::boot::kind::RegionKind;
use crate::boot::map::{MapError, MemoryMap};
use crate::boot::memblock::{Memblock, Region};
use crate::boot::options::BootError;

/// How far RAM reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The first frame above all RAM.
    ///
    /// # Linux source concept
    /// `max_pfn`.
    pub max_pfn: Pfn,
    /// With 64 bits, the first frame above RAM below 4 GiB; with 32 bits, above
    /// the RAM that is mapped for good.
    ///
    /// # Linux source concept
    /// `max_low_pfn`.
    pub max_low_pfn: Pfn,
}

/// A boot before there are zones: the map, boot memory and the limits.
///
/// # Linux source concept
/// `setup_arch()`, as far as it is about memory.
#[derive(Debug)]
pub struct EarlyBoot<P, const N: usize> {
    pub(super) kind: MachineKind,
    pub(super) dialect: Dialect,
    pub(super) map: MemoryMap<N>,
    /// RAM and what is taken of it.
    pub memblock: Memblock<P>,
    pub(super) limits: Limits,
}

impl<P: Platform, const N: usize> EarlyBoot<P, N> {
    /// Takes the firmware's map, prints it, takes out what PC hardware takes
    /// whatever the map says, and measures RAM. Nothing is taken from memory yet.
    ///
    /// # Errors
    /// [`BootError::MapTooRagged`] or [`BootError::NoMemory`].
    pub fn new(
        platform: &P,
        kind: MachineKind,
        dialect: Dialect,
        map: &MemoryMap<N>,
        log: &mut Log<'_>,
    ) -> Result<Self, BootError> {
        let mut map = map.sanitised()?;
        log.line(format_args!("{}BIOS-provided physical RAM map:", dialect.e820()));
        log.text(map.lines("BIOS-e820"));
        trim_bios(&mut map, log)?;
        let mut memblock = Memblock::new();
        memblock.allow_growth(platform.clone());
        let mut early = Self {
            kind,
            dialect,
            map,
            memblock,
            limits: Limits::default(),
        };
        early.measure(log)?;
        Ok(early)
    }

    /// Forgets RAM from `bytes` up (`mem=`). Only before RAM is used.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn limit_memory(&mut self, bytes: u64, log: &mut Log<'_>) -> Result<(), BootError> {
        let rest = PhysRange::new(PhysAddr::new(bytes), PhysAddr::new(u64::MAX));
        self.map.update(rest, RegionKind::Usable, None)?;
        log.line(format_args!(
            "{}user-defined physical RAM map:",
            self.dialect.e820()
        ));
        log.text(self.map.lines("user"));
        self.measure(log)
    }

    /// Hands the RAM of the map to memblock.
    ///
    /// # Errors
    /// [`BootError::MapTooRagged`].
    ///
    /// # Linux source concept
    /// `e820__memblock_setup()`.
    pub fn add_ram(&mut self) -> Result<(), BootError> {
        let end = self.limits.max_pfn;
        for piece in self.map.pieces() {
            if piece.kind == RegionKind::Usable {
                // Bytes that fill no frame are no RAM.
                let mut frames = piece.range.whole_frames();
                frames.end = frames.end.min(end).max(frames.start);
                self.memblock.add(Region::ram(frames.bytes(), piece.node))?;
            }
        }
        Ok(())
    }

    /// How far RAM reaches.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The map, cleaned and trimmed.
    pub fn map(&self) -> &MemoryMap<N> {
        &self.map
    }

    /// The largest gap below 4 GiB, where devices can be put.
    ///
    /// # Linux source concept
    /// `e820__setup_pci_gap()`.
    pub fn announce_gap(&self, log: &mut Log<'_>) -> Option<PhysRange> {
        const END: u64 = 1 << 32;
        let mut found: Option<PhysRange> = None;
        let mut last = PhysAddr::ZERO;
        let ends = PhysRange::new(PhysAddr::new(END), PhysAddr::new(END));
        for range in self.map.pieces().map(|piece| piece.range).chain([ends]) {
            let gap = PhysRange::new(last, range.start.min(PhysAddr::new(END)));
            if gap.len() >= 4 << 20 && found.is_none_or(|found| gap.len() > found.len()) {
                found = Some(gap);
            }
            last = last.max(range.end);
        }
        match found {
            Some(gap) => log.line(format_args!(
                "{}[mem {:#010x}-{:#010x}] available for PCI devices",
                self.dialect.e820(),
                gap.start,
                gap.end - 1
            )),
            None => log.line(format_args!(
                "Cannot find an available gap in the 32-bit address range"
            )),
        }
        found
    }

    fn measure(&mut self, log: &mut Log<'_>) -> Result<(), BootError> {
        let limit = self.kind.max_arch_pfn();
        let max_pfn = self.last_pfn(limit, log);
        if max_pfn == Pfn::ZERO {
            return Err(BootError::NoMemory);
        }
        self.limits = match self.kind {
            MachineKind::X86_64 { .. } => {
                let four_gib = Pfn::new(1 << (32 - PAGE_SHIFT));
                let max_low_pfn = if max_pfn > four_gib {
                    self.last_pfn(four_gib, log)
                } else {
                    max_pfn
                };
                Limits { max_pfn, max_low_pfn }
            }
            MachineKind::I386 { lowmem, .. } => {
                let max_low_pfn = max_pfn.min(lowmem);
                Limits { max_pfn, max_low_pfn }
            }
        };
        Ok(())
    }

    fn last_pfn(&self, limit: Pfn, log: &mut Log<'_>) -> Pfn {
        let last = self.map.end_of_ram(limit);
        log.line(format_args!(
            "{}last_pfn = {:#x} max_arch_pfn = {:#x}",
            self.dialect.e820(),
            last.raw(),
            self.kind.max_arch_pfn().raw()
        ));
        last
    }
}

/// The first page is the firmware's, and 640 KiB to 1 MiB is no RAM.
///
/// # Linux source concept
/// `trim_bios_range()`.
fn trim_bios<const N: usize>(map: &mut MemoryMap<N>, log: &mut Log<'_>) -> Result<(), MapError> {
    let first = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(PAGE_SIZE as u64));
    let print = |range: PhysRange| (range.start, range.end - 1);
    let (start, last) = print(first);
    log.line(format_args!(
        "e820: update [mem {start:#010x}-{last:#010x}] usable ==> reserved"
    ));
    map.update(first, RegionKind::Usable, Some(RegionKind::Reserved))?;
    let (start, last) = print(BIOS_HOLE);
    log.line(format_args!(
        "e820: remove [mem {start:#010x}-{last:#010x}] usable"
    ));
    map.update(BIOS_HOLE, RegionKind::Usable, None)?;
    Ok(())
}
