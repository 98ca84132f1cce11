//! The heap.

use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange, VpnRange};

use super::page_align;
use super::place::start_with_guard;
use crate::flags::VmFlags;
use crate::layout::STACK_GUARD;
use crate::map::Change;
use crate::merge::Draft;
use crate::vma::{Backing, Source};
use crate::work::PageWork;

const DATA: VmFlags = VmFlags::READ
    .union(VmFlags::WRITE)
    .union(VmFlags::MAYREAD)
    .union(VmFlags::MAYWRITE)
    .union(VmFlags::MAYEXEC)
    .union(VmFlags::ACCOUNT);

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Moves the end of the heap. The end afterwards, which is the old one if
    /// that could not be, and a range to populate.
    ///
    /// # Linux source concept
    /// `sys_brk()`.
    pub fn brk(&mut self, to: VirtAddr) -> (VirtAddr, Option<VpnRange>) {
        match self.move_break(to) {
            Ok(grown) => {
                self.book.layout.heap.end = to;
                let locked = self.book.future.contains(VmFlags::LOCKED);
                (to, grown.filter(|_| locked))
            }
            Err(_) => (self.book.layout.heap.end, None),
        }
    }

    fn move_break(&mut self, to: VirtAddr) -> Result<Option<VpnRange>, Errno> {
        let layout = &self.book.layout;
        let heap = layout.heap;
        if to < heap.start {
            return Err(Errno::INVAL);
        }
        let size = (to - heap.start).saturating_add(layout.data.end - layout.data.start);
        if size > self.book.limits.data {
            return Err(Errno::NOMEM);
        }
        let new = VirtAddr::new(page_align(to.raw()));
        let old = VirtAddr::new(page_align(heap.end.raw()));
        if new == old {
            return Ok(None);
        }
        if to <= heap.end {
            return self.shrink_heap(VirtRange::new(new, old).pages()).map(|()| None);
        }
        let grown = VirtRange::new(old, new).pages();
        self.grow_heap(grown)?;
        Ok(Some(grown))
    }

    fn shrink_heap(&mut self, given_up: VpnRange) -> Result<(), Errno> {
        if !self.tree.overlaps(given_up) {
            return Err(Errno::INVAL);
        }
        self.unmap(given_up)
    }

    /// # Linux source concept
    /// `do_brk_flags()`.
    fn grow_heap(&mut self, range: VpnRange) -> Result<(), Errno> {
        let end = range.bytes().end;
        let flags = DATA | self.book.future;
        let lowest = self.book.limits.lowest;
        if end > self.book.layout.end || range.bytes().start.raw() < lowest {
            return Err(Errno::NOMEM);
        }
        if !self.book.may_lock_more(self.book.future, range.len()) {
            return Err(Errno::AGAIN);
        }
        // One page stays free below the next VMA.
        let next = self.tree.at_or_above(range.start);
        let room = end.checked_add(PAGE_SIZE as u64).ok_or(Errno::NOMEM)?;
        let near = room.checked_add(STACK_GUARD).unwrap_or(room);
        if next.is_some_and(|next| next.range.start.base() < near && room > start_with_guard(next)) {
            return Err(Errno::NOMEM);
        }
        let crowded = self.tree.len() > self.book.limits.vmas;
        if crowded || !self.book.may_expand(flags, range.len()) || !self.work.may_commit(range.len()) {
            return Err(Errno::NOMEM);
        }
        // What ends where the heap begins, as the bss of a static program, stays apart.
        let start = self.book.layout.heap.start;
        let left = self.tree.below(range.start).cloned();
        let left = left.filter(|left| left.range.end.base() > start);
        let draft = Draft {
            range,
            flags,
            pgoff: range.start.raw(),
            source: Source::Anonymous,
            name: None,
            family: None,
        };
        self.place_behind(left, draft)?;
        self.book.usage.add(flags, range.len());
        if flags.contains(VmFlags::LOCKED) {
            self.book.usage.locked += range.len();
        }
        Ok(())
    }
}
