//! One area of the vmalloc space.

use core::fmt;

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_phys::MAX_NODES;
use foliant_units::{Order, PAGE_SIZE, Pfn, PfnRange, PhysAddr, VirtAddr, VirtRange, Vpn, VpnRange};

use super::block::Block;
use super::book::{Found, Held};
use crate::caller::Caller;

/// Frames that an area holds one reference to each.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// The first frame of each folio.
    pub(crate) list: Vec<Pfn>,
    /// The size of every folio.
    pub(crate) order: Order,
}

impl Frames {
    pub(crate) const NONE: Self = Self {
        list: Vec::new(),
        order: Order::ZERO,
    };

    /// Frames in all folios.
    pub(crate) fn count(&self) -> u64 {
        (self.list.len() as u64) << self.order.raw()
    }
}

/// What an area is.
#[derive(Clone, Debug)]
pub(crate) enum Use {
    /// Memory of its own.
    Vmalloc,
    /// Frames of somebody else.
    Vmap,
    /// Device memory.
    Ioremap(PfnRange),
    /// A block that small maps are cut from.
    Block(Arc<Block>),
    /// A map that is too large for a block.
    Ram,
}

/// An area, whose pages stand beside it.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) what: Use,
    pub(crate) caller: Caller,
    /// Whether the last page is a guard.
    pub(crate) guard: bool,
    pub(crate) frames: Frames,
}

/// What an area is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AreaKind {
    /// Memory of its own (`vmalloc`).
    Vmalloc,
    /// Frames of somebody else, side by side (`vmap`).
    Vmap,
    /// Device memory (`ioremap`).
    Ioremap,
    /// A short-lived map (`vm_map_ram`), or a block of them.
    MapRam,
}

/// Whether an area is in use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AreaState {
    /// It is.
    InUse,
    /// It was given back; CPUs may still have its translations.
    Unpurged,
    /// It was given back, and its addresses may be another's by now.
    Gone,
}

/// What is known about an area, for `/proc/vmallocinfo` and messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreaInfo {
    /// Its addresses, the guard page included.
    pub range: VirtRange,
    /// Bytes of the guard page.
    pub guard: u64,
    /// What it is for.
    pub kind: AreaKind,
    /// Whether it is in use.
    pub state: AreaState,
    /// Who asked for it.
    pub caller: Caller,
    /// Frames that are its own.
    pub frames: u64,
    /// The first byte of the device's memory.
    pub physical: Option<PhysAddr>,
    /// Frames of its own on each node.
    pub by_node: [u64; MAX_NODES],
}

impl AreaInfo {
    pub(crate) fn of(found: Found, held: &Held<Area>, node_of: impl Fn(Pfn) -> usize) -> Self {
        let area = &held.area;
        let (kind, physical) = match area.what {
            Use::Vmalloc => (AreaKind::Vmalloc, None),
            Use::Vmap => (AreaKind::Vmap, None),
            Use::Ioremap(frames) => (AreaKind::Ioremap, Some(frames.start.base())),
            Use::Block(_) | Use::Ram => (AreaKind::MapRam, None),
        };
        let mut by_node = [0; MAX_NODES];
        let own = kind == AreaKind::Vmalloc && found == Found::Busy;
        if own {
            for &frame in &area.frames.list {
                if let Some(count) = by_node.get_mut(node_of(frame)) {
                    *count += area.frames.order.frames();
                }
            }
        }
        Self {
            range: held.pages.bytes(),
            guard: if area.guard { PAGE_SIZE as u64 } else { 0 },
            kind,
            state: match found {
                Found::Busy => AreaState::InUse,
                Found::Unpurged => AreaState::Unpurged,
                Found::Gone => AreaState::Gone,
            },
            caller: area.caller,
            frames: if own { area.frames.count() } else { 0 },
            physical,
            by_node,
        }
    }

    /// The bytes that may be used.
    pub fn usable(&self) -> VirtRange {
        VirtRange::new(self.range.start, self.range.end - self.guard)
    }

    /// Whether `at` lies in the guard page.
    pub fn is_guard(&self, at: VirtAddr) -> bool {
        self.range.contains(at) && !self.usable().contains(at)
    }
}

impl fmt::Display for AreaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AreaKind::Vmalloc => "vmalloc",
            AreaKind::Vmap => "vmap",
            AreaKind::Ioremap => "ioremap",
            AreaKind::MapRam => "vm_map_ram",
        };
        let usable = self.usable();
        write!(
            f,
            "{kind} area {:#018x}-{:#018x} of {} bytes, from {}",
            usable.start.raw(),
            usable.end.raw(),
            usable.len(),
            self.caller
        )
    }
}

impl Held<Area> {
    /// The pages that can be mapped: all but the guard.
    pub(crate) fn usable(&self) -> VpnRange {
        let guard = u64::from(self.area.guard);
        VpnRange::new(self.pages.start, Vpn::new(self.pages.end.raw() - guard))
    }
}
