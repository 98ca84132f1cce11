//! Mappings as rows.

use std::io::{self, Write};

use foliant_inspect::listing::Mapping;
use serde::Serialize;

use super::Format;
use super::parquet::Table;
use crate::walk::size;

/// Writes mappings in a format.
pub(super) struct Rows<'a, W: Write> {
    format: Format,
    out: &'a mut W,
    table: Option<Table>,
}

/// A row for programs.
#[derive(Serialize)]
struct Row<'a> {
    start: String,
    last: String,
    memory: String,
    bytes: u64,
    page: u64,
    level: &'a str,
    user: bool,
    write: bool,
    execute: bool,
    flags: &'a str,
}

impl<'a, W: Write> Rows<'a, W> {
    pub(super) fn new(format: Format, out: &'a mut W) -> io::Result<Self> {
        match format {
            Format::Table | Format::Ptdump => writeln!(
                out,
                "{:<16} {:<16} {:<14} {:>9} {:>7} {:<5} can  flags",
                "first", "last", "memory", "size", "pages", "level"
            )?,
            Format::Csv => writeln!(out, "start,last,memory,bytes,page,level,user,write,execute,flags")?,
            Format::Json | Format::Parquet => {}
        }
        let table = (format == Format::Parquet).then(Table::default);
        Ok(Self { format, out, table })
    }

    pub(super) fn put(&mut self, mapping: &Mapping) -> io::Result<()> {
        let can = mapping.can;
        let letter = |is, letter| if is { letter } else { '-' };
        match self.format {
            Format::Table | Format::Ptdump => writeln!(
                self.out,
                "{:016x} {:016x} {:<14} {:>9} {:>7} {:<5} {}{}{}  {}",
                mapping.start.raw(),
                mapping.last().raw(),
                format!("{:#x}", mapping.memory.raw()),
                size(mapping.len),
                mapping.len / mapping.page,
                mapping.level,
                letter(can.user, 'u'),
                letter(can.write, 'w'),
                letter(can.execute, 'x'),
                mapping.words
            ),
            Format::Csv => writeln!(
                self.out,
                "{:#x},{:#x},{:#x},{},{},{},{},{},{},{}",
                mapping.start.raw(),
                mapping.last().raw(),
                mapping.memory.raw(),
                mapping.len,
                mapping.page,
                mapping.level,
                can.user,
                can.write,
                can.execute,
                mapping.words
            ),
            Format::Json => {
                let hex = |number: u64| format!("{number:#x}");
                let row = Row {
                    start: hex(mapping.start.raw()),
                    last: hex(mapping.last().raw()),
                    memory: hex(mapping.memory.raw()),
                    bytes: mapping.len,
                    page: mapping.page,
                    level: mapping.level,
                    user: can.user,
                    write: can.write,
                    execute: can.execute,
                    flags: &mapping.words,
                };
                serde_json::to_writer(&mut *self.out, &row)?;
                writeln!(self.out)
            }
            Format::Parquet => {
                if let Some(table) = &mut self.table {
                    table.push(mapping);
                }
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self.table {
            Some(table) => table.write(self.out),
            None => Ok(()),
        }
    }
}
