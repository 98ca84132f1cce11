//! Prints what page tables cost: `cargo xtask bench tables`.

use std::process::ExitCode;

use foliant_bench::{print, tables};

fn main() -> ExitCode {
    let rows = tables::run();
    print(&rows);
    let missed = tables::missed(&rows);
    for line in &missed {
        println!("gate missed: {line}");
    }
    let gate = std::env::args().any(|argument| argument == "--gate");
    if gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
