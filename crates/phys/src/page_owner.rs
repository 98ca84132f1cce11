//! Who allocated each frame, and who freed it last: for those who look for
//! leaks and double frees.

use core::fmt::{self, Write};
use std_alloc::collections::BTreeMap;
use std_alloc::string::String;
use std_alloc::vec;
use std_alloc::vec::Vec;

use foliant_platform::sync::SpinLock;
use foliant_platform::{Nanos, Platform};
use foliant_units::{Order, Pfn};

use crate::alloc::{AllocRequest, BlockKind, Gfp, Mobility, block_of};
use crate::console::Who;
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};
use crate::sections::{SECTION, section_of};

/// What is remembered of one frame.
#[derive(Clone, Copy, Default, Debug)]
struct Trace {
    order: Order,
    /// Allocated now, as the first frame of its folio.
    live: bool,
    /// It was ever.
    known: bool,
    moved: bool,
    gfp: Gfp,
    owner: Owner,
    who: Who,
    at: u64,
    freed_by: Who,
    freed_at: u64,
}

/// An allocated folio, and who allocated it.
#[derive(Clone, Copy, Debug)]
pub struct OwnedFolio {
    /// Its first frame.
    pub pfn: Pfn,
    /// Its size.
    pub order: Order,
    /// The request.
    pub gfp: Gfp,
    /// What it is for.
    pub owner: Owner,
    /// On whose behalf.
    pub who: Who,
    /// When, in the machine's time.
    pub at: Nanos,
    /// It lay elsewhere then.
    pub moved: bool,
}

/// The traces of all frames, by section; none of sections without RAM.
///
/// # Locking
/// One spin lock, with interrupts masked: this is for debugging.
///
/// # Linux source concept
/// `struct page_owner`, mm/page_owner.c. Differs: what the frame is for, and
/// what its owner was about, stand in the place of the stack trace.
#[derive(Debug)]
pub(crate) struct PageOwners(SpinLock<Vec<Vec<Trace>>>);

impl PageOwners {
    /// For the sections that have RAM, as `present` says one by one.
    pub(crate) fn new(present: impl Iterator<Item = bool>) -> Self {
        let sections = present.map(|present| if present { blank() } else { Vec::new() });
        Self(SpinLock::new(sections.collect()))
    }
}

fn blank() -> Vec<Trace> {
    vec![Trace::default(); SECTION as usize]
}

impl<P: Platform> Phys<P> {
    /// Whether it is remembered who allocates what
    /// ([`BootOptions::page_owner`](crate::BootOptions::page_owner)).
    pub fn tracks_owners(&self) -> bool {
        self.page_owners.is_some()
    }

    fn trace<R>(&self, pfn: Pfn, change: impl FnOnce(&mut Trace) -> R) -> Option<R> {
        let owners = self.page_owners.as_ref()?;
        let saved = self.platform.irq_save();
        let mut sections = owners.0.lock();
        let section = sections.get_mut(section_of(pfn));
        let trace = section.and_then(|section| section.get_mut((pfn.raw() % SECTION) as usize));
        let result = trace.map(change);
        drop(sections);
        self.platform.irq_restore(saved);
        result
    }

    /// A section has RAM from now on.
    pub(crate) fn note_section(&self, section: usize) {
        let Some(owners) = &self.page_owners else { return };
        // Not under the lock: whoever gives the memory may ask who asks.
        let fresh = blank();
        let saved = self.platform.irq_save();
        if let Some(traces) = owners.0.lock().get_mut(section)
            && traces.is_empty()
        {
            *traces = fresh;
        }
        self.platform.irq_restore(saved);
    }

    /// A folio was allocated.
    pub(crate) fn note_allocated(&self, pfn: Pfn, request: &AllocRequest) {
        if !self.tracks_owners() {
            return;
        }
        let (who, at) = (self.who(), self.platform.now().0);
        self.trace(pfn, |trace| {
            *trace = Trace {
                order: request.order,
                live: true,
                known: true,
                moved: false,
                gfp: request.gfp(),
                owner: request.owner,
                who,
                at,
                ..*trace
            };
        });
    }

