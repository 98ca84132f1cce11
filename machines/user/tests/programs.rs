//! Programs on whole machines: hostile ones, and ordinary ones of the host.

mod attempts;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attempts::*;
use foliant_kernel::{Observer, Task};
use foliant_user::host::{Entries, Slot};
use foliant_user::{Command, MemoryPlan, Options, Outcome, Session, User};

fn session() -> Session {
    watched(None)
}

fn watched(observer: Option<Arc<dyn Observer<User>>>) -> Session {
    let options = Options {
        memory: MemoryPlan::flat(256 << 20).expect("a plan"),
        cpus: 2,
        randomize: true,
        seed: 7,
        folios: foliant_user::FolioSizes::default(),
        host_mappings: None,
        fail_at: None,
        page_owner: false,
        observer,
    };
    Session::new(options).expect("a session")
}

/// Runs a command to its end; its exit status as a shell tells it.
fn status(command: &[&str]) -> u8 {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    session()
        .run(&Command::find(&command))
        .expect("a program")
        .exit_code()
}

/// Runs an attempt as a program; its exit status as a shell tells it.
fn attempt(name: &str, code: *const u8) -> u8 {
    let path = write_program(name, code);
    let status = status(&[path.to_str().expect("a name")]);
    std::fs::remove_file(path).expect("it was there");
    status
}

/// An ELF file with one segment for code and one page of data.
fn write_program(name: &str, code: *const u8) -> PathBuf {
    let entries = Entries::new();
    // The first program of a machine has the first slot behind the zygote's.
    let operations = Slot(1).address();
    let mut text = Vec::new();
    for (opcode, value) in [
        ([0x48, 0xbd], entries.op - 2),
        ([0x49, 0xbc], entries.trap - 2),
        ([0x49, 0xbd], entries.sigreturn - 2),
        ([0x49, 0xbe], operations),
        ([0x49, 0xbf], DATA),
    ] {
        text.extend(opcode);
        text.extend(value.to_le_bytes());
    }
    let len = (&raw const attempt_end).addr() - code.addr();
    // SAFETY: the attempts are one piece of this program's text.
    text.extend(unsafe { core::slice::from_raw_parts(code, len) });

    let start = 0x1000;
    let mut file = elf_header(CODE + start);
    file.extend(segment(5, start, CODE + start, text.len() as u64));
    file.extend(segment(6, 0, DATA, 0));
    file.resize(start as usize, 0);
    file.extend(text);
    let path = std::env::temp_dir().join(format!("foliant-attempt-{name}-{}", std::process::id()));
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&path)
        .expect("a file");
    out.write_all(&file).expect("room");
    path
}

fn elf_header(entry: u64) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([2u16, 62].into_iter().flat_map(u16::to_le_bytes));
    header.extend(1u32.to_le_bytes());
    header.extend([entry, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    header.extend(0u32.to_le_bytes());
    header.extend([64u16, 56, 2, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    header
}

fn segment(flags: u32, offset: u64, address: u64, file: u64) -> Vec<u8> {
    let mut segment = [1, flags]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect::<Vec<_>>();
    let memory = file.max(0x1000);
    let words = [offset, address, address, file, memory, 0x1000];
    segment.extend(words.into_iter().flat_map(u64::to_le_bytes));
    segment
}

const KILLED: u8 = 128 + libc::SIGKILL as u8;
const FAULTED: u8 = 128 + libc::SIGSEGV as u8;
/// The undefined instruction behind call 1000, which no kernel knows.
const WENT_ON: u8 = 128 + libc::SIGILL as u8;

#[test]
fn a_program_that_enters_the_stub_is_killed() {
    for (name, code) in [
        ("operation", &raw const attempt_operation),
        ("guess", &raw const attempt_guess),
        ("trap", &raw const attempt_trap_number),
        ("return", &raw const attempt_return_number),
        ("forged", &raw const attempt_sigreturn_into_operation),
        ("home", &raw const attempt_sigreturn_home),
        ("step", &raw const attempt_single_step_trap),
    ] {
        assert_eq!(attempt(name, code), KILLED, "{name}");
    }
}

#[test]
fn a_program_that_writes_the_machines_pages_faults() {
    assert_eq!(
        attempt("operations", &raw const attempt_write_operations),
        FAULTED
    );
    assert_eq!(attempt("code", &raw const attempt_write_code), FAULTED);
}

#[test]
fn every_other_way_in_leads_to_the_guests_kernel() {
    for (name, code) in [
        ("mmap", &raw const attempt_mmap),
        ("int80", &raw const attempt_int80),
        ("x32", &raw const attempt_x32),
        ("ptrace", &raw const attempt_ptrace),
    ] {
        assert_eq!(attempt(name, code), WENT_ON, "{name}");
    }
}

#[test]
fn ordinary_programs_run() {
    assert_eq!(status(&["true"]), 0);
    assert_eq!(status(&["sh", "-c", "exit 3"]), 3);
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), 128 + libc::SIGTERM as u8);
    assert_eq!(
        status(&["sh", "-c", "test \"$(ls / | sort -r | head -1)\" != ''"]),
        0
    );
}

/// Panics when a program asks for its number.
struct Fragile;

impl Observer<User> for Fragile {
    fn call_begins(&self, _: &Task<User>, nr: u64, _: [u64; 6]) {
        assert_ne!(nr, libc::SYS_getppid as u64, "as it shall be in this test");
    }
}

#[test]
fn a_panic_inside_ends_the_run_and_hangs_nothing() {
    let command: Vec<OsString> = ["sh", "-c", "echo $PPID; sleep 100"].map(OsString::from).into();
    let outcome = watched(Some(Arc::new(Fragile))).run(&Command::find(&command));
    assert_eq!(outcome.expect("it began"), Outcome::Panicked);
}

#[test]
fn a_missing_program_is_told_as_execve_does() {
    let command = Command::find(&["/nonexistent".into()]);
    let error = session().run(&command).expect_err("nothing is there");
    assert_eq!(error.to_string(), "No such file or directory");
    assert!(!Path::new("/nonexistent").exists());
}
