//! What sub-commands print.

use std::io::Write;
use std::process::ExitCode;

use crate::OWN_FAILURE;

/// Prints to standard output. A closed pipe is nobody's error.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("foliant: cannot write: {why}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}