    /// A folio was freed.
    pub(crate) fn note_freed(&self, pfn: Pfn) {
        if !self.tracks_owners() {
            return;
        }
        let (who, at) = (self.who(), self.platform.now().0);
        self.trace(pfn, |trace| {
            trace.live = false;
            (trace.freed_by, trace.freed_at) = (who, at);
        });
    }

    /// A folio was cut into single frames.
    pub(crate) fn note_split(&self, pfn: Pfn, order: Order) {
        let Some(whole) = self.trace(pfn, |trace| *trace) else {
            return;
        };
        for at in 0..order.frames() {
            self.trace(pfn + at, |trace| {
                let (freed_by, freed_at) = (trace.freed_by, trace.freed_at);
                *trace = Trace {
                    order: Order::ZERO,
                    freed_by,
                    freed_at,
                    ..whole
                };
            });
        }
    }

    /// A folio is at another place now.
    pub(crate) fn note_moved(&self, from: Pfn, to: Pfn) {
        if let Some(old) = self.trace(from, |trace| *trace) {
            self.trace(to, |trace| {
                let (freed_by, freed_at) = (trace.freed_by, trace.freed_at);
                *trace = Trace {
                    live: true,
                    moved: true,
                    freed_by,
                    freed_at,
                    ..old
                };
            });
        }
    }

    /// The text of `/sys/kernel/debug/page_owner`: every allocated folio.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// # Linux source concept
    /// `read_page_owner()`, `print_page_owner()`.
    pub fn write_page_owner(&self, out: &mut dyn Write) -> fmt::Result {
        let mut result = Ok(());
        self.each_owned(&mut |folio| {
            if result.is_ok() {
                result = self.write_folio(folio, out);
            }
        });
        result
    }

    /// Shows every allocated folio, from the lowest.
    pub fn each_owned(&self, each: &mut dyn FnMut(&OwnedFolio)) {
        for section in self.sections() {
            let mut pfn = section;
            while pfn < section + SECTION {
                let trace = self.trace(pfn, |trace| *trace).unwrap_or_default();
                if trace.live {
                    each(&OwnedFolio {
                        pfn,
                        order: trace.order,
                        gfp: trace.gfp,
                        owner: trace.owner,
                        who: trace.who,
                        at: Nanos(trace.at),
                        moved: trace.moved,
                    });
                    pfn += trace.order.frames();
                } else {
                    pfn += 1;
                }
            }
        }
    }

    /// The text of `page_owner_stacks/show_stacks`: what folios are for and what
    /// their owners were about, and how many frames, from `threshold` frames on.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// # Linux source concept
    /// `stack_print()`.
    pub fn write_page_owner_stacks(&self, threshold: u64, out: &mut dyn Write) -> fmt::Result {
        let mut frames: BTreeMap<(Owner, &str), u64> = BTreeMap::new();
        self.each_owned(&mut |folio| {
            *frames.entry((folio.owner, folio.who.doing)).or_default() += folio.order.frames();
        });
        for ((owner, doing), frames) in frames {
            if frames >= threshold {
                write_stack(owner, doing, out)?;
                writeln!(out, "nr_base_pages: {frames}\n")?;
            }
        }
        Ok(())
    }

    fn write_folio(&self, folio: &OwnedFolio, out: &mut dyn Write) -> fmt::Result {
        let OwnedFolio {
            order, gfp, who, at, ..
        } = folio;
        let (pid, tgid, comm) = (who.pid, who.tgid, who.name());
        writeln!(
            out,
            "Page allocated via order {}, mask {gfp}, pid {pid}, tgid {tgid} ({comm}), ts {} ns",
            order.raw(),
            at.0,
        )?;
        let block = block_of(folio.pfn);
        let kind = self.blocks.tags.get(block).map(|tag| tag.kind());
        writeln!(
            out,
            "PFN {:#x} type {} Block {block} type {} Flags {}",
            folio.pfn.raw(),
            name_of(BlockKind::Of(mobility_of(*gfp))),
            kind.map_or("", name_of),
            self.flags_text(folio.pfn),
        )?;
        write_stack(folio.owner, who.doing, out)?;
        if folio.moved {
            writeln!(out, "Page has been migrated, last migrate reason: compaction")?;
        }
        writeln!(out)
    }

