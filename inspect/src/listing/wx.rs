//! Mappings of the kernel that are both writable and executable.

use std::fmt;
use std::ops::ControlFlow;

use foliant_arch::EntryMemory;
use foliant_units::VirtAddr;

use super::mapping::ListError;
use super::tables::Tables;
use crate::root::TableFormat;

/// Bytes of the pages that Linux counts in.
const PAGE: u64 = 4096;

/// What a check found. As text it is the line that Linux prints at the end of
/// its boot.
///
/// # Linux source concept
/// `ptdump_walk_pgd_level_checkwx()`, arch/x86/mm/dump_pagetables.c, and
/// `ptdump_check_wx()`, arch/arm64/mm/ptdump.c. Differs: with PAE, too, where
/// the top entries have no right to write and Linux never finds anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WxCheck {
    /// Pages of 4 KiB that are both.
    pub pages: u64,
    /// The first of them.
    pub first: Option<VirtAddr>,
    arm: bool,
}

impl WxCheck {
    /// Whether there are none.
    pub fn passed(&self) -> bool {
        self.pages == 0
    }
}

impl<M: EntryMemory> Tables<'_, M> {
    /// Looks for mappings that are both writable and executable.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn check_wx(&self) -> Result<WxCheck, ListError> {
        let mut check = WxCheck {
            pages: 0,
            first: None,
            arm: !matches!(
                self.root.format,
                TableFormat::X86Legacy
                    | TableFormat::X86Pae
                    | TableFormat::X86_64
                    | TableFormat::X86_64La57
                    | TableFormat::Ept
                    | TableFormat::Npt
            ),
        };
        self.list(|mapping| {
            if mapping.can.write && mapping.can.execute {
                check.pages += mapping.len / PAGE;
                check.first.get_or_insert(mapping.start);
            }
            ControlFlow::Continue(())
        })?;
        Ok(check)
    }
}

impl fmt::Display for WxCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, stop) = if self.arm { ("", "") } else { ("x86/mm: ", ".") };
        match (self.pages, self.arm) {
            (0, _) => write!(f, "{who}Checked W+X mappings: passed, no W+X pages found{stop}"),
            (pages, _) => write!(
                f,
                "{who}Checked W+X mappings: FAILED, {pages} W+X pages found{stop}"
            ),
        }
    }
}
