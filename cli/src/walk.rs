//! `foliant walk`: one translation, level by level.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};
use foliant_inspect::foliant_arch::arm64::{Arm64, ArmControl, FaultKind, fault_status};
use foliant_inspect::foliant_arch::{
    Access, AccessKind, Entry, ErrorCode, Explanation, Mode, Next, Stop, explain,
};
use foliant_inspect::listing::Describe;
use foliant_inspect::{Image, Root, with_format};
use foliant_units::VirtAddr;

use crate::target::{Target, hex};

/// Arguments of `foliant walk`.
#[derive(ClapArgs)]
#[command(
    after_help = "Exit status: 0 if the access is allowed, 1 if it would fault.\n\n\
Examples:\n  foliant walk -s vmcore --pid 1 7ffdbb850000\n  \
foliant walk -s mem.elf --access write ffffffff81000000"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The address to translate, hexadecimal.
    #[arg(value_parser = hex)]
    address: u64,
    /// What is done there.
    #[arg(long, value_enum, default_value = "read")]
    access: Kind,
    /// By whom; if not said, the kernel in its half of the addresses, programs in theirs.
    #[arg(long, value_enum)]
    mode: Option<Who>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Read,
    Write,
    Exec,
}

#[derive(Clone, Copy, ValueEnum)]
enum Who {
    User,
    Kernel,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let image = args.target.open()?;
    let at = VirtAddr::new(args.address);
    let (root, _) = args.target.root(&image, Some(at))?;
    let mut out = io::stdout().lock();
    let translated = with_format!(root, F, control => {
        let access = args.access(<F as foliant_inspect::foliant_arch::Format>::GEOMETRY.address_bits);
        let told = explain::<F>(&image, root.table, at, access, control);
        writeln!(
            out,
            "{} of {:#x} by {}; {} tables at {:#x}",
            verb(access.kind),
            at.raw(),
            if access.mode == Mode::User { "a program" } else { "the kernel" },
            root.format.name(),
            root.table.raw(),
        )?;
        steps(&mut out, &told, control)?;
        verdict(&mut out, &told, at, root, &image, access)?;
        told.stop.is_none()
    });
    Ok(ExitCode::from(u8::from(!translated)))
}

impl Args {
    fn access(&self, bits: u32) -> Access {
        let kind = match self.access {
            Kind::Read => AccessKind::Read,
            Kind::Write => AccessKind::Write,
            Kind::Exec => AccessKind::Execute,
        };
        let kernels = if bits == 32 {
            self.address >= 0xc000_0000
        } else {
            self.address >> 63 != 0
        };
        match self.mode {
            Some(Who::User) => Access::user(kind),
            Some(Who::Kernel) => Access::supervisor(kind),
            None if kernels => Access::supervisor(kind),
            None => Access::user(kind),
        }
    }
}

fn verb(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Execute => "fetch",
    }
}

fn steps<F: Describe>(out: &mut impl Write, told: &Explanation<F>, control: &F::Control) -> io::Result<()> {
    writeln!(
        out,
        "{:<9} {:>5}  {:<14} {:<18}  says",
        "entry", "index", "at", "word"
    )?;
    let digits = F::GEOMETRY.entry_bytes as usize * 2;
    for step in told.steps() {
        let name = F::entry_name(step.level);
        let word = format!("{:#0width$x}", step.entry.raw(), width = digits + 2);
        let says = if !step.entry.is_present() {
            "not present".to_owned()
        } else {
            let words = F::words(step.entry, step.level);
            match F::follow(step.entry, step.level, control) {
                Next::Table(table) => format!("table {:#x}  {words}", table.raw()),
                Next::Memory(memory) => format!("memory {:#x}  {words}", memory.raw()),
            }
        };
        let at = format!("{:#x}", step.slot.raw());
        writeln!(out, "{name:<9} {:>5}  {at:<14} {word:<18}  {says}", step.index)?;
    }
    Ok(())
}

