//! Memory maps in the formats of firmware, and in those of boot logs.

use core::fmt;

use foliant_units::{PhysAddr, PhysRange};

use super::kind::RegionKind;
use super::map::{MapEntry, MapError, MemoryMap, NodeId};

/// Bytes of one entry as a PC's firmware stores it: address, size, type.
pub const E820_ENTRY: usize = 20;
/// Bytes of one entry of a PVH start: address, size, type, four that mean nothing.
pub const PVH_ENTRY: usize = 24;

/// A line of a log that looks like an entry and is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogError {
    /// The line with this number, from one, has no two addresses or no kind.
    Malformed(usize),
    /// No line tells of memory.
    NoEntries,
    /// The entries make no map.
    Map(MapError),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Malformed(line) => write!(f, "line {line} is no entry of a memory map"),
            LogError::NoEntries => f.write_str("no line tells of memory"),
            LogError::Map(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for LogError {}

impl<const N: usize> MemoryMap<N> {
    /// Reads the entries that a PC's firmware gave (`struct boot_e820_entry`).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn from_e820(bytes: &[u8]) -> Result<Self, MapError> {
        Self::from_entries::<E820_ENTRY>(bytes)
    }

    /// Reads the memory map of a PVH start (`struct hvm_memmap_table_entry`).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn from_pvh(bytes: &[u8]) -> Result<Self, MapError> {
        Self::from_entries::<PVH_ENTRY>(bytes)
    }

    fn from_entries<const BYTES: usize>(bytes: &[u8]) -> Result<Self, MapError> {
        let (entries, rest) = bytes.as_chunks::<BYTES>();
        if !rest.is_empty() {
            return Err(MapError::Truncated);
        }
        let mut map = Self::with_room();
        for entry in entries {
            let word = |at: usize| {
                let mut word = [0; 8];
                word.copy_from_slice(&entry[at..at + 8]);
                u64::from_le_bytes(word)
            };
            let kind = u32::from_le_bytes([entry[16], entry[17], entry[18], entry[19]]);
            let start = PhysAddr::new(word(0));
            map.add(MapEntry::sized(start, word(8), RegionKind::from_code(kind))?)?;
        }
        Ok(map)
    }

    /// Reads the entries that a boot log prints (`BIOS-e820: [mem 0x…-0x…] usable`,
    /// or `BIOS-e820: … - … (usable)` as before Linux 3.5); other lines mean nothing.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn from_log(text: &str) -> Result<Self, LogError> {
        let mut map = Self::with_room();
        for (at, line) in text.lines().enumerate() {
            if let Some((_, entry)) = line.split_once("BIOS-e820: ") {
                let entry = entry_of(entry.trim_end()).ok_or(LogError::Malformed(at + 1))?;
                map.add(entry).map_err(LogError::Map)?;
            }
        }
        if map.entries().is_empty() {
            return Err(LogError::NoEntries);
        }
        Ok(map)
    }

    /// The cleaned map as lines of the boot log, each beginning with `who`.
    ///
    /// # Linux source concept
    /// `e820__print_table()`.
    pub fn lines<'a>(&'a self, who: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            self.pieces().try_for_each(|piece| {
                let (start, last) = (piece.range.start, piece.range.end - 1);
                writeln!(f, "{who}: [mem {start:#018x}-{last:#018x}] {}", piece.kind)
            })
        })
    }
}

/// Both forms of a line, without what comes before.
fn entry_of(text: &str) -> Option<MapEntry> {
    let (start, end, kind) = if let Some(rest) = text.strip_prefix("[mem ") {
        let (range, kind) = rest.split_once("] ")?;
        let (start, last) = range.split_once('-')?;
        (address(start)?, address(last)?.checked_add(1)?, kind)
    } else {
        let (range, kind) = text.split_once(" (")?;
        let (start, end) = range.split_once(" - ")?;
        (address(start)?, address(end)?, kind.strip_suffix(')')?)
    };
    Some(MapEntry {
        range: PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)),
        kind: kind_of(kind)?,
        node: NodeId(0),
    })
}

fn address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// The reverse of how kinds are printed.
fn kind_of(text: &str) -> Option<RegionKind> {
    Some(match text {
        "usable" => RegionKind::Usable,
        "reserved" | "device reserved" => RegionKind::Reserved,
        "ACPI data" => RegionKind::AcpiData,
        "ACPI NVS" => RegionKind::AcpiNvs,
        "unusable" => RegionKind::Unusable,
        "soft reserved" => RegionKind::SoftReserved,
        _ => {
            let code = text
                .strip_prefix("persistent (type ")
                .map(|rest| rest.trim_end_matches(')'));
            let code = code.or_else(|| text.strip_prefix("type "))?;
            RegionKind::from_code(code.parse().ok()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std_alloc::string::ToString;
    use std_alloc::vec::Vec;

    const LOG: &str = "\
BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
BIOS-e820: [mem 0x000000000009fc00-0x00000000000fffff] reserved
BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable
BIOS-e820: [mem 0x00000000c0000000-0x00000000c000ffff] ACPI data
BIOS-e820: [mem 0x00000000eec00000-0x00000000febfffff] type 20
BIOS-e820: [mem 0x0000000100000000-0x000000063fffffff] persistent (type 12)
";

    #[test]
    fn a_log_is_read_and_printed_back() {
        let map = MemoryMap::<16>::from_log(LOG).unwrap();
        assert_eq!(map.entries().len(), 6);
        assert_eq!(map.lines("BIOS-e820").to_string(), LOG);
    }

    #[test]
    fn old_logs_are_read_among_other_lines() {
        let text = "[    0.000000] Linux version 2.6\n\
                    [    0.000000]  BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)\n\
                    [    0.000000]  BIOS-e820: 0000000000100000 - 000000007fff0000 (usable)\n";
        let map = MemoryMap::<4>::from_log(text).unwrap();
        assert_eq!(map.end_of_ram(foliant_units::Pfn::new(u64::MAX)).raw(), 0x7fff0);
        assert_eq!(MemoryMap::<4>::from_log("hello").err(), Some(LogError::NoEntries));
        let bad = "x\nBIOS-e820: [mem 0x0-0xffffffffffffffff] usable\n";
        assert_eq!(MemoryMap::<4>::from_log(bad).err(), Some(LogError::Malformed(2)));
    }

    #[test]
    fn firmware_and_pvh_entries_say_the_same() {
        let entries = [
            (0u64, 0x9fc00u64, 1u32),
            (0x100000, 0x7ff00000, 1),
            (0xfffc0000, 0x40000, 2),
        ];
        let bytes = |pad: usize| -> Vec<u8> {
            let entry = |&(start, size, kind): &(u64, u64, u32)| {
                let mut bytes = Vec::from(start.to_le_bytes());
                bytes.extend(size.to_le_bytes());
                bytes.extend(kind.to_le_bytes());
                bytes.resize(bytes.len() + pad, 0xee);
                bytes
            };
            entries.iter().flat_map(entry).collect()
        };
        let bios = MemoryMap::<8>::from_e820(&bytes(0)).unwrap();
        let pvh = MemoryMap::<8>::from_pvh(&bytes(4)).unwrap();
        assert_eq!(bios.entries(), pvh.entries());
        assert_eq!(bios.entries()[2].kind, RegionKind::Reserved);
        assert_eq!(
            MemoryMap::<8>::from_pvh(&bytes(0)).err(),
            Some(MapError::Truncated)
        );
        assert_eq!(MemoryMap::<2>::from_e820(&bytes(0)).err(), Some(MapError::Full));
    }
}
