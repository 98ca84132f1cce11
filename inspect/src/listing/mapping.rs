//! All mappings of some tables, neighbours that are alike taken together.

use std::ops::ControlFlow;

use foliant_arch::arm64::Half;
use foliant_arch::{Ended, Entry, EntryMemory, Found, Level, Translation, survey};
use foliant_units::{PhysAddr, VirtAddr};
use thiserror::Error;

use super::describe::{Can, Describe};
use super::tables::Tables;
use crate::with_format;

/// A run of pages of one size with the same entry but for the address, mapped
/// to memory in one piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub start: VirtAddr,
    /// Where it is in memory.
    pub memory: PhysAddr,
    /// Bytes.
    pub len: u64,
    /// Bytes of one page.
    pub page: u64,
    /// What Linux calls the level.
    pub level: &'static str,
    /// What the entries say.
    pub words: String,
    /// What all levels together allow.
    pub can: Can,
}

impl Mapping {
    /// The last address.
    pub fn last(&self) -> VirtAddr {
        VirtAddr::new(self.start.raw().wrapping_add(self.len - 1))
    }
}

/// A run in the making, and what its entries are compared by.
struct Run {
    mapping: Mapping,
    level: Level,
    flags: u64,
}

impl Run {
    fn begin<F: Describe>(leaf: &Translation<F>, half: Half, control: &F::Control) -> Self {
        let page = F::GEOMETRY.entry_span(leaf.level);
        let mapping = Mapping {
            start: in_half::<F>(leaf.page.base(), half),
            memory: leaf.frame.base(),
            len: page,
            page,
            level: F::linux_level(leaf.level, true).name(),
            words: F::words(leaf.leaf, leaf.level),
            can: F::can(leaf.rights, control),
        };
        Self {
            mapping,
            level: leaf.level,
            flags: leaf.leaf.raw() & flags::<F>(leaf.level),
        }
    }

    /// Whether `leaf` goes on where this ends, and is like it.
    fn goes_on_with<F: Describe>(&self, leaf: &Translation<F>, half: Half, control: &F::Control) -> bool {
        let run = &self.mapping;
        leaf.level == self.level
            && leaf.leaf.raw() & flags::<F>(leaf.level) == self.flags
            && run.start.raw().wrapping_add(run.len) == in_half::<F>(leaf.page.base(), half).raw()
            && run.memory.raw() + run.len == leaf.frame.base().raw()
            && F::can(leaf.rights, control) == run.can
    }
}

/// The bits of a leaf that are not its address.
fn flags<F: Describe>(level: Level) -> u64 {
    let address = (1 << 52) - F::GEOMETRY.entry_span(Level::PTE);
    // The lowest address bit of a large leaf of x86 is its PAT bit.
    let pat = if level == Level::PTE || F::ARM_TEXT {
        0
    } else {
        1 << 12
    };
    // Bits 50 and 51 of arm64 are no address bits, except with 52-bit
    // addresses, whose highest bits are lower.
    let kept = if F::ARM_TEXT { 3 << 50 } else { 0 };
    !address | pat | kept
}

/// Why tables cannot be listed to their end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// There are more tables than the machine has frames.
    #[error("the tables lead in circles: there are more of them than frames")]
    Circles,
    /// The top table is not in memory.
    #[error("there is no memory where the top table should be")]
    Nowhere,
}

impl<M: EntryMemory> Tables<'_, M> {
    /// Shows `each` every run of mappings, in ascending order.
    ///
    /// # Errors
    /// If tables lead in circles, or are not there.
    pub fn list(&self, mut each: impl FnMut(Mapping) -> ControlFlow<()>) -> Result<(), ListError> {
        let (root, half) = (self.root, self.half);
        let mut pending: Option<Run> = None;
        let mut nowhere = false;
        let ended = with_format!(root, F, control => {
            survey::<F>(self.memory, root.table, control, self.most, |found| match found {
                Found::Leaf(leaf) => {
                    match &mut pending {
                        Some(run) if run.goes_on_with::<F>(&leaf, half, control) => {
                            run.mapping.len += run.mapping.page;
                        }
                        other => {
                            if let Some(run) = other.replace(Run::begin::<F>(&leaf, half, control)) {
                                return each(run.mapping);
                            }
                        }
                    }
                    ControlFlow::Continue(())
                }
                Found::Nowhere { level, .. } => {
                    nowhere |= level == foliant_arch::Level::PGD;
                    ControlFlow::Continue(())
                }
                Found::Reserved { .. } => ControlFlow::Continue(()),
            })
        });
        if let (Some(run), Ended::Complete) = (pending, ended) {
            let _last = each(run.mapping);
        }
        match ended {
            Ended::TooMany => Err(ListError::Circles),
            _ if nowhere => Err(ListError::Nowhere),
            _ => Ok(()),
        }
    }
}

/// The address of `half` whose translated bits are those of `at`.
pub(super) fn in_half<F: Describe>(at: VirtAddr, half: Half) -> VirtAddr {
    match (F::GEOMETRY.above, half) {
        (foliant_arch::Above::Half, Half::High) => {
            VirtAddr::new(at.raw() | !0u64 << F::GEOMETRY.address_bits)
        }
        _ => at,
    }
}
