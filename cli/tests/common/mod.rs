//! The command as a child process, for tests of what it says.

use std::process::Command;

/// Runs `foliant` with these words: its status (`None` if a signal ended it),
/// what it printed, and what it complained about.
pub(crate) fn foliant(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_foliant"))
        .args(words)
        .output()
        .expect("foliant");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
