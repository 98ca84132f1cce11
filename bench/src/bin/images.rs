//! Prints what walks over a memory image cost:
//! `cargo run --release -p foliant-bench --bin images -- mem.elf [--volatility PYTHON] [--gate]`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use foliant_bench::{images, print};

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let gate = words.iter().position(|word| word == "--gate");
    let gate = gate.map(|at| words.remove(at)).is_some();
    let (path, python) = match words.as_slice() {
        [path] => (Path::new(path), None),
        [path, option, python] if option == "--volatility" => (Path::new(path), Some(Path::new(python))),
        _ => {
            eprintln!("say which image: an ELF core of an x86-64 machine with four levels");
            return ExitCode::FAILURE;
        }
    };
    match images::run(path, python) {
        Ok(rows) => {
            print(&rows);
            let missed = images::missed(&rows);
            for line in &missed {
                println!("gate missed: {line}");
            }
            if gate && !missed.is_empty() {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}: {why}", path.display());
            ExitCode::FAILURE
        }
    }
}
