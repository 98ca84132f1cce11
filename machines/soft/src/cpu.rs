//! One CPU: its TLB, the space it runs, and what it has seen of flushes.

use std::sync::Arc;

use foliant_arch::tlb::{Answer, Pcid, Tlb, TlbConfig, TlbEntry, TlbStats};
use foliant_arch::x86_64::{Control, LongMode};
use foliant_arch::{Access, Fault, Level, Start, walk_noting};
use foliant_platform::{CpuId, Flush, FourLevels, Levels};
use foliant_units::VirtAddr;

use crate::machine::SoftMachineOf;
use crate::running::{AddressSpace, Running};
use crate::space::SpaceState;

/// What a CPU is, apart from the thread that plays it. Its lock is what makes
/// an access, a walk or a shoot-down one indivisible step of this CPU.
#[derive(Debug)]
pub(crate) struct CpuState<L: Levels> {
    tlb: Tlb<LongMode<L>>,
    loaded: Option<Arc<SpaceState>>,
    /// Whether the loaded space is only kept because nobody needed another.
    lazy: bool,
    /// The generation that this CPU's entries of each tag are up to.
    seen: Vec<u64>,
}

/// What a CPU did about a shoot-down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reaction {
    /// It dropped what was named.
    Dropped,
    /// It dropped the whole tag, because it had missed an earlier one.
    CaughtUp,
    /// It does not run the space, and will see when it does.
    Deferred,
}

impl<L: Levels> CpuState<L> {
    pub(crate) fn new(config: TlbConfig, tags: usize) -> Self {
        Self {
            tlb: Tlb::new(config),
            loaded: None,
            lazy: false,
            seen: vec![0; tags],
        }
    }

    /// Loads a space into CR3.
    pub(crate) fn load(&mut self, space: &Arc<SpaceState>) {
        let now = space.generation();
        let seen = &mut self.seen[usize::from(space.tag.0)];
        if *seen != now {
            self.tlb.flush_tag(space.tag);
            *seen = now;
        }
        self.loaded = Some(space.clone());
        self.lazy = false;
    }

    /// Leaves the space loaded but lazily: its flushes pass this CPU by.
    pub(crate) fn go_lazy(&mut self) {
        self.lazy = true;
    }

    /// The space is gone: its tag means nothing any more.
    pub(crate) fn forget_space(&mut self, tag: Pcid) {
        if self.loaded.as_ref().is_some_and(|space| space.tag == tag) {
            self.loaded = None;
        }
        self.tlb.flush_tag(tag);
        self.seen[usize::from(tag.0)] = 0;
    }

    /// A shoot-down arrives, the `generation`th of its space.
    ///
    /// # Linux source concept
    /// `flush_tlb_func()`.
    pub(crate) fn shoot_down(&mut self, space: &SpaceState, generation: u64, what: Flush<'_>) -> Reaction {
        let running = self.loaded.as_ref().is_some_and(|loaded| loaded.tag == space.tag);
        if !running || self.lazy {
            return Reaction::Deferred;
        }
        let seen = &mut self.seen[usize::from(space.tag.0)];
        if *seen >= generation {
            // A later flusher was here first and found that this one was missing.
            return Reaction::CaughtUp;
        }
        if *seen + 1 < generation {
            *seen = space.generation();
            self.tlb.flush_tag(space.tag);
            return Reaction::CaughtUp;
        }
        *seen = generation;
        for &pages in what.ranges {
            self.tlb.flush_range(space.tag, pages, what.tables_freed);
        }
        Reaction::Dropped
    }

    /// A shoot-down of the kernel's translations arrives, which are in every space.
    pub(crate) fn shoot_down_kernel(&mut self, what: Flush<'_>) {
        for &pages in what.ranges {
            self.tlb.flush_everywhere(pages, what.tables_freed);
        }
    }

    /// The kernel's tables are gone, and with them what all spaces had in common.
    pub(crate) fn forget_kernel(&mut self) {
        self.tlb.flush_all();
    }

    /// Translates one address of the loaded space as the processor does.
    pub(crate) fn translate(
        &mut self,
        machine: &SoftMachineOf<L>,
        at: VirtAddr,
        access: Access,
        control: &Control,
    ) -> Result<TlbEntry<LongMode<L>>, Fault> {
        let Some(space) = self.loaded.clone() else {
            return Err(Fault::NonCanonical(at));
        };
        match self.tlb.look_up(space.tag, space.root, at, access, control) {
            Answer::Hit(entry) => Ok(entry),
            Answer::Refused(fault) => Err(Fault::Page(fault)),
            Answer::Miss(start) => {
                let mut way = [None; Level::COUNT];
                let note = |table: Start<_>| way[table.level.index()] = Some(table);
                let found = walk_noting(machine, start, at, access, control, note)?;
                // A walk that had to start again may have come further down before.
                let passed = way.into_iter().skip(found.via.level.index()).flatten();
                passed.for_each(|table| self.tlb.pass(space.tag, at.page(), table));
                Ok(self.tlb.fill(space.tag, &found))
            }
        }
    }

    pub(crate) fn tlb(&self) -> &Tlb<LongMode<L>> {
        &self.tlb
    }

    /// Whether this CPU's entries of `space` are all that they should be.
    pub(crate) fn is_up_to_date(&self, space: &SpaceState) -> bool {
        self.seen[usize::from(space.tag.0)] == space.generation()
    }
}

/// A CPU, played by the thread that has this.
#[derive(Debug)]
pub struct Cpu<'m, L: Levels = FourLevels> {
    machine: &'m SoftMachineOf<L>,
    id: CpuId,
}

impl<'m, L: Levels> Cpu<'m, L> {
    pub(crate) fn new(machine: &'m SoftMachineOf<L>, id: CpuId) -> Self {
        Self { machine, id }
    }

    /// Its number.
    pub fn id(&self) -> CpuId {
        self.id
    }

    /// The machine it is part of.
    pub fn machine(&self) -> &'m SoftMachineOf<L> {
        self.machine
    }

    /// What its TLB did so far.
    pub fn tlb_stats(&self) -> TlbStats {
        self.machine.cpu_state(self.id).lock().tlb().stats()
    }

    /// Runs in `space` until the result is dropped.
    pub fn enter<'c, A: AddressSpace<L>>(&'c mut self, space: &'c A) -> Running<'c, A, L> {
        self.machine
            .cpu_state(self.id)
            .lock()
            .load(space.context().space());
        Running::new(self.machine, self.id, space)
    }
}
