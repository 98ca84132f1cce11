//! Every entry of some tables, in the order and at the levels in which Linux's
//! page walk meets them.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use foliant_arch::arm64::Half;
use foliant_arch::{Above, Entry, EntryMemory, Format, Level, Next};
use foliant_units::{PhysAddr, VirtAddr};

use super::super::describe::Describe;
use super::super::mapping::in_half;

/// Accessed and dirty: an erratum of some processors sets them in entries that
/// say nothing else.
const STRAY: u64 = 0x60;
/// Marks a large page of x86, even one that is not present.
const LARGE: u64 = 0x80;
/// Top-level entries above the hole of x86-64 that belong to a hypervisor.
const HYPERVISOR: usize = 16;

/// What a sweep meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// First address.
    pub(super) at: u64,
    /// Linux's name of the level.
    pub(super) level: Level,
    /// The entry; zero for a hole.
    pub(super) word: u64,
    /// The bits of x86 that allow and forbid, of all levels together.
    pub(super) rights: u64,
}

/// How a sweep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Swept {
    /// Everything was met.
    All,
    /// Whoever looks had enough.
    Stopped,
    /// More tables were met than there can be.
    TooMany,
    /// There is no top table.
    Nowhere,
}

/// User and write of all levels.
const ALLOW: u64 = 0b110;
/// No-execute of any level.
const FORBID: u64 = 1 << 63;

pub(super) fn narrow(above: u64, word: u64) -> u64 {
    (above & word & ALLOW) | ((above | word) & FORBID)
}

/// A sweep under way.
pub(super) struct Sweep<'a, F: Format, M, N> {
    pub(super) memory: &'a M,
    pub(super) control: &'a F::Control,
    pub(super) half: Half,
    /// Tables that may still be read.
    pub(super) left: u64,
    /// Shown everything, until it breaks off.
    pub(super) note: N,
}

/// A table and what leads to it.
struct Via<F> {
    table: PhysAddr,
    level: Level,
    /// Translated bits of its first address.
    base: u64,
    rights: u64,
    format: PhantomData<F>,
}

impl<F: Describe, M: EntryMemory, N: FnMut(Seen) -> ControlFlow<()>> Sweep<'_, F, M, N> {
    pub(super) fn all(&mut self, root: PhysAddr) -> Swept {
        let top = Via {
            table: root,
            level: F::GEOMETRY.top(),
            base: 0,
            rights: ALLOW,
            format: PhantomData::<F>,
        };
        if !self.has(&top) {
            return Swept::Nowhere;
        }
        match self.table(&top) {
            ControlFlow::Continue(()) => Swept::All,
            ControlFlow::Break(how) => how,
        }
    }

    fn has(&self, via: &Via<F>) -> bool {
        let bytes = F::GEOMETRY.entries(via.level) as u64 * F::GEOMETRY.entry_bytes;
        self.memory.has(via.table, bytes)
    }

    fn table(&mut self, via: &Via<F>) -> ControlFlow<Swept> {
        let Some(left) = self.left.checked_sub(1) else {
            return ControlFlow::Break(Swept::TooMany);
        };
        self.left = left;
        let (memory, count) = (self.memory, F::GEOMETRY.entries(via.level));
        let is_hypervisors = |index| {
            let both = F::GEOMETRY.above == Above::Sign && via.level == F::GEOMETRY.top();
            both && (count / 2..count / 2 + HYPERVISOR).contains(&index)
        };
        memory.for_each(via.table, F::GEOMETRY.entry_bytes, count, |index, word| {
            if word == 0 && is_hypervisors(index) {
                return ControlFlow::Continue(());
            }
            let base = via.base + index as u64 * F::GEOMETRY.entry_span(via.level);
            self.entry(via, base, word)
        })
    }

    fn entry(&mut self, via: &Via<F>, base: u64, word: u64) -> ControlFlow<Swept> {
        let level = via.level;
        let rights = narrow(via.rights, word);
        let none = if F::ARM_TEXT {
            word == 0
        } else {
            word & !STRAY == 0
        };
        if level == Level::PTE {
            return self.show(base, level, word, rights);
        }
        if none {
            return self.show(base, F::linux_level(level, false), 0, 0);
        }
        let entry = F::Entry::from_raw(word);
        if !entry.is_present() {
            // Linux passes over it, and counts its addresses with those before.
            let large = !F::ARM_TEXT && word & LARGE != 0;
            return if large {
                self.show(base, F::linux_level(level, true), word, rights)
            } else {
                ControlFlow::Continue(())
            };
        }
        let (Next::Table(table), Some(below)) =
            (F::follow(entry, level, self.control), F::GEOMETRY.below(level))
        else {
            return self.show(base, F::linux_level(level, true), word, rights);
        };
        let next = Via {
            table,
            level: below,
            base,
            rights,
            format: PhantomData,
        };
        if self.has(&next) {
            self.table(&next)
        } else {
            self.show(base, F::linux_level(level, false), 0, 0)
        }
    }

    fn show(&mut self, base: u64, level: Level, word: u64, rights: u64) -> ControlFlow<Swept> {
        let at = F::GEOMETRY.extend(VirtAddr::new(base));
        let seen = Seen {
            at: in_half::<F>(at, self.half).raw(),
            level,
            word,
            rights: if word == 0 { 0 } else { rights },
        };
        match (self.note)(seen) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Swept::Stopped),
        }
    }
}
