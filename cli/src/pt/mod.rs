//! `foliant pt`: everything that tables map.

mod parquet;
mod rows;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use foliant_inspect::listing::{Mapping, list, ptdump};

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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
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

#[derive(Clone, Copy, ValueEnum)]
enum Check {
    /// Writable and executable.
    Wx,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let image = args.target.open()?;
    let (root, half) = args.target.root(&image, None)?;
    if args.format == Format::Parquet && io::stdout().is_terminal() {
        bail!("a Parquet file is nothing for a terminal: send it to a file");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if args.format == Format::Ptdump && args.check.is_none() {
        ptdump(&image, root, half, &mut out)??;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Rows::new(args.format, &mut out)?;
    let mut failed = None;
    let mut count = 0u64;
    let listed = list(&image, root, half, |mapping| {
        if !args.shows(&mapping) {
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
    out.flush()?;
    listed?;
    let wrong = args.check.is_some() && count != 0;
    if let (Some(Check::Wx), Format::Table) = (args.check, args.format) {
        eprintln!("foliant: {count} runs of mappings are writable and executable");
    }
    Ok(ExitCode::from(u8::from(wrong)))
}

impl Args {
    fn shows(&self, mapping: &Mapping) -> bool {
        match self.check {
            None => true,
            Some(Check::Wx) => mapping.can.write && mapping.can.execute,
        }
    }
}
