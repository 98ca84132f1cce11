//! Looking at the kernel's tables when the machine is up.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::{Context, Result};
use foliant_arch::layout::I386;
use foliant_inspect::foliant_arch::arm64::Half;
use foliant_inspect::foliant_arch::{Access, AccessKind};
use foliant_inspect::listing::{Headings, I386Parts, Tables, Walked, X86_64Parts};
use foliant_inspect::{Root, TableFormat};
use foliant_kvirt::direct::DirectMap;
use foliant_phys::boot::Log;
use foliant_soft::SoftMachine;
use foliant_units::{Pfn, VirtAddr};

use super::args::Args;
use crate::layout::Arch;
use crate::pt::{self, Format};
use crate::walk;

/// The kernel's tables, on a machine whose RAM ends before `max_pfn`.
pub(super) fn tables<'a>(
    args: &Args,
    machine: &'a SoftMachine,
    map: &DirectMap,
    max_pfn: Pfn,
) -> Tables<'a, SoftMachine> {
    Tables::new(machine, max_pfn.raw(), root(args, map), Half::High)
}

fn root(args: &Args, map: &DirectMap) -> Root {
    let format = match args.arch {
        Arch::I386 if args.pae => TableFormat::X86Pae,
        Arch::I386 => TableFormat::X86Legacy,
        Arch::X86_64 | Arch::Arm64 if args.levels == 5 => TableFormat::X86_64La57,
        Arch::X86_64 | Arch::Arm64 => TableFormat::X86_64,
    };
    Root::new(format, map.root)
}

/// Explains translations and lists all mappings, as far as that was asked for.
pub(super) fn look(
    args: &Args,
    machine: &SoftMachine,
    map: &DirectMap,
    max_pfn: Pfn,
    log: &mut Log<'_>,
) -> Result<()> {
    for &address in &args.walk {
        let (root, at) = (root(args, map), VirtAddr::new(address));
        let told = |kind| Walked::new(machine, root, at, Access::supervisor(kind));
        log.line(format_args!(
            "walk of {address:#x}; {} tables at {:#x}",
            root.format.name(),
            root.table.raw()
        ));
        log.text(walk::steps(&told(AccessKind::Read)));
        for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
            log.line(format_args!("{}: {}", walk::verb(kind), walk::end(&told(kind))));
        }
    }
    let Some(path) = &args.pt else { return Ok(()) };
    let name = || format!("cannot write {}", path.display());
    let mut out = BufWriter::new(File::create(path).with_context(name)?);
    let headings = headings(args, max_pfn)?;
    let format = Format::of_file(path);
    pt::write(
        &tables(args, machine, map, max_pfn),
        format,
        None,
        &headings,
        &mut out,
    )?;
    out.flush().with_context(name)
}

fn headings(args: &Args, max_pfn: Pfn) -> Result<Headings> {
    if args.arch == Arch::I386 {
        let layout = I386::new(args.i386(), max_pfn)?;
        return Ok(Headings::i386(&I386Parts::from(&layout)));
    }
    let mut parts = X86_64Parts::usual(args.levels == 5);
    let bases = args.bases();
    parts.bases = [bases.direct.start, bases.vmalloc.start, bases.vmemmap.start];
    Ok(Headings::x86_64(&parts))
}
