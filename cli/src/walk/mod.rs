//! `foliant walk`: one translation, level by level.

mod live;
mod show;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};
use foliant_inspect::foliant_arch::{Access, AccessKind, Mode};
use foliant_inspect::listing::{Walked, kernel_begins};
use foliant_units::VirtAddr;

pub(crate) use show::{end, size, steps};

use crate::target::{Target, hex};

/// Arguments of `foliant walk`.
#[derive(ClapArgs)]
#[command(
    after_help = "Exit status: 0 if the access is allowed, 1 if it would fault.\n\n\
Examples:\n  foliant walk -s vmcore --pid 1 7ffdbb850000\n  \
foliant walk -s mem.elf --access write ffffffff81000000\n  \
foliant walk --live --pid 1 7ffdbb850000"
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
    let at = VirtAddr::new(args.address);
    if let Some(process) = args.target.live()? {
        let there = live::show(&process, at, &mut io::stdout().lock())?;
        return Ok(ExitCode::from(u8::from(!there)));
    }
    let image = args.target.open()?;
    let (root, _) = args.target.root(&image, Some(at))?;
    let access = args.access(at >= kernel_begins(root.format));
    let told = Walked::new(&image, root, at, access);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} of {:#x} by {}; {} tables at {:#x}",
        verb(access.kind),
        at.raw(),
        if access.mode == Mode::User {
            "a program"
        } else {
            "the kernel"
        },
        root.format.name(),
        root.table.raw(),
    )?;
    write!(out, "{}", steps(&told))?;
    writeln!(out, "= {}", end(&told))?;
    Ok(ExitCode::from(u8::from(!told.is_allowed())))
}

impl Args {
    /// The access that is asked for; `kernels` are addresses of the kernel.
    fn access(&self, kernels: bool) -> Access {
        let kind = match self.access {
            Kind::Read => AccessKind::Read,
            Kind::Write => AccessKind::Write,
            Kind::Exec => AccessKind::Execute,
        };
        match self.mode {
            Some(Who::User) => Access::user(kind),
            Some(Who::Kernel) => Access::supervisor(kind),
            None if kernels => Access::supervisor(kind),
            None => Access::user(kind),
        }
    }
}

/// What an access is called.
pub(crate) fn verb(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Execute => "fetch",
    }
}
