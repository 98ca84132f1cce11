//! Texts about the zones: `buddyinfo`, `pagetypeinfo`, `zoneinfo`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use foliant_phys::{BlockKind, Mobility, NodeId, Phys, Zone, ZoneId, ZoneStats};
use foliant_platform::Platform;
use foliant_uapi::text::{
    Buddyinfo, BuddyinfoZone, Counters, Extfrag, ExtfragKind, ExtfragZone, MobilityRow, Pageset,
    Pagetypeinfo, ZoneBlocks, Zoneinfo, ZoneinfoPopulated, ZoneinfoZone,
};
use foliant_units::Order;

/// The last of the counters that a zone has, and the first and last of those of
/// a node, among the lines of `vmstat`.
const LAST_OF_ZONE: &str = "numa_other";
const LAST_OF_NODE: &str = "nr_kernel_file_pages";

/// Free folios of each order.
pub(super) fn buddyinfo<P: Platform>(phys: &Phys<P>) -> Buddyinfo {
    let zones = populated(phys).map(|(id, zone)| BuddyinfoZone {
        node: u32::from(zone.node().0),
        zone: zone.kind().name().to_string(),
        free: phys.zone_stats(id).by_order.to_vec(),
    });
    Buddyinfo {
        zones: zones.collect(),
    }
}

/// Free folios and blocks by kind. A machine without contiguous areas has no
/// such kind, as a kernel built without them.
pub(super) fn pagetypeinfo<P: Platform>(phys: &Phys<P>) -> Pagetypeinfo {
    let with_cma = populated(phys).any(|(_, zone)| zone.cma() > 0);
    let kinds = || kinds().filter(move |&(name, _)| with_cma || name != "CMA");
    let mut info = Pagetypeinfo {
        block_order: 9,
        block_pages: 512,
        orders: 11,
        mobilities: kinds().map(|(name, _)| name.to_string()).collect(),
        ..Pagetypeinfo::default()
    };
    for (id, zone) in populated(phys) {
        let stats = phys.zone_stats(id);
        let (node, name) = (u32::from(zone.node().0), zone.kind().name());
        info.free.extend(kinds().map(|(kind, at)| MobilityRow {
            node,
            zone: name.to_string(),
            mobility: kind.to_string(),
            free: at.map_or_else(|| [0; 11].to_vec(), |at| stats.by_kind[at.index()].to_vec()),
        }));
        info.blocks.push(ZoneBlocks {
            node,
            zone: name.to_string(),
            blocks: kinds()
                .map(|(_, at)| at.map_or(0, |at| stats.blocks[at.index()]))
                .collect(),
        });
    }
    info
}

/// Why requests of each order would fail, or how much of what is free they
/// could not use.
pub(crate) fn extfrag<P: Platform>(phys: &Phys<P>, kind: ExtfragKind) -> Extfrag {
    let zones = populated(phys).map(|(id, zone)| {
        let fragmentation = phys.fragmentation(id);
        let index = |order| match kind {
            ExtfragKind::Index => fragmentation.index(order),
            ExtfragKind::Unusable => fragmentation.unusable(order) as i64,
        };
        ExtfragZone {
            node: zone.node().0.into(),
            zone: zone.kind().name().to_string(),
            by_order: Order::all().map(index).collect(),
        }
    });
    Extfrag {
        kind,
        zones: zones.collect(),
    }
}

/// The rows of `pagetypeinfo`.
fn kinds() -> impl Iterator<Item = (&'static str, Option<BlockKind>)> {
    [
        ("Unmovable", Some(BlockKind::Of(Mobility::Unmovable))),
        ("Movable", Some(BlockKind::Of(Mobility::Movable))),
        ("Reclaimable", Some(BlockKind::Of(Mobility::Reclaimable))),
        ("HighAtomic", Some(BlockKind::HighAtomic)),
        ("CMA", Some(BlockKind::Cma)),
        ("Isolate", Some(BlockKind::Isolated)),
    ]
    .into_iter()
}

