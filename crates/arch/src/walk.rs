//! The walk that a processor does when its TLB has no answer.

use core::ops::ControlFlow;

use foliant_units::{Pfn, PhysAddr, VirtAddr, Vpn};

use crate::access::{Access, AccessKind, ErrorCode, Fault, PageFault};
use crate::format::{Entry, Format, Next, Refusal};
use crate::level::Level;

/// Physical memory as the walker sees it: words of 4 or 8 bytes, read and
/// exchanged in one piece. A place without memory reads as all ones.
pub trait EntryMemory {
    /// The word of `bytes` bytes at `at`.
    fn load(&self, at: PhysAddr, bytes: u64) -> u64;

    /// Puts `new` where `old` is.
    ///
    /// # Errors
    /// What was there instead.
    fn compare_exchange(&self, at: PhysAddr, bytes: u64, old: u64, new: u64) -> Result<(), u64>;

    /// Whether there is memory at all of the `bytes` bytes at `at`.
    fn has(&self, _at: PhysAddr, _bytes: u64) -> bool {
        true
    }

    /// Shows `each` the `count` words of `bytes` bytes at `at` in order, with
    /// their index, until it breaks off. For those who read whole tables.
    fn for_each<B>(
        &self,
        at: PhysAddr,
        bytes: u64,
        count: usize,
        mut each: impl FnMut(usize, u64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for index in 0..count {
            each(index, self.load(at + index as u64 * bytes, bytes))?;
        }
        ControlFlow::Continue(())
    }
}

/// A point of a walk from which it can go on: what a paging-structure cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start<F: Format> {
    /// The table to read next.
    pub table: PhysAddr,
    /// Its level.
    pub level: Level,
    /// What the levels above allow.
    pub rights: F::Rights,
}

impl<F: Format> Start<F> {
    /// The start of every walk of the space whose top table is at `root`.
    pub const fn root(root: PhysAddr) -> Self {
        Self {
            table: root,
            level: F::GEOMETRY.top(),
            rights: F::OPEN,
        }
    }
}

/// A successful walk: what a TLB entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation<F: Format> {
    /// The first page of the translation.
    pub page: Vpn,
    /// The first frame of the translation.
    pub frame: Pfn,
    /// The level of the leaf, which is its size.
    pub level: Level,
    /// What all levels together allow.
    pub rights: F::Rights,
    /// The leaf as the walk left it.
    pub leaf: F::Entry,
    /// The table that holds the leaf, for the paging-structure cache.
    pub via: Start<F>,
}

impl<F: Format> Translation<F> {
    /// The physical address of `at`, which lies inside.
    pub fn address(&self, at: VirtAddr) -> PhysAddr {
        self.frame.base() + (at - self.page.base())
    }

    /// The frame of `page`, which lies inside.
    pub fn frame_of(&self, page: Vpn) -> Pfn {
        self.frame + (page - self.page)
    }
}

/// The entries a walk used, so that their accessed bits can be set at its end.
struct Used<F: Format> {
    slots: [(PhysAddr, F::Entry, Level); Level::COUNT],
    len: usize,
}

impl<F: Format> Used<F> {
    const NONE: Self = Self {
        slots: [(PhysAddr::ZERO, F::Entry::EMPTY, Level::PTE); Level::COUNT],
        len: 0,
    };
}

/// Translates `at` for `access` from the table at `root`, as the processor does.
///
/// Accessed bits are set on every entry used and the dirty bit on the leaf of a
/// write, each by compare-exchange and only if the access succeeds. (A processor
/// may also set accessed bits on the way to a fault; none sets a dirty bit.)
///
/// # Errors
/// The fault that the processor would raise.
pub fn walk<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    at: VirtAddr,
    access: Access,
    control: &F::Control,
) -> Result<Translation<F>, Fault> {
    walk_from::<F>(memory, Start::root(root), at, access, control)
}

/// As [`walk()`], from a point inside the tables.
///
/// # Errors
/// The fault that the processor would raise.
pub fn walk_from<F: Format>(
    memory: &impl EntryMemory,
    start: Start<F>,
    at: VirtAddr,
    access: Access,
    control: &F::Control,
) -> Result<Translation<F>, Fault> {
    walk_noting(memory, start, at, access, control, |_| {})
}