/// A size as people say it.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let found = units
        .iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    match found {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

fn verdict<F: Describe>(
    out: &mut impl Write,
    told: &Explanation<F>,
    at: VirtAddr,
    root: Root,
    image: &Image,
    access: Access,
) -> io::Result<()> {
    let Some(stop) = told.stop else {
        let Some(found) = told.found else { return Ok(()) };
        let span = F::GEOMETRY.entry_span(found.level);
        let target = found.frame.base() + (at.raw() & (span - 1));
        return writeln!(
            out,
            "= {:#x}, in a page of {} that begins at {:#x}",
            target.raw(),
            size(span),
            found.frame.base().raw()
        );
    };
    if F::ARM_TEXT {
        return arm_verdict(out, stop, at, root, image, access);
    }
    match stop {
        Stop::NonCanonical => writeln!(
            out,
            "= general protection: {:#x} is not an address of {} bits",
            at.raw(),
            F::GEOMETRY.address_bits
        ),
        Stop::Nowhere(level) => writeln!(
            out,
            "= nothing: the image has no memory where the table of {}s should be",
            F::entry_name(level)
        ),
        Stop::Absent(level, code) => {
            fault(out, code, &format!("the {} is not present", F::entry_name(level)))
        }
        Stop::Reserved(level, code) => fault(
            out,
            code,
            &format!("the {} has a reserved bit set", F::entry_name(level)),
        ),
        Stop::Refused(_, code) => fault(out, code, "the entries forbid it"),
    }
}

fn fault(out: &mut impl Write, code: ErrorCode, why: &str) -> io::Result<()> {
    let names: Vec<String> = code.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ").replace('_', " ")
    };
    writeln!(
        out,
        "= page fault, error code {:#x} ({names}): {why}",
        code.bits()
    )
}

fn arm_verdict(
    out: &mut impl Write,
    stop: Stop,
    at: VirtAddr,
    root: Root,
    image: &Image,
    access: Access,
) -> io::Result<()> {
    let Some((kind, level, code)) = arm_status(root, image, at, access) else {
        return writeln!(out, "= {stop:?}");
    };
    let kind = match kind {
        FaultKind::AddressSize => "address size fault",
        FaultKind::Translation => "translation fault",
        FaultKind::AccessFlag => "access flag fault",
        FaultKind::Permission => "permission fault",
    };
    writeln!(
        out,
        "= {kind}, level {level} (status code {code:#04x} of ESR_EL1)"
    )
}

/// The walk again, with the type that arm64's syndrome wants.
fn arm_status(root: Root, image: &Image, at: VirtAddr, access: Access) -> Option<(FaultKind, i8, u8)> {
    use foliant_inspect::TableFormat as T;
    fn go<const G: u32, const B: u32>(
        root: Root,
        image: &Image,
        at: VirtAddr,
        access: Access,
    ) -> Option<(FaultKind, i8, u8)> {
        let control: &ArmControl = &root.controls.arm;
        let told = explain::<Arm64<G, B>>(image, root.table, at, access, control);
        fault_status(&told, control)
    }
    match root.format {
        T::Arm4K39 => go::<12, 39>(root, image, at, access),
        T::Arm4K48 => go::<12, 48>(root, image, at, access),
        T::Arm4K52 => go::<12, 52>(root, image, at, access),
        T::Arm16K47 => go::<14, 47>(root, image, at, access),
        T::Arm16K48 => go::<14, 48>(root, image, at, access),
        T::Arm16K52 => go::<14, 52>(root, image, at, access),
        T::Arm64K42 => go::<16, 42>(root, image, at, access),
        T::Arm64K48 => go::<16, 48>(root, image, at, access),
        T::Arm64K52 => go::<16, 52>(root, image, at, access),
        T::X86Legacy | T::X86Pae | T::X86_64 | T::X86_64La57 | T::Ept | T::Npt => None,
    }
}
