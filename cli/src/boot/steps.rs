//! The boot, step by step.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use foliant_arch::layout::{I386, TEXT_START};
use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{KernelFormat, KernelProt, Level};
use foliant_kvirt::direct::{DirectConfig, DirectMap, init_mem_mapping};
use foliant_kvirt::early::EarlyTables;
use foliant_phys::boot::{EarlyBoot, KernelImage, Limits, Log, MachineKind, RegionKind, resources};
use foliant_phys::{BootOptions, ZoneLayout};
use foliant_soft::{SoftConfig, SoftMachine};
use foliant_units::{Pfn, PhysAddr};

use super::args::Args;
use super::look;
use super::map_file::{ENTRIES, Map};
use super::memory;
use super::plug;
use crate::layout::Arch;

/// Frames of tables that the kernel's image has room for.
const TABLE_BUFFER: u64 = 12;

type Early = EarlyBoot<SoftMachine, ENTRIES>;

pub(super) fn boot(args: &Args, out: &mut String) -> Result<()> {
    args.refuse_strangers()?;
    boot_from(args, &args.memory_map()?, out)
}

/// As [`boot`], from this map.
pub(super) fn boot_from(args: &Args, map: &Map, out: &mut String) -> Result<()> {
    args.refuse_strangers()?;
    let kind = kind(args)?;
    let machine = machine(map, args.end_of_added())?;
    let mut log = Log::new(out);
    let log = &mut log;

    // The map, its limits, and what is taken from the start.
    let mut early = Box::new(EarlyBoot::new(&machine, kind, args.dialect(), map, log)?);
    if let Some(limit) = args.mem {
        early.limit_memory(limit.0, log)?;
    }
    let what = args.reservations()?;
    early.reserve(&what)?;
    early.add_ram()?;

    // The direct map, in the format of the architecture, and its rights.
    let image = what.kernel.context("a kernel boots")?;
    let (direct, tables) = map_memory(args, &machine, &mut early, &image, log)?;
    early.announce_initrd(&what, log);
    let crash = args
        .crashkernel
        .and_then(|crash| early.reserve_crash_kernel(crash, log));
    if args.arch == Arch::I386 {
        announce_low_memory(early.limits(), log);
    }
    early.announce_zones(log);
    early.announce_gap(log);

    // The hand-over.
    if args.memblock {
        log.text(&early.memblock);
    }
    let present = early.present_frames();
    let nodes = nodes(&early);
    let limits = early.limits();
    let iomem = args
        .iomem
        .then(|| resources(early.map(), what.kernel, crash).to_string());
    let phys = machine.take_over(early.memblock, options(args, limits))?;
    log.line(format_args!(
        "Built {} zonelists, mobility grouping on.  Total pages: {present}",
        nodes
    ));
    let high = (args.arch == Arch::I386).then(|| limits.max_pfn - limits.max_low_pfn);
    memory::line(log, &phys.stats(), present, &image, high);
    if args.arch == Arch::I386 && args.like == crate::layout::Like::Linux44 {
        let layout = I386::new(args.i386(), limits.max_pfn)?;
        log.text(layout.log(args.sections(&layout, &image)));
    }
    let running = match args.plugs() {
        true => Some(plug::plug(args, &phys, tables, &direct, limits.max_pfn, log)?),
        false => None,
    };
    let mapped = |level| {
        let running = running.as_ref().map(|running| running.mapped(level));
        running.unwrap_or_else(|| direct.mapped(level))
    };
    let max_pfn = running
        .as_ref()
        .map_or(limits.max_pfn, |running| running.max_pfn());
    memory::direct_map(log, mapped, sizes(args));
    protected(log, &image);
    // Without PAE nothing can be kept from being executed, and Linux is silent.
    if args.arch != Arch::I386 || args.pae {
        let tables = look::tables(args, &machine, &direct, max_pfn);
        log.line(format_args!("{}", tables.check_wx()?));
    }
    look::look(args, &machine, &direct, max_pfn, log)?;
    if let Some(iomem) = iomem {
        log.text(iomem);
    }
    if args.audit {
        let mut violations = 0;
        let census = phys.audit(&mut |_| violations += 1);
        log.line(format_args!(
            "audit: {} frames free, {} reserved, {} allocated, {violations} violations",
            census.available(),
            census.reserved,
            census.allocated
        ));
    }
    Ok(())
}

fn kind(args: &Args) -> Result<MachineKind> {
    Ok(match args.arch {
        Arch::I386 => MachineKind::I386 {
            pae: args.pae,
            lowmem: args.lowmem()?,
        },
        Arch::X86_64 | Arch::Arm64 => MachineKind::X86_64 {
            physical_bits: if args.levels == 5 { 52 } else { 46 },
        },
    })
}

/// The zones of the architecture, and room for memory that is added.
fn options(args: &Args, limits: Limits) -> BootOptions {
    let options = BootOptions {
        hotplug_below: args.end_of_added(),
        ..BootOptions::default()
    };
    match args.arch {
        Arch::I386 => BootOptions {
            zones: ZoneLayout::I386 {
                highmem: limits.max_low_pfn,
            },
            ..options
        },
        Arch::X86_64 | Arch::Arm64 => options,
    }
}

