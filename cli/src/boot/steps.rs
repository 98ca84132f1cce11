//! The boot, step by step.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use foliant_arch::layout::{I386, Paging, X86_64Bases};
use foliant_arch::x86_64::LongMode;
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{KernelFormat, Level};
use foliant_kvirt::direct::{DirectConfig, DirectMap, init_mem_mapping};
use foliant_kvirt::early::EarlyTables;
use foliant_phys::boot::{EarlyBoot, Limits, Log, MachineKind, RegionKind, resources};
use foliant_phys::{BootOptions, ZoneLayout};
use foliant_soft::{SoftConfig, SoftMachine};
use foliant_units::{Pfn, PhysAddr};

use super::args::Args;
use super::map_file::{ENTRIES, Map};
use super::memory;
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
    let machine = machine(map)?;
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

    // The direct map, in the format of the architecture.
    let direct = map_memory(args, &machine, &mut early, log)?;
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
    let image = what.kernel.context("a kernel boots")?;
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
    memory::direct_map(log, &direct, sizes(args));
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

/// The zones of the architecture.
fn options(args: &Args, limits: Limits) -> BootOptions {
    match args.arch {
        Arch::I386 => BootOptions {
            zones: ZoneLayout::I386 {
                highmem: limits.max_low_pfn,
            },
            ..BootOptions::default()
        },
        Arch::X86_64 | Arch::Arm64 => BootOptions::default(),
    }
}

fn nodes(early: &Early) -> usize {
    let nodes = early.memblock.memory().iter().map(|region| region.node);
    nodes.collect::<BTreeSet<_>>().len()
}

/// A machine whose RAM reaches as far as the map's.
fn machine(map: &Map) -> Result<SoftMachine> {
    let usable = map.pieces().filter(|piece| piece.kind == RegionKind::Usable);
    let end = usable.map(|piece| piece.range.end.raw()).max().unwrap_or(0);
    if end == 0 {
        bail!(foliant_phys::BootError::NoMemory);
    }
    let config = SoftConfig {
        ram: end,
        cpus: 1,
        tags: 8,
        ..SoftConfig::default()
    };
    SoftMachine::try_new(config)
        .map_err(|why| anyhow::anyhow!("the host has no addresses for RAM up to {end:#x}: {why}"))
}

fn map_memory(args: &Args, machine: &SoftMachine, early: &mut Early, log: &mut Log<'_>) -> Result<DirectMap> {
    match args.arch {
        Arch::I386 if args.pae => map_with::<X86Pae>(args, machine, early, log),
        Arch::I386 => map_with::<X86Legacy>(args, machine, early, log),
        Arch::X86_64 | Arch::Arm64 => {
            log.line(format_args!("Using GB pages for direct mapping"));
            match args.levels {
                5 => map_with::<LongMode<true>>(args, machine, early, log),
                _ => map_with::<LongMode<false>>(args, machine, early, log),
            }
        }
    }
}

fn map_with<F: KernelFormat>(
    args: &Args,
    machine: &SoftMachine,
    early: &mut Early,
    log: &mut Log<'_>,
) -> Result<DirectMap> {
    let limits = early.limits();
    let config = match args.arch {
        Arch::I386 => DirectConfig {
            base: args.i386().split.page_offset(),
            end: limits.max_low_pfn,
            largest: Level::PGD,
            first_small: true,
        },
        Arch::X86_64 | Arch::Arm64 => {
            let paging = if args.levels == 5 {
                Paging::Five
            } else {
                Paging::Four
            };
            DirectConfig {
                base: X86_64Bases::fixed(paging, args.like.version()).direct.start,
                end: limits.max_pfn,
                largest: Level::PUD,
                first_small: false,
            }
        }
    };
    let mut tables = EarlyTables::new(machine, &mut early.memblock, TABLE_BUFFER)?;
    Ok(init_mem_mapping::<F, _>(
        &mut tables,
        &mut early.memblock,
        config,
        log,
    )?)
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
