//! Memory maps from files, in the forms that people have them in.

use std::path::Path;

use anyhow::{Context, Result, bail};
use foliant_phys::boot::{MapEntry, MemoryMap, NodeId, RegionKind};
use foliant_uapi::text::Iomem;
use foliant_units::{PhysAddr, PhysRange};

use crate::size::Size;

/// Entries that a map can have.
pub(super) const ENTRIES: usize = 4096;

/// A map of any size that makes sense.
pub type Map = MemoryMap<ENTRIES>;

/// Reads a map; what form it has shows from what is in it.
pub(super) fn read(path: &Path) -> Result<Map> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    parse(&text).with_context(|| format!("{name} is no memory map"))
}

/// Reads the text of a map.
///
/// # Errors
/// What is no map, by line.
pub fn parse(text: &str) -> Result<Map> {
    if text.contains("BIOS-e820: ") {
        return Ok(Map::from_log(text)?);
    }
    let mut map = Map::with_room();
    let first = text.lines().find(|line| !line.trim().is_empty());
    if first.is_some_and(|line| line.contains(" : ")) {
        from_iomem(text, &mut map)?;
    } else {
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                map.add(row(line).with_context(|| format!("line {}", at + 1))?)?;
            }
        }
    }
    if map.entries().is_empty() {
        bail!("nothing in it tells of memory");
    }
    Ok(map)
}

/// The outermost resources that are memory; devices are left out.
fn from_iomem(text: &str, map: &mut Map) -> Result<()> {
    let iomem = Iomem::parse(text.as_bytes())?;
    let memory = iomem.entries.iter().filter(|entry| entry.depth == 0);
    for entry in memory {
        let Some(kind) = kind_of_resource(&entry.name) else {
            continue;
        };
        if entry.last == 0 {
            bail!("all addresses are zero: /proc/iomem must be read as root");
        }
        let size = (entry.last - entry.start).checked_add(1);
        let size = size.with_context(|| format!("{} covers every address", entry.name))?;
        map.add(MapEntry::sized(PhysAddr::new(entry.start), size, kind)?)?;
    }
    Ok(())
}

fn kind_of_resource(name: &str) -> Option<RegionKind> {
    let kinds = [
        RegionKind::Usable,
        RegionKind::Reserved,
        RegionKind::AcpiData,
        RegionKind::AcpiNvs,
        RegionKind::Unusable,
        RegionKind::Persistent,
        RegionKind::PersistentLegacy,
        RegionKind::SoftReserved,
    ];
    kinds.into_iter().find(|kind| kind.resource() == name)
}

/// `START-END KIND [node N]`, the end not inside.
fn row(line: &str) -> Result<MapEntry> {
    let mut words = line.split_whitespace();
    let range = words.next().unwrap_or("");
    let Some((start, end)) = range.split_once('-') else {
        bail!("expected START-END KIND [node N], found `{line}`");
    };
    let (start, end) = (place(start)?, place(end)?);
    if end < start {
        bail!("{range} ends before it begins");
    }
    let kind = match words.next() {
        Some("usable" | "ram") => RegionKind::Usable,
        Some("reserved") => RegionKind::Reserved,
        Some("acpi-data") => RegionKind::AcpiData,
        Some("acpi-nvs") => RegionKind::AcpiNvs,
        Some("unusable") => RegionKind::Unusable,
        Some("persistent") => RegionKind::Persistent,
        Some("soft-reserved") => RegionKind::SoftReserved,
        other => bail!("`{}` is no kind of memory", other.unwrap_or("")),
    };
    let node = match (words.next(), words.next()) {
        (None, _) => 0,
        (Some("node"), Some(number)) => number.parse().context("a node is a small number")?,
        _ => bail!("expected node N at the end of `{line}`"),
    };
    Ok(MapEntry {
        range: PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)),
        kind,
        node: NodeId(node),
    })
}

/// A place in memory: hexadecimal with 0x, or an amount.
pub(super) fn place(text: &str) -> Result<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).with_context(|| format!("`{text}` is no address")),
        None => text
            .parse::<Size>()
            .map(|size| size.0)
            .map_err(|why| anyhow::anyhow!("`{text}`: {why}")),
    }
}

/// The map of a PC with this much RAM: 3 GiB of it below the devices.
pub(super) fn pc(ram: u64) -> Result<Map> {
    const DEVICES: u64 = 3 << 30;
    const FOUR_GIB: u64 = 1 << 32;
    if ram < 4 << 20 {
        bail!("a PC needs at least 4 MiB of RAM");
    }
    let low = ram.min(DEVICES);
    let mut map = Map::with_room();
    let pieces = [
        (0, 0x9_fc00, RegionKind::Usable),
        (0x9_fc00, 0xa_0000, RegionKind::Reserved),
        (0xf_0000, 0x10_0000, RegionKind::Reserved),
        (0x10_0000, low, RegionKind::Usable),
        (0xfffc_0000, FOUR_GIB, RegionKind::Reserved),
        (FOUR_GIB, FOUR_GIB.saturating_add(ram - low), RegionKind::Usable),
    ];
    for (start, end, kind) in pieces {
        map.add(MapEntry::sized(PhysAddr::new(start), end - start, kind)?)?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> String {
        parse(text).unwrap().lines("map").to_string()
    }

    #[test]
    fn every_form_says_the_same() {
        let log = lines(
            "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
             [    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000003fffffff] usable\n",
        );
        let iomem = lines(
            "00000000-0009fbff : System RAM\n000a0000-000bffff : PCI Bus 0000:00\n\
             00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n",
        );
        let table = lines("# a small machine\n0-0x9fc00 ram\n1M-1G usable node 0\n");
        assert_eq!(log, iomem);
        assert_eq!(log, table);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "hello",
            "00000000-00000000 : System RAM\n",
            "0-ffffffffffffffff : System RAM\n",
            "1M-2M ice-cream\n",
            "2M-1M ram\n",
            "0-1M ram node x\n",
            "0-1M ram nodes\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