/// As [`walk_from`]; `passed` is told of each table that a link led to, for
/// paging-structure caches. Of a walk that fails, nothing is to be kept.
///
/// # Errors
/// The fault that the processor would raise.
pub fn walk_noting<F: Format>(
    memory: &impl EntryMemory,
    start: Start<F>,
    at: VirtAddr,
    access: Access,
    control: &F::Control,
    mut passed: impl FnMut(Start<F>),
) -> Result<Translation<F>, Fault> {
    if !F::GEOMETRY.accepts(at) {
        return Err(Fault::NonCanonical(at));
    }
    let fault = |extra: ErrorCode| {
        let code = F::describe(access, control) | extra;
        Fault::Page(PageFault { at, code })
    };
    loop {
        let mut used = Used::NONE;
        let found = descend(memory, start, at, control, &mut used, &mut passed).map_err(fault)?;
        F::permit(found.rights, access, control)
            .map_err(|Refusal(reason)| fault(reason | ErrorCode::PROTECTION))?;
        // An entry that changed under the walk makes it start again.
        if let Some(leaf) = touch(memory, &used, access, control) {
            return Ok(Translation { leaf, ..found });
        }
    }
}

/// What the tables say about `at` now, without asking for rights and without
/// leaving a trace: for checks and for show.
pub fn peek<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    at: VirtAddr,
    control: &F::Control,
) -> Option<Translation<F>> {
    if !F::GEOMETRY.accepts(at) {
        return None;
    }
    let mut used = Used::NONE;
    descend(memory, Start::root(root), at, control, &mut used, &mut |_| {}).ok()
}

/// Where the leaf table for `page` lies now, if all tables above it are there.
pub fn leaf_table<F: Format>(memory: &impl EntryMemory, root: PhysAddr, page: Vpn) -> Option<PhysAddr> {
    table_at::<F>(memory, root, page, Level::PTE)
}

/// Where the table of level `wanted` for `page` lies now, if it is there.
pub fn table_at<F: Format>(
    memory: &impl EntryMemory,
    root: PhysAddr,
    page: Vpn,
    wanted: Level,
) -> Option<PhysAddr> {
    let geometry = &F::GEOMETRY;
    let (mut table, mut level) = (root, geometry.top());
    while level > wanted {
        let slot = geometry.slot(table, geometry.index(level, page));
        let entry = F::Entry::from_raw(memory.load(slot, geometry.entry_bytes));
        if !entry.is_table(level) {
            return None;
        }
        (table, level) = (entry.target(level), geometry.below(level)?);
    }
    Some(table)
}

/// Reads down to the leaf; fails with the bits of the error code that tell why.
fn descend<F: Format>(
    memory: &impl EntryMemory,
    start: Start<F>,
    at: VirtAddr,
    control: &F::Control,
    used: &mut Used<F>,
    passed: &mut impl FnMut(Start<F>),
) -> Result<Translation<F>, ErrorCode> {
    let geometry = &F::GEOMETRY;
    let mut via = start;
    loop {
        let slot = geometry.slot(via.table, geometry.index(via.level, at.page()));
        let entry = F::Entry::from_raw(memory.load(slot, geometry.entry_bytes));
        if !entry.is_present() {
            return Err(ErrorCode::empty());
        }
        if F::is_reserved(entry, via.level, control) {
            return Err(ErrorCode::PROTECTION | ErrorCode::RESERVED);
        }
        used.slots[used.len] = (slot, entry, via.level);
        used.len += 1;
        let rights = F::narrow(via.rights, entry, via.level);
        let memory_at = match (F::follow(entry, via.level, control), geometry.below(via.level)) {
            (Next::Table(table), Some(level)) => {
                via = Start { table, level, rights };
                passed(via);
                continue;
            }
            (Next::Table(target) | Next::Memory(target), _) => target,
        };
        return Ok(Translation {
            page: geometry.entry_range(via.level, at.page()).start,
            frame: memory_at.frame(),
            level: via.level,
            rights,
            leaf: entry,
            via,
        });
    }
}

/// Sets the accessed and dirty bits of a walk; gives the leaf as it then is, or
/// `None` if an entry is no longer what the walk saw.
fn touch<F: Format>(
    memory: &impl EntryMemory,
    used: &Used<F>,
    access: Access,
    control: &F::Control,
) -> Option<F::Entry> {
    let mut last = F::Entry::EMPTY;
    for (nth, &(slot, entry, level)) in used.slots[..used.len].iter().enumerate() {
        let is_leaf = nth + 1 == used.len;
        last = F::touch(entry, level, is_leaf && access.kind == AccessKind::Write, control);
        if last != entry {
            memory
                .compare_exchange(slot, F::GEOMETRY.entry_bytes, entry.raw(), last.raw())
                .ok()?;
        }
    }
    Some(last)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
