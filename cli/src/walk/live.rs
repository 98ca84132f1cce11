//! A page of a process of this host.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use anyhow::Result;
use foliant_inspect::live::{LiveProcess, page_words};
use foliant_uapi::pagemap::KpageFlags;
use foliant_uapi::text::MapsEntry;
use foliant_units::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};

/// Tells what the kernel tells of a page; whether it is there.
pub(super) fn show(process: &LiveProcess, at: VirtAddr, out: &mut impl Write) -> Result<bool> {
    let text = process.maps()?;
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let area = lines.find(|line| MapsEntry::parse(line).is_ok_and(|area| area.range.contains(at)));
    match area {
        Some(line) => {
            let words: Vec<_> = line
                .split(|&byte| byte == b' ')
                .filter(|word| !word.is_empty())
                .collect();
            writeln!(out, "in {}", String::from_utf8_lossy(&words.join(&b' ')))?;
        }
        None => writeln!(out, "in no mapping of process {}", process.pid())?,
    }
    let word = process.page(at)?;
    writeln!(out, "pagemap {:#018x}: {}", word.0, page_words(word))?;
    let Some(frame) = word.frame() else {
        writeln!(out, "= not present")?;
        return Ok(false);
    };
    if frame == Pfn::new(0) {
        writeln!(out, "= present; the kernel shows frame numbers to root only")?;
        return Ok(true);
    }
    if let Ok(flags) = kernel_word("/proc/kpageflags", frame) {
        let names: Vec<_> = KpageFlags::from_bits_retain(flags)
            .iter_names()
            .map(|(name, _)| name.to_lowercase())
            .collect();
        writeln!(out, "kpageflags {flags:#x}: {}", names.join("; "))?;
    }
    if let Ok(count) = kernel_word("/proc/kpagecount", frame) {
        writeln!(out, "kpagecount {count}: mappings of the frame")?;
    }
    let inside = at.raw() & (PAGE_SIZE as u64 - 1);
    writeln!(out, "= {:#x}", (frame.raw() << PAGE_SHIFT) + inside)?;
    Ok(true)
}

/// The word of a frame in one of the kernel's files.
fn kernel_word(path: &str, frame: Pfn) -> io::Result<u64> {
    let mut word = [0; 8];
    File::open(path)?.read_exact_at(&mut word, frame.raw() * 8)?;
    Ok(u64::from_ne_bytes(word))
}
