//! `/proc/PID/smaps` and `/proc/PID/smaps_rollup`.

use alloc::vec::Vec;

use super::labelled::parse_line;
use super::maps::MapsEntry;
use super::scan::{ParseError, ascii, expected, lines};
use super::smaps_usage::SmapsUsage;
use super::vm_flags::VmFlagNames;
use super::write::{Text, put};

/// One VMA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smaps<'a> {
    /// Its line of `maps`.
    pub entry: MapsEntry<'a>,
    /// Size, KiB.
    pub size: u64,
    /// Page size of the kernel, KiB.
    pub kernel_page_size: u64,
    /// Page size of the hardware, KiB.
    pub mmu_page_size: u64,
    /// What it uses.
    pub usage: SmapsUsage,
    /// Whether a huge page could be faulted in.
    pub thp_eligible: u64,
    /// Protection key, where the processor has them.
    pub protection_key: Option<u64>,
    /// Flags.
    pub flags: VmFlagNames,
}

/// The sum over all VMAs of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmapsRollup<'a> {
    /// From the first VMA to the last, named `[rollup]`.
    pub entry: MapsEntry<'a>,
    /// What they use.
    pub usage: SmapsUsage,
}

impl Text for Smaps<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        self.entry.write(out);
        put!(out, "{:<16}{:>8} kB\n", "Size:", self.size);
        put!(out, "{:<16}{:>8} kB\n", "KernelPageSize:", self.kernel_page_size);
        put!(out, "{:<16}{:>8} kB\n", "MMUPageSize:", self.mmu_page_size);
        self.usage.write(out);
        put!(out, "{:<16}{:>8}\n", "THPeligible:", self.thp_eligible);
        if let Some(key) = self.protection_key {
            put!(out, "{:<16}{:>8}\n", "ProtectionKey:", key);
        }
        out.extend_from_slice(b"VmFlags: ");
        self.flags.write(out);
        out.push(b'\n');
    }
}

impl Text for SmapsRollup<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        self.entry.write(out);
        self.usage.write(out);
    }
}

/// Reads the whole of `smaps`.
///
/// # Errors
/// A line that is something else, or a VMA that is not complete.
pub fn parse_smaps(text: &[u8]) -> Result<Vec<Smaps<'_>>, ParseError> {
    let mut list = Vec::new();
    let mut open: Option<Smaps<'_>> = None;
    for line in lines(text) {
        match open.as_mut() {
            None => open = Some(begin(line)?),
            Some(vma) => {
                if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                    vma.flags = VmFlagNames::parse(flags)?;
                    list.extend(open.take());
                } else {
                    accept(vma, ascii(line, "a label")?)?;
                }
            }
        }
    }
    match open {
        None => Ok(list),
        Some(_) => Err(expected("VmFlags")),
    }
}

fn begin(line: &[u8]) -> Result<Smaps<'_>, ParseError> {
    Ok(Smaps {
        entry: MapsEntry::parse(line)?,
        size: 0,
        kernel_page_size: 0,
        mmu_page_size: 0,
        usage: SmapsUsage::default(),
        thp_eligible: 0,
        protection_key: None,
        flags: VmFlagNames::empty(),
    })
}

fn accept(vma: &mut Smaps<'_>, line: &str) -> Result<(), ParseError> {
    let (label, value) = parse_line(line)?;
    match label {
        "Size" => vma.size = value,
        "KernelPageSize" => vma.kernel_page_size = value,
        "MMUPageSize" => vma.mmu_page_size = value,
        "THPeligible" => vma.thp_eligible = value,
        "ProtectionKey" => vma.protection_key = Some(value),
        _ if vma.usage.accept(label, value) => {}
        _ => return Err(expected("a known label")),
    }
    Ok(())
}

impl<'a> SmapsRollup<'a> {
    /// Reads the whole of `smaps_rollup`.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let mut lines = lines(text);
        let entry = MapsEntry::parse(lines.next().ok_or(expected("a first line"))?)?;
        let mut usage = SmapsUsage::default();
        for line in lines {
            let (label, value) = parse_line(ascii(line, "a label")?)?;
            if !usage.accept(label, value) {
                return Err(expected("a known label"));
            }
        }
        Ok(Self { entry, usage })
    }
}
