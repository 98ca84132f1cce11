//! `foliant ps`: the processes of a memory image, or of this host.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};
use foliant_inspect::linux::Kernel;
use foliant_inspect::live;
use serde::Serialize;

use crate::target::Source;

/// Arguments of `foliant ps`.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  foliant ps -s vmcore\n  foliant ps --live --format json")]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// How to write it.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// One object a line.
    Json,
}

#[derive(Serialize)]
struct Row {
    pid: u32,
    /// The top table, as `--root` takes it; none for threads of the kernel, and
    /// on this host, which does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    kernel: bool,
    name: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rows: Vec<Row> = if args.source.live {
        let all = live::processes()?.into_iter();
        all.map(|process| Row {
            pid: process.pid,
            root: None,
            kernel: process.is_kernel,
            name: process.name,
        })
        .collect()
    } else {
        let image = args.source.open()?;
        let all = Kernel::find(&image)?.processes()?.into_iter();
        all.map(|process| Row {
            pid: process.pid,
            root: process.root.map(|root| format!("{:#x}", root.table.raw())),
            kernel: process.root.is_none(),
            name: process.name,
        })
        .collect()
    };
    let mut out = io::stdout().lock();
    if args.format == Format::Json {
        for row in &rows {
            serde_json::to_writer(&mut out, row)?;
            writeln!(out)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tables = if args.source.live { "" } else { "tables" };
    writeln!(out, "{:>7}  {tables:<14}  name", "pid")?;
    for row in rows {
        let name = if row.kernel {
            format!("[{}]", row.name)
        } else {
            row.name
        };
        writeln!(
            out,
            "{:>7}  {:<14}  {name}",
            row.pid,
            row.root.unwrap_or_default()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
