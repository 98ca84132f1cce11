//! Memory that comes and goes when the machine is up.

use std::sync::Arc;

use anyhow::{Context, Result};
use foliant_arch::layout::I386;
use foliant_arch::x86_64::{X86_64, X86_64La57};
use foliant_arch::x86_legacy::X86Legacy;
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{KernelFormat, Level};
use foliant_kvirt::direct::{DirectMap, FollowingConfig, FollowingMap};
use foliant_kvirt::early::EarlyTables;
use foliant_phys::boot::Log;
use foliant_phys::{Migrator, Moved, NewMemory, OnlineTo, Phys, SECTION};
use foliant_soft::SoftMachine;
use foliant_units::{Pfn, PfnRange, PhysRange};

use super::args::Args;
use crate::layout::Arch;

/// The direct map of the running kernel, in whichever format. The kernel's
/// tables live as long as it does.
pub(super) trait Running {
    /// Bytes that leaves of `level` show.
    fn mapped(&self, level: Level) -> u64;
    /// The end of memory.
    fn max_pfn(&self) -> Pfn;
}

impl<F: KernelFormat> Running for Arc<FollowingMap<SoftMachine, F>> {
    fn mapped(&self, level: Level) -> u64 {
        (**self).mapped(level)
    }

    fn max_pfn(&self) -> Pfn {
        (**self).max_pfn()
    }
}

/// Nothing runs, so nothing has to move.
struct Nobody;

impl Migrator for Nobody {
    fn migrate(&self, _: Pfn, _: Pfn) -> Moved {
        Moved::No
    }
}

/// Adds and removes what was asked for, in that order; the kernel goes on in
/// the tables of its boot.
pub(super) fn plug(
    args: &Args,
    phys: &Arc<Phys<SoftMachine>>,
    tables: EarlyTables<SoftMachine>,
    direct: &DirectMap,
    max_pfn: Pfn,
    log: &mut Log<'_>,
) -> Result<Box<dyn Running>> {
    let config = match args.arch {
        Arch::I386 => FollowingConfig::i386(&I386::new(args.i386(), max_pfn)?),
        Arch::X86_64 | Arch::Arm64 => FollowingConfig::x86_64(&args.bases()),
    };
    let running = match args.arch {
        Arch::I386 if args.pae => follow::<X86Pae>(phys, tables, direct, config),
        Arch::I386 => follow::<X86Legacy>(phys, tables, direct, config),
        Arch::X86_64 | Arch::Arm64 if args.levels == 5 => follow::<X86_64La57>(phys, tables, direct, config),
        Arch::X86_64 | Arch::Arm64 => follow::<X86_64>(phys, tables, direct, config),
    }?;
    for &range in &args.add {
        add(phys, range).with_context(|| format!("cannot add {}", Range(range)))?;
        log.line(format_args!("memory added: {}", Range(range)));
    }
    for &range in &args.remove {
        remove(phys, range).with_context(|| format!("cannot remove {}", Range(range)))?;
        log.line(format_args!("memory removed: {}", Range(range)));
    }
    Ok(running)
}

fn follow<F: KernelFormat>(
    phys: &Arc<Phys<SoftMachine>>,
    tables: EarlyTables<SoftMachine>,
    direct: &DirectMap,
    config: FollowingConfig,
) -> Result<Box<dyn Running>> {
    let tables = tables.kernel_tables::<F>(phys, direct.root)?;
    Ok(Box::new(FollowingMap::of_boot(&Arc::new(tables), config)?))
}

fn add(phys: &Phys<SoftMachine>, range: PhysRange) -> Result<()> {
    let frames = frames(range);
    let new = NewMemory {
        is_zeroed: true,
        ..NewMemory::new(frames)
    };
    phys.add_memory(new)?;
    for first in frames.iter().step_by(SECTION as usize) {
        phys.online_section(first, OnlineTo::Movable)?;
    }
    Ok(())
}

fn remove(phys: &Phys<SoftMachine>, range: PhysRange) -> Result<()> {
    let frames = frames(range);
    for first in frames.iter().step_by(SECTION as usize) {
        phys.offline_section(first, &Nobody)?;
    }
    Ok(phys.remove_memory(frames)?)
}

fn frames(range: PhysRange) -> PfnRange {
    PfnRange::new(range.start.frame(), range.end.frame())
}

struct Range(PhysRange);

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, last) = (self.0.start, self.0.end - 1);
        write!(f, "[mem {start:#010x}-{last:#010x}]")
    }
}
