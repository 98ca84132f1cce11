//! Who allocated each frame, and who freed it last: for those who look for
//! leaks and double frees.

use core::fmt::{self, Write};
use std_alloc::string::String;
use std_alloc::vec;
use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_platform::sync::SpinLock;
use foliant_units::{Order, Pfn};

use crate::alloc::{AllocRequest, BlockKind, Gfp, Mobility, block_of};
use crate::console::Who;
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};

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

/// The traces of all frames that were there at boot.
///
/// # Locking
/// One spin lock, with interrupts masked: this is for debugging.
///
/// # Linux source concept
/// `struct page_owner`, mm/page_owner.c. Differs: what the frame is for stands
/// in the place of the stack trace.
#[derive(Debug)]
pub(crate) struct PageOwners(SpinLock<Vec<Trace>>);

impl PageOwners {
    /// For so many frames.
    pub(crate) fn new(frames: usize) -> Self {
        Self(SpinLock::new(vec![Trace::default(); frames]))
    }
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
        let result = owners.0.lock().get_mut(pfn.index()).map(change);
        self.platform.irq_restore(saved);
        result
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
        let Some(owners) = self.page_owners.as_ref() else {
            return Ok(());
        };
        let frames = owners.0.lock().len();
        let mut pfn = Pfn::ZERO;
        while pfn.index() < frames {
            let trace = self.trace(pfn, |trace| *trace).unwrap_or_default();
            if trace.live {
                self.write_trace(pfn, &trace, out)?;
                pfn += trace.order.frames();
            } else {
                pfn += 1;
            }
        }
        Ok(())
    }

    fn write_trace(&self, pfn: Pfn, trace: &Trace, out: &mut dyn Write) -> fmt::Result {
        let Trace {
            order, gfp, who, at, ..
        } = trace;
        let (pid, tgid, comm) = (who.pid, who.tgid, who.name());
        writeln!(
            out,
            "Page allocated via order {}, mask {gfp}, pid {pid}, tgid {tgid} ({comm}), ts {at} ns",
            order.raw()
        )?;
        let block = self.blocks.tags.get(block_of(pfn)).map(|tag| tag.kind());
        writeln!(
            out,
            "PFN {:#x} type {} Block {} type {} Flags {}",
            pfn.raw(),
            name_of(BlockKind::Of(mobility_of(*gfp))),
            block_of(pfn),
            block.map_or("", name_of),
            self.flags_text(pfn),
        )?;
        writeln!(out, " {}", trace.owner.name())?;
        if trace.moved {
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
