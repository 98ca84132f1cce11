//! Faults in the vmalloc space.

use core::fmt;

use alloc::boxed::Box;

use foliant_arch::{ErrorCode, KernelFormat, PageFault};
use foliant_paging::PageTables;
use foliant_platform::Mmu;
use foliant_units::VirtAddr;

use super::area::{AreaInfo, AreaState};
use super::memory::Vmalloc;
use crate::direct::copy_top;

/// An access of the kernel that nothing can make right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadAccess {
    /// The address.
    pub at: VirtAddr,
    /// What was tried.
    pub code: ErrorCode,
    /// The area that it concerns, if there is or was one.
    pub area: Option<Box<AreaInfo>>,
}

impl<P: Mmu, F: KernelFormat> Vmalloc<P, F> {
    /// Resolves a fault of the kernel at an address of this space, taken in the
    /// space that `running` are the tables of: if that space has not seen the
    /// top entry yet, it gets it, and the access is tried again.
    ///
    /// # Errors
    /// The access is wrong; its description names the area.
    ///
    /// # Linux source concept
    /// `vmalloc_fault()`, `bad_area()`.
    pub fn fault(&self, fault: PageFault, running: &PageTables<P, F>) -> Result<(), BadAccess> {
        if self.space.range().contains(fault.at.page()) && copy_top(&self.tables, fault, running) {
            return Ok(());
        }
        Err(self.blame(fault))
    }

    /// Describes an access that is wrong.
    pub fn blame(&self, fault: PageFault) -> BadAccess {
        BadAccess {
            at: fault.at,
            code: fault.code,
            area: self.find_area(fault.at).map(Box::new),
        }
    }
}

impl fmt::Display for BadAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.code.contains(ErrorCode::WRITE) {
            "write"
        } else if self.code.contains(ErrorCode::FETCH) {
            "instruction fetch"
        } else {
            "read"
        };
        let mode = if self.code.contains(ErrorCode::USER) {
            "user"
        } else {
            "kernel"
        };
        write!(f, "bad {mode} {kind} at {:#018x}: ", self.at.raw())?;
        match &self.area {
            None => f.write_str("no area is there"),
            Some(area) => match area.state {
                AreaState::Unpurged | AreaState::Gone => write!(f, "use after free of {area}"),
                AreaState::InUse if area.is_guard(self.at) => {
                    let past = self.at - area.usable().end;
                    write!(f, "guard page, {past} bytes past the end of {area}")
                }
                AreaState::InUse if self.code.contains(ErrorCode::PROTECTION) => {
                    write!(f, "not permitted in {area}")
                }
                AreaState::InUse => write!(f, "nothing is mapped there in {area}"),
            },
        }
    }
}

impl core::error::Error for BadAccess {}
