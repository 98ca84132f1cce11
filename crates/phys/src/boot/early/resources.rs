//! `/proc/iomem` of a machine.

use core::fmt;

use foliant_units::PhysRange;

use super::image::KernelImage;
use crate::boot::first_megabyte::FIRST_MEGABYTE;
use crate::boot::kind::RegionKind;
use crate::boot::map::{MapEntry, MemoryMap};

/// The text of `/proc/iomem`: the map, and in it the kernel, the crash
/// kernel's place and the ROM of a PC.
///
/// # Linux source concept
/// `e820__reserve_resources()`, `setup_arch()` and kernel/resource.c.
pub fn resources<'a, const N: usize>(
    map: &'a MemoryMap<N>,
    kernel: Option<KernelImage>,
    crash: Option<PhysRange>,
) -> impl fmt::Display + 'a {
    fmt::from_fn(move |f| {
        let rom = FIRST_MEGABYTE[5];
        let mut rom_shown = false;
        for piece in map.pieces() {
            if !rom_shown && rom.1.end <= piece.range.start {
                line(f, 0, rom.1, rom.0)?;
                rom_shown = true;
            }
            line(f, 0, piece.range, piece.kind.resource())?;
            if piece.range.covers(rom.1) {
                line(f, 2, rom.1, rom.0)?;
                rom_shown = true;
            }
            children(f, &piece, kernel, crash)?;
        }
        Ok(())
    })
}

fn children(
    f: &mut fmt::Formatter<'_>,
    piece: &MapEntry,
    kernel: Option<KernelImage>,
    crash: Option<PhysRange>,
) -> fmt::Result {
    if piece.kind != RegionKind::Usable {
        return Ok(());
    }
    let nowhere = PhysRange::default();
    let mut parts = [("", nowhere); 5];
    if let Some(kernel) = kernel {
        parts[0] = ("Kernel code", kernel.text);
        parts[1] = ("Kernel rodata", kernel.rodata);
        parts[2] = ("Kernel data", kernel.data);
        parts[3] = ("Kernel bss", kernel.bss);
    }
    parts[4] = ("Crash kernel", crash.unwrap_or(nowhere));
    parts.sort_unstable_by_key(|(_, range)| range.start);
    for (name, range) in parts {
        if !range.is_empty() && piece.range.covers(range) {
            line(f, 2, range, name)?;
        }
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, indent: usize, range: PhysRange, name: &str) -> fmt::Result {
    let (start, last) = (range.start.raw(), range.end.raw() - 1);
    writeln!(f, "{:indent$}{start:08x}-{last:08x} : {name}", "")
}
