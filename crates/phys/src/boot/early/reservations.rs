//! What is taken before anybody allocates.

use foliant_platform::Platform;
use foliant_units::{PAGE_SIZE, PhysAddr, PhysRange};

use super::image::{CrashKernel, KernelImage};
use super::log::Log;
use super::machine::{Dialect, MachineKind};
use super::steps::EarlyBoot;
use crate::boot::first_megabyte::{BiosData, REAL_MODE};
use crate::boot::kind::RegionKind;
use crate::boot::memblock::BootRequest;
use crate::boot::options::BootError;

/// What lies in RAM that the map calls usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reservations {
    /// The kernel.
    pub kernel: Option<KernelImage>,
    /// The initial file system.
    pub initrd: Option<PhysRange>,
    /// What the firmware says about the first megabyte.
    pub bios: BiosData,
}

impl<P: Platform, const N: usize> EarlyBoot<P, N> {
    /// Takes the kernel, the first 64 KiB, the firmware's part of the first
    /// megabyte and the initrd. Returns the initrd if it lies in RAM.
    ///
    /// # Errors
    /// [`BootError::MapTooRagged`].
    ///
    /// # Linux source concept
    /// `early_reserve_memory()`.
    pub fn reserve(&mut self, what: &Reservations) -> Result<Option<PhysRange>, BootError> {
        if let Some(kernel) = what.kernel {
            self.memblock.reserve(kernel.all())?;
        }
        self.memblock.reserve(REAL_MODE)?;
        self.memblock.reserve(what.bios.firmware_range())?;
        let initrd = what
            .initrd
            .filter(|initrd| !initrd.is_empty() && self.is_usable(*initrd));
        if let Some(initrd) = initrd {
            let end = initrd.end.align_up(PAGE_SIZE as u64).unwrap_or(initrd.end);
            self.memblock.reserve(PhysRange::new(initrd.start, end))?;
        }
        Ok(initrd)
    }

    /// Says where the initrd is, and whether it can be used.
    ///
    /// # Linux source concept
    /// `reserve_initrd()`.
    pub fn announce_initrd(&self, what: &Reservations, log: &mut Log<'_>) {
        let Some(initrd) = what.initrd.filter(|initrd| !initrd.is_empty()) else {
            return;
        };
        log.line(format_args!(
            "RAMDISK: [mem {:#010x}-{:#010x}]",
            initrd.start,
            initrd.end - 1
        ));
        if !self.is_usable(initrd) {
            log.line(format_args!("initrd not fully accessible: disabling initrd"));
        }
    }

    fn is_usable(&self, range: PhysRange) -> bool {
        let usable = self.map.pieces().filter(|piece| piece.kind == RegionKind::Usable);
        let mut at = range.start;
        for piece in usable {
            if piece.range.contains(at) {
                at = piece.range.end;
            }
        }
        at >= range.end
    }

    /// Takes the place of the crash kernel; where there is none, says so and
    /// goes on without.
    ///
    /// # Linux source concept
    /// `reserve_crashkernel()`.
    pub fn reserve_crash_kernel(&mut self, crash: CrashKernel, log: &mut Log<'_>) -> Option<PhysRange> {
        const ALIGN: u64 = 16 << 20;
        let low = match self.kind {
            MachineKind::X86_64 { .. } => PhysAddr::new(1 << 32),
            MachineKind::I386 { .. } => PhysAddr::new(512 << 20),
        };
        let anywhere = BootRequest::new(crash.size, ALIGN);
        let found = match crash.at {
            Some(at) => {
                let range = PhysRange::sized(at, crash.size)?;
                let free = self.memblock.is_memory(range) && !self.memblock.is_reserved(range);
                let taken = free && self.memblock.reserve(range).is_ok();
                taken.then_some(range)
            }
            None => {
                let below = anywhere.inside(PhysRange::new(PhysAddr::new(ALIGN), low));
                self.memblock
                    .alloc(below)
                    .or_else(|_| self.memblock.alloc(anywhere))
                    .ok()
            }
        };
        self.announce_crash_kernel(crash, found, log);
        found
    }

    fn announce_crash_kernel(&self, crash: CrashKernel, found: Option<PhysRange>, log: &mut Log<'_>) {
        match (self.dialect, found) {
            (Dialect::Linux618, Some(range)) => log.line(format_args!(
                "crashkernel reserved: {:#018x} - {:#018x} ({} MB)",
                range.start,
                range.end,
                range.len() >> 20
            )),
            (Dialect::Linux618, None) => {
                log.line(format_args!(
                    "cannot allocate crashkernel (size:{:#x})",
                    crash.size
                ));
            }
            (Dialect::Linux44, Some(range)) => log.line(format_args!(
                "Reserving {}MB of memory at {}MB for crashkernel (System RAM: {}MB)",
                range.len() >> 20,
                range.start.raw() >> 20,
                self.memblock.total() >> 20
            )),
            (Dialect::Linux44, None) => {
                log.line(format_args!(
                    "crashkernel reservation failed - No suitable area found."
                ));
            }
        }
    }
}