/// Everything about the zones, with or without memory. `vmstat` has the
/// counters, which are all counted on the first node.
pub(super) fn zoneinfo<P: Platform>(phys: &Phys<P>, vmstat: &Counters) -> Zoneinfo {
    let nodes = populated(phys).map(|(_, zone)| zone.node().0).max().unwrap_or(0);
    let mut zones = Vec::new();
    for node in (0..=nodes).map(NodeId) {
        let mut first = true;
        for &kind in phys.zones().layout().kinds() {
            let known = phys.zones().find(kind, node);
            let found = known.filter(|(_, zone)| zone.present() > 0);
            let mut row = match (found, known) {
                (Some((id, zone)), _) => full(phys, id, zone),
                (None, Some((_, zone))) => shape(phys, zone),
                (None, None) => ZoneinfoZone {
                    protection: phys.zones().layout().kinds().iter().map(|_| 0).collect(),
                    ..ZoneinfoZone::default()
                },
            };
            row.node = node.0.into();
            row.zone = kind.name().to_string();
            if found.is_some() && core::mem::replace(&mut first, false) {
                row.node_stats = node_stats(vmstat, node);
            }
            zones.push(row);
        }
    }
    Zoneinfo { zones }
}

/// A zone that has memory.
fn full<P: Platform>(phys: &Phys<P>, id: ZoneId, zone: &Zone) -> ZoneinfoZone {
    let stats = phys.zone_stats(id);
    let high = u64::from(2 * zone.batch()) - 1;
    let pagesets = (0..phys.platform().cpus()).map(|cpu| Pageset {
        cpu: cpu.into(),
        count: phys.cached_by(cpu as usize, id),
        high,
        batch: zone.batch().into(),
        high_min: high,
        high_max: high,
        stat_threshold: zone.fold_threshold(),
    });
    ZoneinfoZone {
        free: stats.free,
        populated: Some(ZoneinfoPopulated {
            stats: zone_stats(zone, &stats),
            pagesets: pagesets.collect(),
            start_pfn: zone.span().start.raw(),
            ..ZoneinfoPopulated::default()
        }),
        ..shape(phys, zone)
    }
}

/// Sizes and levels of a zone, which those without memory have too.
fn shape<P: Platform>(phys: &Phys<P>, zone: &Zone) -> ZoneinfoZone {
    let (marks, boost, reserve) = (zone.watermarks(), zone.boost(), zone.lowmem_reserve());
    let kinds = phys.zones().layout().kinds();
    ZoneinfoZone {
        boost,
        min: marks.min + boost,
        low: marks.low + boost,
        high: marks.high + boost,
        promo: marks.promo + boost,
        spanned: zone.spanned(),
        present: zone.present(),
        managed: zone.managed(),
        cma: zone.cma(),
        protection: kinds.iter().map(|kind| reserve[kind.index()]).collect(),
        ..ZoneinfoZone::default()
    }
}

fn populated<P: Platform>(phys: &Phys<P>) -> impl Iterator<Item = (ZoneId, &Zone)> {
    phys.zones().iter().filter(|(_, zone)| zone.present() > 0)
}

