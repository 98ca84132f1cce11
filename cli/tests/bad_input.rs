//! What `foliant run` says to programs that cannot run: the message and the
//! status that a shell user knows, and never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

fn folder() -> PathBuf {
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let name = format!("bad-input-{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn foliant(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foliant"));
    command
        .args(["run", "--report", "none", "--"])
        .args(words)
        .env("LC_ALL", "C");
    command.output().expect("foliant")
}

/// Runs `words` and expects a status and a part of the message.
fn refused(words: &[&str], status: i32, message: &str) {
    let output = foliant(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
    assert!(said.contains(message), "{words:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// Makes an executable file of these bytes and runs it.
fn refused_file(bytes: &[u8], status: i32, message: &str) {
    let file = folder().join("program");
    fs::write(&file, bytes).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a file");
    refused(&[&file.to_string_lossy()], status, message);
}

#[test]
fn no_such_program() {
    refused(&["no-such-program-anywhere"], 127, "No such file or directory");
    refused(&["/no/such/program"], 127, "No such file or directory");
    refused(&[""], 127, "No such file or directory");
}

#[test]
fn a_directory_is_not_a_program() {
    refused(&["/usr"], 126, "Permission denied");
}

#[test]
fn a_file_without_the_right_to_execute() {
    let file = folder().join("program");
    fs::write(&file, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a file");
    refused(&[&file.to_string_lossy()], 126, "Permission denied");
}

#[test]
fn text_and_nothing_are_not_programs() {
    refused_file(b"hello\n", 126, "Exec format error");
    refused_file(b"", 126, "Exec format error");
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    refused_file(b"#!/no/such/interpreter\n", 127, "No such file or directory");
}

#[test]
fn a_script_that_is_its_own_interpreter() {
    let file = folder().join("program");
    fs::write(&file, format!("#!{}\n", file.display())).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a file");
    refused(
        &[&file.to_string_lossy()],
        126,
        "Too many levels of symbolic links",
    );
}

/// The host's `true`, to be spoilt.
fn elf() -> Vec<u8> {
    fs::read("/usr/bin/true")
        .or_else(|_| fs::read("/bin/true"))
        .expect("true")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[test]
fn an_elf_of_another_machine_or_class() {
    let mut arm = elf();
    put(&mut arm, 18, &183u16.to_le_bytes());
    refused_file(&arm, 126, "Exec format error");
    let mut core = elf();
    put(&mut core, 16, &4u16.to_le_bytes());
    refused_file(&core, 126, "Exec format error");
}

#[test]
fn a_truncated_elf() {
    refused_file(&elf()[..20], 126, "Exec format error");
    refused_file(&elf()[..64], 126, "");
}

#[test]
fn program_headers_that_overflow() {
    let mut far = elf();
    put(&mut far, 32, &u64::MAX.to_le_bytes());
    refused_file(&far, 126, "");
    let mut many = elf();
    put(&mut many, 56, &u16::MAX.to_le_bytes());
    refused_file(&many, 126, "");
    let mut wide = elf();
    put(&mut wide, 54, &1u16.to_le_bytes());
    refused_file(&wide, 126, "Exec format error");
}

/// Every byte of the headers set to every of a few values, one at a time:
/// whatever the program does then, Foliant ends in order.
#[test]
fn spoilt_headers_harm_only_the_program() {
    let whole = elf();
    let file = folder().join("program");
    for at in (64..64 + 56 * 4).step_by(8) {
        for value in [0u64, 1, 0x7fff_ffff_f000, u64::MAX, u64::MAX << 12] {
            let mut spoilt = whole.clone();
            put(&mut spoilt, at, &value.to_le_bytes());
            let _gone = fs::remove_file(&file);
            fs::write(&file, &spoilt).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a file");
            let output = foliant(&[&file.to_string_lossy()]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code().is_some(),
                "offset {at}, value {value:#x}: {said}"
            );
            assert!(
                !said.contains("panicked"),
                "offset {at}, value {value:#x}: {said}"
            );
        }
    }
}
