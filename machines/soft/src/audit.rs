//! Finding translations that should be gone.

use foliant_arch::tlb::TlbEntry;
use foliant_arch::x86_64::LongMode;
use foliant_arch::{Entry, Format, Level, Translation, peek};
use foliant_phys::FrameFlags;
use foliant_platform::{CpuId, Flush, Levels};
use foliant_units::{Pfn, VirtAddr, Vpn, VpnRange};

use crate::context::SoftContext;
use crate::cpu::CpuState;
use crate::machine::SoftMachineOf;
use crate::space::SpaceState;

/// How a cached translation differs from the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StaleKind {
    /// The tables translate the page no more.
    Gone,
    /// The tables translate it to another frame.
    OtherFrame,
    /// The tables allow less.
    Rights,
    /// The tables say clean, so a write would not be seen.
    Dirty,
}

/// Something that a correct memory manager does not let happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A CPU has a translation that the tables do not back.
    Stale {
        /// The CPU.
        cpu: CpuId,
        /// The page.
        page: Vpn,
        /// The frame that the CPU would use.
        frame: Pfn,
        /// What is wrong.
        kind: StaleKind,
    },
    /// A CPU would walk a table that is no longer linked there.
    StaleLink {
        /// The CPU.
        cpu: CpuId,
        /// The pages.
        pages: VpnRange,
        /// The table that it would read.
        table: Pfn,
    },
    /// A CPU used a frame that was free.
    UseAfterFree {
        /// The CPU.
        cpu: CpuId,
        /// The address.
        at: VirtAddr,
        /// The frame.
        frame: Pfn,
    },
}

impl<L: Levels> SoftMachineOf<L> {
    /// Compares the TLBs of all CPUs with the tables, and adds what was found
    /// while programs ran. Nobody may be changing tables or running.
    pub fn audit(&self) -> Vec<Violation> {
        let mut found = std::mem::take(&mut *self.violations_list().lock());
        for (number, cpu) in self.cpu_states().iter().enumerate() {
            let cpu = cpu.lock();
            let id = CpuId(number as u32);
            for entry in cpu.tlb().entries() {
                if let Some(space) = self.space_of(&cpu, entry)
                    && let Some(kind) = self.compare(&space, entry)
                {
                    found.push(Violation::Stale {
                        cpu: id,
                        page: entry.page,
                        frame: entry.frame,
                        kind,
                    });
                }
            }
            for (tag, pages, start) in cpu.tlb().links() {
                let Some(space) = self.live_space(&cpu, tag) else {
                    continue;
                };
                if self.table_of(&space, pages.start, start.level) != Some(start.table) {
                    found.push(Violation::StaleLink {
                        cpu: id,
                        pages,
                        table: start.table.frame(),
                    });
                }
            }
        }
        found
    }

    /// Whether a CPU would go wrong without this flush.
    pub(crate) fn is_needed(&self, context: &SoftContext<L>, what: Flush<'_>) -> bool {
        let space = context.space();
        if context.is_kernel() {
            return self.kernel_flush_is_needed(what);
        }
        self.cpu_states().iter().any(|cpu| {
            let cpu = cpu.lock();
            if !cpu.is_up_to_date(space) {
                return false;
            }
            let named = |pages: VpnRange| what.ranges.iter().any(|range| range.overlaps(pages));
            let entries = cpu.tlb().entries().filter(|entry| entry.tag == space.tag);
            let mut entries = entries.filter(|entry| named(entry.range()));
            let mut links = cpu
                .tlb()
                .links()
                .filter(|&(tag, _, _)| what.tables_freed && tag == space.tag);
            entries.any(|entry| self.compare(space, entry).is_some())
                || links.any(|(_, pages, start)| {
                    self.table_of(space, pages.start, start.level) != Some(start.table)
                })
        })
    }

    /// The same for a flush of what all spaces share.
    fn kernel_flush_is_needed(&self, what: Flush<'_>) -> bool {
        self.cpu_states().iter().any(|cpu| {
            let cpu = cpu.lock();
            let named = |pages: VpnRange| what.ranges.iter().any(|range| range.overlaps(pages));
            let mut entries = cpu.tlb().entries().filter(|entry| named(entry.range()));
            entries.any(|entry| {
                let space = self.space_of(&cpu, entry);
                space.is_some_and(|space| self.compare(&space, entry).is_some())
            })
        })
    }

    /// The space whose tables must back an entry: a global one is the kernel's,
    /// whichever space was loaded when it was cached.
    fn space_of(
        &self,
        cpu: &CpuState<L>,
        entry: &TlbEntry<LongMode<L>>,
    ) -> Option<std::sync::Arc<SpaceState>> {
        if entry.global
            && let Some(kernel) = self.kernel()
        {
            return Some(kernel);
        }
        self.live_space(cpu, entry.tag)
    }

    /// The space of a tag whose entries in `cpu` will be used as they are.
    fn live_space(
        &self,
        cpu: &CpuState<L>,
        tag: foliant_arch::tlb::Pcid,
    ) -> Option<std::sync::Arc<SpaceState>> {
        let tags = self.tags().lock();
        tags.get(tag).filter(|space| cpu.is_up_to_date(space)).cloned()
    }

    fn now(&self, space: &SpaceState, page: Vpn) -> Option<Translation<LongMode<L>>> {
        peek::<LongMode<L>>(
            self,
            space.root,
            LongMode::<L>::GEOMETRY.extend(page.base()),
            &self.control(),
        )
    }

    fn compare(&self, space: &SpaceState, entry: &TlbEntry<LongMode<L>>) -> Option<StaleKind> {
        let Some(now) = self.now(space, entry.page) else {
            return Some(StaleKind::Gone);
        };
        // The tables may map by smaller or larger leaves what the entry caches.
        let same = now.frame_of(entry.page) == entry.frame && now.level >= entry.level;
        if !same {
            Some(StaleKind::OtherFrame)
        } else if LongMode::<L>::exceeds(entry.rights, now.rights) {
            Some(StaleKind::Rights)
        } else if entry.dirty && !Entry::is_dirty(now.leaf) {
            Some(StaleKind::Dirty)
        } else {
            None
        }
    }

    /// The table of `level` that is linked for `page` now.
    fn table_of(&self, space: &SpaceState, page: Vpn, level: Level) -> Option<foliant_units::PhysAddr> {
        foliant_arch::table_at::<LongMode<L>>(self, space.root, page, level)
    }

    /// Notes if a CPU is about to use a frame that nobody owns. The caller
    /// holds the CPU's lock, so whoever wants to free the frame must wait.
    pub(crate) fn check_frame(&self, cpu: CpuId, at: VirtAddr, frame: Pfn) {
        let Some(phys) = self.phys() else { return };
        let Some(record) = phys.find_record(frame) else {
            return;
        };
        if record.refs.get() != 0 || record.has(FrameFlags::RESERVED) || phys.is_table(frame) {
            return;
        }
        if phys.record(phys.head(frame)).refs.get() == 0 {
            self.violations_list()
                .lock()
                .push(Violation::UseAfterFree { cpu, at, frame });
        }
    }
}
