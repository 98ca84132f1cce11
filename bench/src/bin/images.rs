//! Prints what walks over a memory image cost:
//! `cargo run --release -p foliant-bench --bin images -- mem.elf`.

use std::path::Path;
use std::process::ExitCode;

use foliant_bench::{images, print};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("say which image: an ELF core of an x86-64 machine with four levels");
        return ExitCode::FAILURE;
    };
    match images::run(Path::new(&path)) {
        Ok(rows) => {
            print(&rows);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}: {why}", Path::new(&path).display());
            ExitCode::FAILURE
        }
    }
}
