//! `/proc/vmallocinfo`.

use alloc::string::String;
use alloc::vec::Vec;

use bitflags::bitflags;
use foliant_units::{PhysAddr, VirtAddr};

use super::scan::{ParseError, after, ascii, expected, hex, lines, number, split};
use super::write::{Text, put};

bitflags! {
    /// The words after the counts of a line, in their order.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct VmallocMarks: u8 {
        /// Device memory.
        const IOREMAP = 1 << 0;
        /// Mapped in parts, later.
        const SPARSE = 1 << 1;
        /// Memory of its own.
        const VMALLOC = 1 << 2;
        /// Frames of somebody else.
        const VMAP = 1 << 3;
        /// May be mapped into user space.
        const USER = 1 << 4;
        /// Coherent memory for DMA.
        const DMA_COHERENT = 1 << 5;
        /// The list of its frames is a vmalloc area, too.
        const VPAGES = 1 << 6;
    }
}

const WORDS: [(VmallocMarks, &str); 7] = [
    (VmallocMarks::IOREMAP, "ioremap"),
    (VmallocMarks::SPARSE, "sparse"),
    (VmallocMarks::VMALLOC, "vmalloc"),
    (VmallocMarks::VMAP, "vmap"),
    (VmallocMarks::USER, "user"),
    (VmallocMarks::DMA_COHERENT, "dma-coherent"),
    (VmallocMarks::VPAGES, "vpages"),
];

/// What a line tells of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum VmallocUse {
    /// An area.
    #[default]
    Area,
    /// A short-lived map, or a block of them.
    MapRam,
    /// Addresses that wait for a flush.
    Unpurged,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmallocArea {
    /// First byte.
    pub start: VirtAddr,
    /// First byte after it and its guard page.
    pub end: VirtAddr,
    /// Its bytes with the guard page. Beside `start` and `end`, because a kernel that hides its
    /// addresses prints other numbers there.
    pub size: u64,
    /// What the line tells of; all that follows is of areas only.
    pub usage: VmallocUse,
    /// Who asked for it, with offset and module.
    pub caller: Option<String>,
    /// Frames; zero is not shown.
    pub pages: u64,
    /// Where the device's memory begins.
    pub physical: Option<PhysAddr>,
    /// Words.
    pub marks: VmallocMarks,
    /// Frames by node; nodes without are not shown.
    pub nodes: Vec<(u32, u64)>,
}

impl VmallocArea {
    /// A line with nothing but addresses.
    pub fn plain(start: VirtAddr, end: VirtAddr, usage: VmallocUse) -> Self {
        Self {
            start,
            end,
            size: end - start,
            usage,
            ..Self::default()
        }
    }
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmallocinfo {
    /// Lines.
    pub areas: Vec<VmallocArea>,
}

impl Text for Vmallocinfo {
    fn write(&self, out: &mut Vec<u8>) {
        for area in &self.areas {
            let (start, end) = (area.start.raw(), area.end.raw());
            put!(out, "{start:#018x}-{end:#018x} {:>7}", area.size);
            match area.usage {
                VmallocUse::MapRam => put!(out, " vm_map_ram"),
                VmallocUse::Unpurged => put!(out, " unpurged vm_area"),
                VmallocUse::Area => write_area(area, out),
            }
            out.push(b'\n');
        }
    }
}

fn write_area(area: &VmallocArea, out: &mut Vec<u8>) {
    if let Some(caller) = &area.caller {
        put!(out, " {caller}");
    }
    if area.pages != 0 {
        put!(out, " pages={}", area.pages);
    }
    if let Some(at) = area.physical {
        put!(out, " phys={:#018x}", at.raw());
    }
    for (mark, word) in WORDS {
        if area.marks.contains(mark) {
            put!(out, " {word}");
        }
    }
    for (node, count) in &area.nodes {
        put!(out, " N{node}={count}");
    }
}

impl Vmallocinfo {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let areas = lines(text)
            .map(|line| area(ascii(line, "an area")?))
            .collect::<Result<_, _>>()?;
        Ok(Self { areas })
    }
}

fn area(line: &str) -> Result<VmallocArea, ParseError> {
    let (start, rest) = split(line, "-", "a start")?;
    let (end, rest) = split(rest, " ", "an end")?;
    let rest = rest.trim_start();
    let (size, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut area = VmallocArea {
        start: VirtAddr::new(address(start)?),
        end: VirtAddr::new(address(end)?),
        size: number(size, "a size")?,
        ..VmallocArea::default()
    };
    match rest {
        "vm_map_ram" => area.usage = VmallocUse::MapRam,
        "unpurged vm_area" => area.usage = VmallocUse::Unpurged,
        _ => words(rest, &mut area)?,
    }
    Ok(area)
}

fn address(text: &str) -> Result<u64, ParseError> {
    hex(after(text, "0x", "an address")?, "an address")
}

fn words(rest: &str, area: &mut VmallocArea) -> Result<(), ParseError> {
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        let mark = WORDS.iter().find(|(_, name)| *name == word);
        if let Some(pages) = word.strip_prefix("pages=") {
            area.pages = number(pages, "a count")?;
        } else if let Some(at) = word.strip_prefix("phys=") {
            area.physical = Some(PhysAddr::new(address(at)?));
        } else if let Some(&(mark, _)) = mark {
            area.marks |= mark;
        } else if let Some((node, count)) = word.strip_prefix('N').and_then(|word| word.split_once('=')) {
            area.nodes
                .push((number(node, "a node")?, number(count, "a count")?));
        } else {
            caller(word, area)?;
        }
    }
    Ok(())
}

/// A function, or the module that it is in.
fn caller(word: &str, area: &mut VmallocArea) -> Result<(), ParseError> {
    match &mut area.caller {
        None => area.caller = Some(String::from(word)),
        Some(name) if word.starts_with('[') => {
            name.push(' ');
            name.push_str(word);
        }
        Some(_) => return Err(expected("a mark of an area")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_of_every_kind_are_written_as_they_were_read() {
        let text = b"\
0xffffc90000000000-0xffffc90000005000   20480 irq_init_percpu_irqstack+0xca/0x100 vmap
0xffffc90000005000-0xffffc90000007000    8192 acpi_os_map_iomem+0x1bc/0x1e0 phys=0x00000000000a0000 ioremap
0xffffc90000008000-0xffffc9000000d000   20480 kernel_clone+0x94/0x3e0 pages=4 vmalloc N0=3 N1=1
0xffffc90000010000-0xffffc90040011000 1073745920 load+0x1/0x2 [nf_tables] pages=262144 vmalloc user vpages N0=262144
0xffffc90050000000-0xffffc90050400000 4194304 vm_map_ram
0xffffc90060000000-0xffffc90060003000   12288 unpurged vm_area
";
        let info = Vmallocinfo::parse(text).unwrap();
        assert_eq!(core::str::from_utf8(&info.to_bytes()), core::str::from_utf8(text));
        assert_eq!(info.areas[3].caller.as_deref(), Some("load+0x1/0x2 [nf_tables]"));
        assert_eq!(info.areas[2].nodes, [(0, 3), (1, 1)]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [&b"0x1-0x2"[..], b"0x1-0x2 x", b"1-2 3", b"0x1-0x2 4096 a b"] {
            assert!(Vmallocinfo::parse(text).is_err(), "{text:?}");
        }
    }
}
