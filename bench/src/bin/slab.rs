//! Prints what object allocators cost: `cargo xtask bench slab`.

use std::process::ExitCode;

use foliant_bench::objects;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let gate = arguments.iter().any(|argument| argument == "--gate");
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    let missed = objects::bench(only.map(String::as_str));
    if gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