/// Names of `vmstat` from its first line or after `from`, up to `to`.
fn names(vmstat: &Counters, from: Option<&str>, to: &str) -> Vec<String> {
    let all: Vec<&str> = vmstat.iter().map(|(name, _)| name).collect();
    let place = |of: &str| all.iter().position(|&name| name == of).map_or(0, |at| at + 1);
    let (start, end) = (from.map_or(0, place), place(to));
    all.get(start..end)
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn zone_stats(zone: &Zone, stats: &ZoneStats) -> Counters {
    let names = names(&foliant_uapi::text::vmstat_of_zeroes(), None, LAST_OF_ZONE);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut counters = Counters::of_zeroes(&names);
    counters.set("nr_free_pages", stats.free);
    counters.set(
        "nr_free_pages_blocks",
        stats.by_order[9] * 512 + stats.by_order[10] * 1024,
    );
    counters.set("nr_free_cma", zone.free_cma());
    counters
}

fn node_stats(vmstat: &Counters, node: NodeId) -> Counters {
    let mut counters = Counters::default();
    for name in names(vmstat, Some(LAST_OF_ZONE), LAST_OF_NODE) {
        let value = if node == NodeId(0) {
            vmstat.get(&name)
        } else {
            None
        };
        counters.push(&name, value.unwrap_or(0));
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use foliant_phys::boot::{MapEntry, RegionKind};
    use foliant_phys::{BootOptions, MemoryMap, testing};
    use foliant_platform::testing::TestPlatform;
    use foliant_uapi::text::{Text as _, vmstat_of_zeroes};
    use foliant_units::{PhysAddr, PhysRange};

    const MIB: u64 = 1 << 20;

    fn two_nodes() -> Phys<TestPlatform> {
        let mut map = MemoryMap::new();
        for (node, start) in [(0, 0), (1, 32 * MIB)] {
            let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(start + 32 * MIB));
            map.add(MapEntry {
                range,
                kind: RegionKind::Usable,
                node: NodeId(node),
            })
            .unwrap();
        }
        Phys::boot(TestPlatform::new(64 << 20, 2), &map, BootOptions::test()).unwrap()
    }

    #[test]
    fn every_kind_of_zone_of_every_node_is_in_zoneinfo() {
        let phys = two_nodes();
        let info = zoneinfo(&phys, &vmstat_of_zeroes());
        let rows: Vec<_> = info
            .zones
            .iter()
            .map(|zone| (zone.node, zone.zone.as_str(), zone.populated.is_some()))
            .collect();
        assert_eq!(
            rows,
            [
                (0, "DMA", true),
                (0, "DMA32", true),
                (0, "Normal", false),
                (0, "Movable", false),
                (0, "Device", false),
                (1, "DMA", false),
                (1, "DMA32", true),
                (1, "Normal", false),
                (1, "Movable", false),
                (1, "Device", false),
            ]
        );
        let text = info.to_bytes();
        assert_eq!(Zoneinfo::parse(&text).unwrap(), info, "what was written is read");
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("        protection: (0, 0, 0, 0, 0)\n"));
        assert!(text.contains("\n      nr_free_pages_blocks "));
    }

    /// What a live Linux shows of zones that have no memory: Movable keeps its
    /// least level, Device the span of what is mapped.
    #[test]
    fn zones_without_memory_have_levels_and_a_span() {
        let options = BootOptions {
            hotplug_below: 384 * MIB,
            min_free: foliant_phys::boot::MinFree::Linux,
            ..BootOptions::test()
        };
        let ram = MemoryMap::ram(PhysRange::new(PhysAddr::ZERO, PhysAddr::new(32 * MIB)));
        let phys = Phys::boot(TestPlatform::<true>::new(384 << 20, 1), &ram, options).unwrap();
        let frames = |mib: u64| PhysAddr::new(mib * MIB).frame();
        let device = foliant_units::PfnRange::new(frames(128), frames(256));
        let device = foliant_phys::DeviceMemory::new(device, foliant_phys::DeviceKind::FsDax);
        phys.map_device(device).unwrap();
        let info = zoneinfo(&phys, &vmstat_of_zeroes());
        let row = |name: &str| info.zones.iter().find(|row| row.zone == name).unwrap();
        let (movable, device) = (row("Movable"), row("Device"));
        assert_eq!((movable.min, movable.promo, movable.spanned), (32, 32, 0));
        assert_eq!((device.min, device.spanned, device.present), (0, 32_768, 0));
        assert!(movable.populated.is_none() && device.populated.is_none());
    }

    #[test]
    fn pagetypeinfo_and_buddyinfo_count_the_same_folios() {
        let phys = two_nodes();
        testing::audit(&phys);
        let (types, buddy) = (pagetypeinfo(&phys), buddyinfo(&phys));
        assert_eq!(
            types.mobilities,
            ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"]
        );
        for zone in &buddy.zones {
            let of_zone = types
                .free
                .iter()
                .filter(|row| (row.node, &row.zone) == (zone.node, &zone.zone));
            let sum = of_zone.fold([0; 11].to_vec(), |sum: Vec<u64>, row| {
                sum.iter().zip(&row.free).map(|(one, two)| one + two).collect()
            });
            assert_eq!(sum, zone.free);
        }
        let text = types.to_bytes();
        assert_eq!(Pagetypeinfo::parse(&text).unwrap(), types);
        let blocks: u64 = types.blocks.iter().flat_map(|zone| &zone.blocks).sum();
        assert_eq!(blocks, 32, "64 MiB in blocks of 2 MiB");
    }
}
