//! `foliant gdt`: the descriptors of a processor's GDT.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args as ClapArgs;
use foliant_inspect::foliant_arch::segment::{Descriptor, Kind, SystemKind};
use foliant_inspect::foliant_arch::{Format, peek};
use foliant_inspect::{Machine, Root, with_format};
use foliant_units::VirtAddr;

use crate::target::{Target, hex};

/// Arguments of `foliant gdt`.
#[derive(ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  foliant gdt -s mem.elf\n  \
foliant gdt --words 0 00af9b000000ffff 00cff3000000ffff"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Option<Target>,
    /// Descriptors to decode instead of an image's, hexadecimal, eight bytes each.
    #[arg(long, value_parser = hex, num_args = 1.., conflicts_with = "Target")]
    words: Vec<u64>,
    /// The words are those of a processor without long mode.
    #[arg(long, requires = "words")]
    i386: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (words, long) = match &args.target {
        Some(target) => of_image(target)?,
        None if args.words.is_empty() => bail!("say where: an image with -s, or descriptors with --words"),
        None => (args.words.clone(), !args.i386),
    };
    io::stdout()
        .lock()
        .write_all(gdt_table(&words, long).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The GDT of a processor, read through its tables.
fn of_image(target: &Target) -> Result<(Vec<u64>, bool)> {
    let image = target.open()?;
    let cpu = image.cpus().first().copied();
    let cpu = cpu.ok_or_else(|| anyhow!("{}: no registers of an x86 processor in it", target.name()))?;
    let (root, _) = target.root(&image, Some(cpu.gdt))?;
    let count = (u64::from(cpu.gdt_limit) + 1).min(1 << 16) / 8;
    let mut words = Vec::new();
    for nth in 0..count {
        let at = VirtAddr::new(cpu.gdt.raw().wrapping_add(nth * 8));
        let physical =
            translate(&image, root, at).ok_or_else(|| anyhow!("nothing is mapped at {:#x}", at.raw()))?;
        let mut bytes = [0; 8];
        image.read(physical, &mut bytes)?;
        words.push(u64::from_le_bytes(bytes));
    }
    Ok((words, image.machine() == Machine::X86_64))
}

fn translate(image: &foliant_inspect::Image, root: Root, at: VirtAddr) -> Option<foliant_units::PhysAddr> {
    with_format!(root, F, control => {
        let found = peek::<F>(image, root.table, at, control)?;
        let span = <F as Format>::GEOMETRY.entry_span(found.level);
        Some(found.frame.base() + (at.raw() & (span - 1)))
    })
}

/// The descriptors as a table; `long` says that the processor has long mode.
pub fn gdt_table(words: &[u64], long: bool) -> String {
    let mut out = format!(
        "{:<8} {:<18} {:<18} {:<10} {:<3} what\n",
        "selector", "word", "base", "limit", "DPL"
    );
    let mut upper_half = false;
    for (nth, &word) in words.iter().enumerate() {
        let selector = format!("{:#04x}", nth * 8);
        if upper_half {
            upper_half = false;
            out += &format!("{selector:<8} {word:#018x} (upper half of the one before)\n");
            continue;
        }
        let descriptor = Descriptor(word);
        if word == 0 {
            let what = if nth == 0 { "null" } else { "empty" };
            out += &format!("{selector:<8} {word:#018x} {what}\n");
            continue;
        }
        upper_half = long && descriptor.is_double();
        let next = words.get(nth + 1).copied().unwrap_or(0);
        let base = if upper_half {
            descriptor.base_with(Descriptor(next))
        } else {
            descriptor.base().into()
        };
        let base = format!("{base:#x}");
        let limit = format!("{:#x}", descriptor.limit());
        let what = describe(descriptor, long);
        let privilege = descriptor.privilege();
        out += &format!("{selector:<8} {word:#018x} {base:<18} {limit:<10} {privilege:<3} {what}\n");
    }
    out
}

fn describe(descriptor: Descriptor, long: bool) -> String {
    let mut words = vec![match descriptor.kind() {
        Kind::Data {
            writable,
            expand_down,
        } => {
            let kind = if writable {
                "data, writable"
            } else {
                "data, read-only"
            };
            format!("{kind}{}", if expand_down { ", expands down" } else { "" })
        }
        Kind::Code { readable, conforming } => {
            let kind = if readable {
                "code, readable"
            } else {
                "code, execute-only"
            };
            format!("{kind}{}", if conforming { ", conforming" } else { "" })
        }
        Kind::System(kind) => system(kind).to_owned(),
    }];
    match descriptor.kind() {
        Kind::System(_) => {}
        Kind::Code { .. } if long && descriptor.is_long() => words.push("64-bit".to_owned()),
        _ if descriptor.is_big() => words.push("32-bit".to_owned()),
        _ => words.push("16-bit".to_owned()),
    }
    if descriptor.is_accessed() {
        words.push("accessed".to_owned());
    }
    if !descriptor.is_present() {
        words.push("not present".to_owned());
    }
    words.join(", ")
}

fn system(kind: SystemKind) -> &'static str {
    match kind {
        SystemKind::Tss16 => "TSS of 16 bits",
        SystemKind::Ldt => "LDT",
        SystemKind::CallGate16 => "call gate of 16 bits",
        SystemKind::TaskGate => "task gate",
        SystemKind::InterruptGate16 => "interrupt gate of 16 bits",
        SystemKind::TrapGate16 => "trap gate of 16 bits",
        SystemKind::TssAvailable => "TSS, available",
        SystemKind::TssBusy => "TSS, busy",
        SystemKind::CallGate => "call gate",
        SystemKind::InterruptGate => "interrupt gate",
        SystemKind::TrapGate => "trap gate",
        SystemKind::Reserved => "reserved",
    }
}
