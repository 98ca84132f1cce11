//! Prints what frame allocators cost and how they place: `cargo xtask bench frames`.

use std::process::ExitCode;

use foliant_bench::frames;

fn main() -> ExitCode {
    let missed = frames::bench(&[]);
    let gate = std::env::args().any(|argument| argument == "--gate");
    if gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
