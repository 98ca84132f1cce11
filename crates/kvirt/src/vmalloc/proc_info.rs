//! `/proc/vmallocinfo`.

use alloc::format;
use alloc::vec::Vec;

use foliant_arch::KernelFormat;
use foliant_platform::Mmu;
use foliant_uapi::text::{VmallocArea, VmallocMarks, VmallocUse, Vmallocinfo};

use super::area::{AreaInfo, AreaKind, AreaState};
use super::memory::Vmalloc;

impl<P: Mmu, F: KernelFormat> Vmalloc<P, F> {
    /// The file: areas in use in ascending order, then those that wait for a
    /// flush.
    ///
    /// # Linux source concept
    /// `vmalloc_info_show()`.
    pub fn vmallocinfo(&self) -> Vmallocinfo {
        let mut areas: Vec<(bool, VmallocArea)> = Vec::new();
        self.for_each_area(|info| areas.push((info.state != AreaState::InUse, line(info))));
        areas.sort_by_key(|(unpurged, area)| (*unpurged, area.start));
        Vmallocinfo {
            areas: areas.into_iter().map(|(_, area)| area).collect(),
        }
    }
}

fn line(info: &AreaInfo) -> VmallocArea {
    let (start, end) = (info.range.start, info.range.end);
    if info.state != AreaState::InUse {
        return VmallocArea::plain(start, end, VmallocUse::Unpurged);
    }
    if info.kind == AreaKind::MapRam {
        // Linux has no guard page there, so none is shown.
        let end = info.usable().end;
        return VmallocArea::plain(start, end, VmallocUse::MapRam);
    }
    let marks = match info.kind {
        AreaKind::Vmalloc => VmallocMarks::VMALLOC,
        AreaKind::Vmap | AreaKind::MapRam => VmallocMarks::VMAP,
        AreaKind::Ioremap => VmallocMarks::IOREMAP,
    };
    let nodes = info.by_node.iter().enumerate();
    VmallocArea {
        caller: Some(format!("{}", info.caller)),
        pages: info.frames,
        physical: info.physical,
        marks,
        nodes: nodes
            .filter(|&(_, &count)| count != 0)
            .map(|(node, &count)| (node as u32, count))
            .collect(),
        ..VmallocArea::plain(start, end, VmallocUse::Area)
    }
}
