//! Where a mapping goes that did not say exactly where.

use foliant_units::{Errno, PAGE_SIZE, PageSize, VirtAddr, VirtRange, Vpn};

use super::map::FilePlacement;
use crate::flags::VmFlags;
use crate::layout::{Growth, STACK_GUARD};
use crate::map::Change;
use crate::tree::{Direction, GapRequest};
use crate::vma::{Backing, Vma};
use crate::work::PageWork;

/// A range of addresses wanted.
///
/// # Units
/// Bytes, multiples of the page size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Exactly here, or a hint; zero is no hint.
    pub(crate) at: VirtAddr,
    pub(crate) len: u64,
    /// Offset in the object that `at` is to show.
    pub(crate) offset: u64,
    pub(crate) fixed: bool,
    /// `MAP_32BIT`: between 1 and 2 GiB.
    pub(crate) low: bool,
    /// `MAP_ABOVE4G`.
    pub(crate) above_4g: bool,
    pub(crate) alignment: Alignment,
}

impl Wanted {
    /// Anywhere.
    pub(crate) const fn anywhere(len: u64) -> Self {
        Self {
            at: VirtAddr::ZERO,
            len,
            offset: 0,
            fixed: false,
            low: false,
            above_4g: false,
            alignment: Alignment::Anonymous,
        }
    }
}

/// Who decides on alignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alignment {
    /// Private anonymous memory: huge if the length is a multiple of 2 MiB.
    Anonymous,
    /// Shared anonymous memory.
    Shmem,
    /// A file.
    File(FilePlacement),
}

