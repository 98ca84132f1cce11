//! `foliant layout`: where things lie in virtual memory.

mod choice;
mod show;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use foliant_units::VirtAddr;

use crate::OWN_FAILURE;
use choice::Choice;
pub(crate) use choice::{Arch, Like, Split};

/// Print an address-space layout, or say what an address is.
///
/// Example: foliant layout --like 4.4 0xffff880000001000
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Name this address instead of printing the table; hexadecimal, with or without 0x.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    address: Option<VirtAddr>,
}

/// Reads an address as people and kernels write them.
fn address(text: &str) -> Result<VirtAddr, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).replace('_', "");
    u64::from_str_radix(&digits, 16)
        .map(VirtAddr::new)
        .map_err(|_| "expected a hexadecimal address".to_owned())
}

/// Prints what was asked for.
pub(crate) fn run(args: &Args) -> ExitCode {
    match text(args) {
        Ok(text) => crate::output::print(&text),
        Err(why) => {
            eprintln!("foliant: {why:#}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

fn text(args: &Args) -> Result<String> {
    let layout = args.choice.layout()?;
    match args.address {
        None => Ok(show::table(&layout)),
        Some(at) => {
            let region = layout.region(at);
            let region =
                region.ok_or_else(|| anyhow!("{at:#x} is past the last of {} address bits", layout.bits))?;
            Ok(show::address(at, region))
        }
    }
}
