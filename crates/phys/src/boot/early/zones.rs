//! Which zones there will be, as the log says it.

use foliant_platform::Platform;
use foliant_units::{PAGE_SHIFT, Pfn, PfnRange};

use super::log::Log;
use super::machine::MachineKind;
use super::steps::EarlyBoot;
use crate::boot::map::NodeId;

/// Frames of a section, for whose holes there are records.
const SECTION: u64 = 1 << 15;

/// A zone's name and where it ends, whether or not there is RAM.
type ZoneEnd = (&'static str, Pfn);

impl<P: Platform, const N: usize> EarlyBoot<P, N> {
    /// Prints the zones that RAM falls into, the RAM of each node, and the
    /// holes that records are spent on.
    ///
    /// # Linux source concept
    /// `free_area_init()`.
    pub fn announce_zones(&self, log: &mut Log<'_>) {
        let Some(first) = self.frames().next().map(|(_, frames)| frames.start) else {
            return;
        };
        log.line(format_args!("Zone ranges:"));
        for (name, zone) in self.zones(first) {
            match zone.is_empty() {
                true => log.line(format_args!("  {name:<8} empty")),
                false => log.line(format_args!("  {name:<8} {}", Mem(zone))),
            }
        }
        log.line(format_args!("Movable zone start for each node"));
        log.line(format_args!("Early memory node ranges"));
        for (node, frames) in self.frames() {
            log.line(format_args!("  node {:>3}: {}", node.0, Mem(frames)));
        }
        for node in (0..=u8::MAX).map(NodeId) {
            self.announce_node(node, log);
        }
        self.announce_holes(first, log);
    }

    /// Frames of RAM.
    pub fn present_frames(&self) -> u64 {
        self.frames().map(|(_, frames)| frames.len()).sum()
    }

    fn announce_node(&self, node: NodeId, log: &mut Log<'_>) {
        let mut ours = self
            .frames()
            .filter(|(at, _)| *at == node)
            .map(|(_, frames)| frames);
        if let Some(first) = ours.next() {
            let end = ours.last().unwrap_or(first).end;
            let all = PfnRange::new(first.start, end);
            log.line(format_args!("Initmem setup node {} {}", node.0, Mem(all)));
        }
    }

    fn announce_holes(&self, first: Pfn, log: &mut Log<'_>) {
        let mut hole = Pfn::ZERO;
        let mut last = None;
        for (node, frames) in self.frames() {
            for (name, zone) in self.zones(first) {
                let inside = frames.intersect(zone);
                if inside.is_empty() {
                    continue;
                }
                self.announce_hole(PfnRange::new(hole, inside.start), node, name, log);
                hole = inside.end;
                last = Some((node, name));
            }
        }
        if let Some((node, name)) = last {
            self.announce_hole(PfnRange::new(hole, hole.align_up(SECTION)), node, name, log);
        }
    }

    fn announce_hole(&self, hole: PfnRange, node: NodeId, zone: &str, log: &mut Log<'_>) {
        let count = self.frames_in_present_sections(hole);
        if count > 0 {
            log.line(format_args!(
                "On node {}, zone {zone}: {count} pages in unavailable ranges",
                node.0
            ));
        }
    }

    /// Only the first and the last section of a hole can have RAM too.
    fn frames_in_present_sections(&self, hole: PfnRange) -> u64 {
        if hole.is_empty() {
            return 0;
        }
        let section = |at: Pfn| {
            let start = at.align_down(SECTION);
            PfnRange::new(start, start + SECTION)
        };
        let (head, tail) = (section(hole.start), section(hole.end - 1));
        let count = |section: PfnRange| {
            let present = self.frames().any(|(_, frames)| frames.overlaps(section));
            if present { section.intersect(hole).len() } else { 0 }
        };
        if head == tail {
            count(head)
        } else {
            count(head) + count(tail)
        }
    }

    /// RAM by node.
    fn frames(&self) -> impl Iterator<Item = (NodeId, PfnRange)> {
        self.memblock
            .memory()
            .iter()
            .map(|region| (region.node, region.range.whole_frames()))
    }

    fn zones(&self, first: Pfn) -> impl Iterator<Item = (&'static str, PfnRange)> {
        let mut at = first;
        self.zone_ends().into_iter().flatten().map(move |(name, end)| {
            let zone = PfnRange::new(at, end);
            at = zone.end;
            (name, zone)
        })
    }

    fn zone_ends(&self) -> [Option<ZoneEnd>; 3] {
        let limits = self.limits;
        let dma = Pfn::new(16 << (20 - PAGE_SHIFT));
        match self.kind {
            MachineKind::X86_64 { .. } => {
                let dma32 = Pfn::new(1 << (32 - PAGE_SHIFT));
                [
                    Some(("DMA", dma.min(limits.max_low_pfn))),
                    Some(("DMA32", dma32.min(limits.max_pfn))),
                    Some(("Normal", limits.max_pfn)),
                ]
            }
            MachineKind::I386 { .. } => [
                Some(("DMA", dma.min(limits.max_low_pfn))),
                Some(("Normal", limits.max_low_pfn)),
                Some(("HighMem", limits.max_pfn)),
            ],
        }
    }
}

/// Frames as the log prints memory.
struct Mem(PfnRange);

impl core::fmt::Display for Mem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let range = self.0.bytes();
        write!(f, "[mem {:#018x}-{:#018x}]", range.start, range.end - 1)
    }
}