const HUGE: u64 = PageSize::Size2M.bytes();

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Finds the addresses.
    ///
    /// # Errors
    /// `NOMEM` where there is no room, `INVAL` for an unaligned fixed address,
    /// `PERM` for one below the lowest.
    ///
    /// # Linux source concept
    /// `__get_unmapped_area()`.
    pub(crate) fn find_room(&self, wanted: Wanted) -> Result<VirtAddr, Errno> {
        let end = self.book.layout.end;
        if wanted.len > end.raw() {
            return Err(Errno::NOMEM);
        }
        let huge = match wanted.alignment {
            Alignment::Anonymous => wanted.at == VirtAddr::ZERO && wanted.len.is_multiple_of(HUGE),
            Alignment::Shmem | Alignment::File(FilePlacement::Shmem) => {
                self.book.layout.huge_shmem && wanted.at == VirtAddr::ZERO
            }
            Alignment::File(FilePlacement::Huge) => true,
            Alignment::File(FilePlacement::Ordinary) => false,
        };
        let aligned = if huge { self.search_huge(wanted) } else { None };
        let at = match aligned {
            Some(at) => at,
            None => self.search(wanted)?,
        };
        if at.raw() > end.raw() - wanted.len {
            return Err(Errno::NOMEM);
        }
        if !at.is_aligned() {
            return Err(Errno::INVAL);
        }
        if self.is_reserved(at, wanted.len).is_some() {
            return Err(Errno::NOMEM);
        }
        if at.raw() < self.book.limits.lowest && !self.book.limits.may_map_low {
            return Err(Errno::PERM);
        }
        Ok(at)
    }

    /// So that 2 MiB of the object fall on 2 MiB of addresses; `None` if it is
    /// not worth it or there is no room.
    ///
    /// # Linux source concept
    /// `__thp_get_unmapped_area()`.
    fn search_huge(&self, wanted: Wanted) -> Option<VirtAddr> {
        let end = wanted.offset.checked_add(wanted.len)?;
        let first = wanted.offset.checked_next_multiple_of(HUGE)?;
        if end <= first || end - first < HUGE {
            return None;
        }
        let padded = wanted.len.checked_add(HUGE)?;
        wanted.offset.checked_add(padded)?;
        let found = self
            .search(Wanted {
                len: padded,
                ..wanted
            })
            .ok()?;
        if found == wanted.at {
            return Some(found);
        }
        let shift = wanted.offset.wrapping_sub(found.raw()) & (HUGE - 1);
        if shift == 0 && self.book.layout.growth == Growth::TopDown {
            // The end of the padding, next to what is above.
            return Some(found + HUGE);
        }
        Some(found + shift)
    }

    /// # Linux source concept
    /// `arch_get_unmapped_area_topdown()`.
    fn search(&self, wanted: Wanted) -> Result<VirtAddr, Errno> {
        if wanted.fixed {
            return Ok(wanted.at);
        }
        if wanted.low || self.book.layout.growth == Growth::BottomUp {
            return self.search_up(wanted);
        }
        let layout = &self.book.layout;
        let hint = wanted.at.align_down(PAGE_SIZE as u64);
        if hint != VirtAddr::ZERO && layout.accepts_hint(hint, wanted.len) && self.is_free(hint, wanted.len) {
            return Ok(hint);
        }
        let floor = if wanted.above_4g {
            1 << 32
        } else {
            PAGE_SIZE as u64
        };
        let more = layout.end_for(hint).raw() - layout.end_for(VirtAddr::ZERO).raw();
        let limits = VirtRange::new(VirtAddr::new(floor), layout.mmap_base + more);
        self.gap(limits, wanted.len, Direction::TopDown)
            .or_else(|_| self.search_up(wanted))
    }

    /// # Linux source concept
    /// `arch_get_unmapped_area()`.
    fn search_up(&self, wanted: Wanted) -> Result<VirtAddr, Errno> {
        let layout = &self.book.layout;
        let limits = if wanted.low {
            VirtRange::new(VirtAddr::new(1 << 30), VirtAddr::new(1 << 31))
        } else {
            VirtRange::new(layout.mmap_base_up, layout.end_for(wanted.at))
        };
        if wanted.len > limits.end.raw() {
            return Err(Errno::NOMEM);
        }
        let hint = wanted.at.align_up(PAGE_SIZE as u64).unwrap_or(VirtAddr::ZERO);
        let below_end = limits.end.raw() - wanted.len >= hint.raw();
        if hint != VirtAddr::ZERO && below_end && self.is_free(hint, wanted.len) {
            return Ok(hint);
        }
        let start = if wanted.above_4g {
            limits.start.raw().max(1 << 32)
        } else {
            limits.start.raw()
        };
        self.gap(
            VirtRange::new(VirtAddr::new(start), limits.end),
            wanted.len,
            Direction::BottomUp,
        )
    }

    /// Whether nothing is there, nor a stack that needs it as a guard.
    fn is_free(&self, at: VirtAddr, len: u64) -> bool {
        let Some(end) = at.checked_add(len) else {
            return false;
        };
        end <= self.book.layout.end
            && self.is_reserved(at, len).is_none()
            && self
                .tree
                .at_or_above(at.page())
                .is_none_or(|next| end <= start_with_guard(next))
    }

    /// The machine's own range, if `len` bytes at `at` touch it.
    pub(super) fn is_reserved(&self, at: VirtAddr, len: u64) -> Option<VirtRange> {
        let own = self.book.layout.reserved;
        let end = at.raw().saturating_add(len);
        (own.start.raw() < end && at.raw() < own.end.raw()).then_some(own)
    }

    /// Searches for free pages, away from stacks and from what the machine keeps.
    ///
    /// # Linux source concept
    /// `vm_unmapped_area()`.
    fn gap(&self, limits: VirtRange, len: u64, direction: Direction) -> Result<VirtAddr, Errno> {
        let lowest = self.book.limits.lowest.next_multiple_of(PAGE_SIZE as u64);
        let floor = Vpn::new(limits.start.raw().max(lowest) / PAGE_SIZE as u64);
        let mut limits = foliant_units::VpnRange::new(floor, limits.end.page());
        let pages = len / PAGE_SIZE as u64;
        loop {
            let gap = self
                .tree
                .find_gap(GapRequest {
                    pages,
                    limits,
                    direction,
                })
                .ok_or(Errno::NOMEM)?;
            let found = match direction {
                Direction::TopDown => gap.end - pages,
                Direction::BottomUp => gap.start,
            };
            if let Some(own) = self.is_reserved(found.base(), len) {
                limits = match direction {
                    Direction::TopDown => foliant_units::VpnRange::new(limits.start, own.start.page()),
                    Direction::BottomUp => foliant_units::VpnRange::new(own.end.page(), limits.end),
                };
                continue;
            }
            let guard = self
                .tree
                .at_or_above(gap.end)
                .filter(|next| next.flags.contains(VmFlags::GROWSDOWN))
                .map(|stack| (start_with_guard(stack).page(), stack.range.end));
            let Some((guard, stack_end)) = guard.filter(|(guard, _)| *guard < found + pages) else {
                return Ok(found.base());
            };
            limits = match direction {
                Direction::TopDown => foliant_units::VpnRange::new(limits.start, guard),
                Direction::BottomUp => foliant_units::VpnRange::new(stack_end, limits.end),
            };
        }
    }
}

/// Where a VMA starts, guard pages of a stack included.
///
/// # Linux source concept
/// `vm_start_gap()`.
pub(crate) fn start_with_guard<B: Backing>(vma: &Vma<B>) -> VirtAddr {
    let start = vma.range.start.base();
    if vma.flags.contains(VmFlags::GROWSDOWN) {
        start.checked_sub(STACK_GUARD).unwrap_or(VirtAddr::ZERO)
    } else {
        start
    }
}
