//! Prints what the kernel's own virtual memory costs: `cargo xtask bench kvirt`.

use std::process::ExitCode;

use foliant_bench::kvirt;

fn main() -> ExitCode {
    let missed = kvirt::bench();
    let gate = std::env::args().any(|argument| argument == "--gate");
    if gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