fn nodes(early: &Early) -> usize {
    let nodes = early.memblock.memory().iter().map(|region| region.node);
    nodes.collect::<BTreeSet<_>>().len()
}

/// A machine whose RAM reaches as far as the map's and what is added.
fn machine(map: &Map, added: u64) -> Result<SoftMachine> {
    let usable = map.pieces().filter(|piece| piece.kind == RegionKind::Usable);
    let end = usable.map(|piece| piece.range.end.raw()).max().unwrap_or(0);
    if end == 0 {
        bail!(foliant_phys::BootError::NoMemory);
    }
    let config = SoftConfig {
        ram: end.max(added),
        cpus: 1,
        tags: 8,
        ..SoftConfig::default()
    };
    SoftMachine::try_new(config)
        .map_err(|why| anyhow::anyhow!("the host has no addresses for RAM up to {end:#x}: {why}"))
}

fn map_memory(
    args: &Args,
    machine: &SoftMachine,
    early: &mut Early,
    image: &KernelImage,
    log: &mut Log<'_>,
) -> Result<(DirectMap, EarlyTables<SoftMachine>)> {
    match args.arch {
        Arch::I386 if args.pae => map_with::<X86Pae>(args, machine, early, image, log),
        Arch::I386 => map_with::<X86Legacy>(args, machine, early, image, log),
        Arch::X86_64 | Arch::Arm64 => {
            log.line(format_args!("Using GB pages for direct mapping"));
            match args.levels {
                5 => map_with::<X86_64La57>(args, machine, early, image, log),
                _ => map_with::<X86_64>(args, machine, early, image, log),
            }
        }
    }
}

fn map_with<F: KernelFormat>(
    args: &Args,
    machine: &SoftMachine,
    early: &mut Early,
    image: &KernelImage,
    log: &mut Log<'_>,
) -> Result<(DirectMap, EarlyTables<SoftMachine>)> {
    let limits = early.limits();
    let config = match args.arch {
        Arch::I386 => DirectConfig {
            base: args.i386().split.page_offset(),
            end: limits.max_low_pfn,
            largest: Level::PGD,
            first_small: true,
        },
        Arch::X86_64 | Arch::Arm64 => DirectConfig {
            base: args.bases().direct.start,
            end: limits.max_pfn,
            largest: Level::PUD,
            first_small: false,
        },
    };
    let mut tables = EarlyTables::new(machine, &mut early.memblock, TABLE_BUFFER)?;
    let memblock = &mut early.memblock;
    let mut map = init_mem_mapping::<F, _>(&mut tables, memblock, config, log)?;
    match args.arch {
        // The kernel runs where the direct map shows it.
        Arch::I386 => {
            map.protect::<F, _>(&mut tables, memblock, image.text, KernelProt::CODE)?;
            map.protect::<F, _>(&mut tables, memblock, image.rodata, KernelProt::READ_ONLY)?;
        }
        // It runs in a mapping of its own, and its text is nothing to execute elsewhere.
        Arch::X86_64 | Arch::Arm64 => {
            let fixed = [image.text, image.rodata];
            for part in fixed {
                map.protect::<F, _>(&mut tables, memblock, part, KernelProt::READ_ONLY)?;
            }
            let parts = [
                (image.text, KernelProt::CODE),
                (image.rodata, KernelProt::READ_ONLY),
                (image.data, KernelProt::DATA),
                (image.bss, KernelProt::DATA),
            ];
            for (part, prot) in parts {
                map.map_image::<F, _>(&mut tables, memblock, TEXT_START, part, prot)?;
            }
        }
    }
    Ok((map, tables))
}

/// # Linux source concept
/// `mark_rodata_ro()`.
fn protected(log: &mut Log<'_>, image: &KernelImage) {
    let kib = (image.text.len() + image.rodata.len()) >> 10;
    log.line(format_args!("Write protecting the kernel read-only data: {kib}k"));
}

/// # Linux source concept
/// `find_low_pfn_range()`, `initmem_init()`, arch/x86/mm/init_32.c.
fn announce_low_memory(limits: Limits, log: &mut Log<'_>) {
    let mib = |frames: Pfn| frames.base().raw() >> 20;
    let low: PhysAddr = limits.max_low_pfn.base();
    let high = Pfn::new(limits.max_pfn - limits.max_low_pfn);
    log.line(format_args!("{}MB HIGHMEM available.", mib(high)));
    log.line(format_args!("{}MB LOWMEM available.", mib(limits.max_low_pfn)));
    log.line(format_args!("  mapped low ram: 0 - {:08x}", low.raw()));
    log.line(format_args!("  low ram: 0 - {:08x}", low.raw()));
}

/// Page sizes of the direct map, as `/proc/meminfo` names them.
fn sizes(args: &Args) -> &'static [(Level, &'static str)] {
    match args.arch {
        Arch::I386 if args.pae => &[(Level::PTE, "4k"), (Level::PMD, "2M")],
        Arch::I386 => &[(Level::PTE, "4k"), (Level::PGD, "4M")],
        Arch::X86_64 | Arch::Arm64 => &[(Level::PTE, "4k"), (Level::PMD, "2M"), (Level::PUD, "1G")],
    }
}
