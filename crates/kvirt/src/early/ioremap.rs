//! Looking at firmware and devices before vmalloc.

use core::fmt;

use foliant_arch::{CacheMode, KernelFormat, KernelProt};
use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PhysRange, VirtAddr, VpnRange};

use super::fixmap::EarlyFixmap;
use super::tables::EarlyTables;

/// How many mappings there can be at a time.
pub const SLOTS: usize = 8;
/// Pages of each at most.
pub const PAGES_PER_SLOT: u64 = 64;

/// Why nothing was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoremapError {
    /// No bytes.
    Empty,
    /// More pages than a slot has.
    TooLarge,
    /// All slots are in use.
    NoSlot,
    /// The early time is over: there is vmalloc now.
    Over,
}

/// Why nothing was unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadUnmap {
    /// No mapping begins there.
    NotMapped,
    /// It was mapped with another size, in bytes.
    OtherSize(u64),
}

impl fmt::Display for IoremapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoremapError::Empty => "nothing to map",
            IoremapError::TooLarge => "too many pages for an early mapping",
            IoremapError::NoSlot => "all early mappings are in use",
            IoremapError::Over => "early mappings are over",
        })
    }
}

impl core::error::Error for IoremapError {}

/// Pages whose translations must leave the TLB before they are used again.
#[must_use = "translations of these pages may still be cached"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale(pub VpnRange);

/// What is mapped in a slot.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    address: VirtAddr,
    size: u64,
    pages: VpnRange,
}

/// Slots of the early fixmap for mappings that do not last.
///
/// # Linux source concept
/// mm/early_ioremap.c.
#[derive(Debug)]
pub struct EarlyIoremap {
    fixmap: EarlyFixmap,
    slots: [Option<Mapped>; SLOTS],
    over: bool,
}

impl EarlyIoremap {
    /// In the lowest pages of `fixmap`; `None` if it has too few.
    pub fn new(fixmap: EarlyFixmap) -> Option<Self> {
        (fixmap.pages().len() >= SLOTS as u64 * PAGES_PER_SLOT).then_some(Self {
            fixmap,
            slots: [None; SLOTS],
            over: false,
        })
    }

    /// Maps device registers, uncached.
    ///
    /// # Errors
    /// [`IoremapError`].
    pub fn map<F: KernelFormat, P: Platform>(
        &mut self,
        tables: &EarlyTables<P>,
        range: PhysRange,
    ) -> Result<VirtAddr, IoremapError> {
        self.map_as::<F, P>(tables, range, KernelProt::io(CacheMode::UncachedMinus))
    }

    /// Maps memory that firmware left.
    ///
    /// # Errors
    /// [`IoremapError`].
    ///
    /// # Linux source concept
    /// `early_memremap()`.
    pub fn map_memory<F: KernelFormat, P: Platform>(
        &mut self,
        tables: &EarlyTables<P>,
        range: PhysRange,
    ) -> Result<VirtAddr, IoremapError> {
        self.map_as::<F, P>(tables, range, KernelProt::DATA)
    }

    fn map_as<F: KernelFormat, P: Platform>(
        &mut self,
        tables: &EarlyTables<P>,
        range: PhysRange,
        prot: KernelProt,
    ) -> Result<VirtAddr, IoremapError> {
        if self.over {
            return Err(IoremapError::Over);
        }
        if range.is_empty() {
            return Err(IoremapError::Empty);
        }
        let first = range.start.frame();
        let count = (range.end.raw() - 1) / PAGE_SIZE as u64 + 1 - first.raw();
        if count > PAGES_PER_SLOT {
            return Err(IoremapError::TooLarge);
        }
        let slot = self
            .slots
            .iter()
            .position(Option::is_none)
            .ok_or(IoremapError::NoSlot)?;
        let start = self.fixmap.pages().start + slot as u64 * PAGES_PER_SLOT;
        let pages = VpnRange::new(start, start + count);
        for page in pages.iter() {
            self.fixmap
                .set::<F, P>(tables, page, first + (page - start), prot);
        }
        let address = start.base() + range.start.offset() as u64;
        self.slots[slot] = Some(Mapped {
            address,
            size: range.len(),
            pages,
        });
        Ok(address)
    }

    /// Takes a mapping out, with the size it was made with.
    ///
    /// # Errors
    /// [`BadUnmap`]; nothing has changed.
    pub fn unmap<F: KernelFormat, P: Platform>(
        &mut self,
        tables: &EarlyTables<P>,
        address: VirtAddr,
        size: u64,
    ) -> Result<Stale, BadUnmap> {
        let ours = |mapped: &Option<Mapped>| mapped.is_some_and(|mapped| mapped.address == address);
        let slot = self.slots.iter_mut().find(|slot| ours(slot));
        let slot = slot.ok_or(BadUnmap::NotMapped)?;
        match *slot {
            Some(mapped) if mapped.size == size => {
                *slot = None;
                for page in mapped.pages.iter() {
                    self.fixmap.clear::<F, P>(tables, page);
                }
                Ok(Stale(mapped.pages))
            }
            Some(mapped) => Err(BadUnmap::OtherSize(mapped.size)),
            None => Err(BadUnmap::NotMapped),
        }
    }

    /// No more mappings from now on; says how many were forgotten.
    ///
    /// # Linux source concept
    /// `check_early_ioremap_leak()`.
    pub fn finish(&mut self) -> usize {
        self.over = true;
        self.slots.iter().flatten().count()
    }
}