    /// The flags of a frame as `%pGp` prints them.
    fn flags_text(&self, pfn: Pfn) -> String {
        const NAMES: [(FrameFlags, &str); 12] = [
            (FrameFlags::LOCKED, "locked"),
            (FrameFlags::WRITEBACK, "writeback"),
            (FrameFlags::REFERENCED, "referenced"),
            (FrameFlags::UPTODATE, "uptodate"),
            (FrameFlags::DIRTY, "dirty"),
            (FrameFlags::LRU, "lru"),
            (FrameFlags::ACTIVE, "active"),
            (FrameFlags::WORKINGSET, "workingset"),
            (FrameFlags::PRIVATE, "private"),
            (FrameFlags::SWAPBACKED, "swapbacked"),
            (FrameFlags::UNEVICTABLE, "unevictable"),
            (FrameFlags::MLOCKED, "mlocked"),
        ];
        let flags = self.record(pfn).flags();
        let mut text = std_alloc::format!("{:#x}(", flags.bits());
        for (flag, name) in NAMES {
            if flags.contains(flag) {
                text += name;
                text.push('|');
            }
        }
        if let Some(zone) = self.zone_of(pfn).map(|id| self.zones.get(id)) {
            text += &std_alloc::format!("node={}|zone={})", zone.node().0, zone.kind().index());
        }
        text
    }

    /// What is remembered of a frame, line by line: for messages about it.
    ///
    /// # Linux source concept
    /// `__dump_page_owner()`.
    pub(crate) fn tell_owner(&self, pfn: Pfn) {
        let Some(console) = self.console() else { return };
        let Some(trace) = self.trace(pfn, |trace| *trace).filter(|trace| trace.known) else {
            return;
        };
        let state = if trace.live { "allocated" } else { "freed" };
        console.line(format_args!("page_owner tracks the page as {state}"));
        let (who, freed) = (&trace.who, &trace.freed_by);
        console.line(format_args!(
            "page last allocated via order {}, migratetype {}, gfp_mask {}, pid {}, tgid {} ({}), ts {}, free_ts {}",
            trace.order.raw(),
            name_of(BlockKind::Of(mobility_of(trace.gfp))),
            trace.gfp,
            who.pid,
            who.tgid,
            who.name(),
            trace.at,
            trace.freed_at,
        ));
        console.line(format_args!(" {}", trace.owner.name()));
        if !who.doing.is_empty() {
            console.line(format_args!(" {}", who.doing));
        }
        if trace.freed_at != 0 {
            console.line(format_args!(
                "page last free pid {} tgid {} ({})",
                freed.pid,
                freed.tgid,
                freed.name()
            ));
        }
    }
}

/// What stands in the place of a stack trace, the innermost first.
fn write_stack(owner: Owner, doing: &str, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, " {}", owner.name())?;
    match doing {
        "" => Ok(()),
        doing => writeln!(out, " {doing}"),
    }
}

const fn mobility_of(gfp: Gfp) -> Mobility {
    if gfp.contains(Gfp::MOVABLE) {
        Mobility::Movable
    } else if gfp.contains(Gfp::RECLAIMABLE) {
        Mobility::Reclaimable
    } else {
        Mobility::Unmovable
    }
}

/// The names of `migratetype_names`.
const fn name_of(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Of(Mobility::Unmovable) => "Unmovable",
        BlockKind::Of(Mobility::Movable) => "Movable",
        BlockKind::Of(Mobility::Reclaimable) => "Reclaimable",
        BlockKind::HighAtomic => "HighAtomic",
        BlockKind::Cma => "CMA",
        BlockKind::Isolated => "Isolate",
    }
}
