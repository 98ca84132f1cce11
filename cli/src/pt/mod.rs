//! `foliant pt`: everything that tables map.

mod parquet;
mod rows;

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use foliant_inspect::foliant_arch::EntryMemory;
use foliant_inspect::foliant_arch::arm64::Half;
use foliant_inspect::linux::Kernel;
use foliant_inspect::listing::{Headings, Mapping, Tables, X86_64Parts};
use foliant_inspect::{Image, Root, TableFormat};

use crate::target::Target;
use rows::Rows;

/// Arguments of `foliant pt`.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  foliant pt -s vmcore --pid 1\n  \
foliant pt -s vmcore --kernel --check wx\n  \
foliant pt -s mem.elf --root 258a000 --format parquet > leaves.parquet")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// How to write it.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// List only what is wrong: wx, mappings that are writable and executable.
    /// Exit status 1 if there are any.
    #[arg(long, value_enum)]
    check: Option<Check>,
}

/// How mappings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// As Linux's /sys/kernel/debug/page_tables has it.
    Ptdump,
    /// Columns for people.
    Table,
    /// One object a line.
    Json,
    /// Comma-separated values with a heading.
    Csv,
    /// A Parquet file, for data tools.
    Parquet,
}

/// What is wrong with a mapping.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Check {
    /// Writable and executable.
    Wx,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.format == Format::Parquet && io::stdout().is_terminal() {
        bail!("a Parquet file is nothing for a terminal: send it to a file");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(process) = args.target.live()? {
        if args.format == Format::Ptdump {
            bail!("the kernel does not tell the tables of this host, only where pages are");
        }
        let count = put_all(args.format, args.check, &mut out, |each| Ok(process.list(each)?))?;
        out.flush()?;
        return Ok(ExitCode::from(u8::from(args.check.is_some() && count != 0)));
    }
    let image = args.target.open()?;
    let (root, half) = args.target.root(&image, None)?;
    let tables = Tables::in_image(&image, root, half);
    let headings = match args.format {
        Format::Ptdump => headings(&image, root, half),
        _ => Headings::none(),
    };
    let count = write(&tables, args.format, args.check, &headings, &mut out)?;
    out.flush()?;
    if args.check.is_some() {
        // In the words of the kernel's own boot.
        eprintln!("foliant: {}", tables.check_wx()?);
    }
    let wrong = args.check.is_some() && count != 0;
    Ok(ExitCode::from(u8::from(wrong)))
}

/// Where the parts of the address space are: as the kernel in the image tells,
/// or where they usually are.
fn headings(image: &Image, root: Root, half: Half) -> Headings {
    let kernel = Kernel::find(image).ok();
    match (root.format, kernel) {
        // Linux has no dump of what programs map on arm64, and no names for it.
        (TableFormat::X86_64 | TableFormat::X86_64La57, None) => {
            Headings::x86_64(&X86_64Parts::usual(root.format == TableFormat::X86_64La57))
        }
        (format, Some(kernel))
            if format == kernel.root().format && (is_x86(format) || half == Half::High) =>
        {
            kernel.headings()
        }
        _ => Headings::none(),
    }
}

fn is_x86(format: TableFormat) -> bool {
    use TableFormat as T;
    matches!(format, T::X86Legacy | T::X86Pae | T::X86_64 | T::X86_64La57)
}

/// Writes what `tables` map, all of it or what a check finds. Returns how many
/// runs of mappings that were; Linux's text, which alone has `headings`, does not
/// count them.
pub(crate) fn write<M: EntryMemory>(
    tables: &Tables<'_, M>,
    format: Format,
    check: Option<Check>,
    headings: &Headings,
    out: &mut impl Write,
) -> Result<u64> {
    if format == Format::Ptdump && check.is_none() {
        tables.ptdump(headings, out)??;
        return Ok(0);
    }
    put_all(format, check, out, |each| Ok(tables.list(each)?))
}

/// Writes all mappings that `list` shows and a check finds; says how many.
fn put_all(
    format: Format,
    check: Option<Check>,
    out: &mut impl Write,
    list: impl FnOnce(&mut dyn FnMut(Mapping) -> ControlFlow<()>) -> Result<()>,
) -> Result<u64> {
    let mut rows = Rows::new(format, out)?;
    let mut failed = None;
    let mut count = 0u64;
    let listed = list(&mut |mapping| {
        if !shows(check, &mapping) {
            return ControlFlow::Continue(());
        }
        count += 1;
        match rows.put(&mapping) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                failed = Some(why);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(why) = failed {
        return Err(why).context("cannot write");
    }
    rows.finish()?;
    listed?;
    Ok(count)
}

fn shows(check: Option<Check>, mapping: &Mapping) -> bool {
    match check {
        None => true,
        Some(Check::Wx) => mapping.can.write && mapping.can.execute,
    }
}

impl Format {
    /// The format that a file's name ends with; columns if it says nothing.
    pub(crate) fn of_file(path: &Path) -> Self {
        let ending = path.extension().and_then(OsStr::to_str);
        let found = ending.and_then(|ending| Self::from_str(ending, true).ok());
        found.unwrap_or(Self::Table)
    }
}
