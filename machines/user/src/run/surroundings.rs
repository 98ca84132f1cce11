//! What the machine itself needs of the process that it runs in.

use std::fs::File;
use std::os::unix::fs::FileExt;

use foliant_kernel::Limits;

use super::error::RunError;
use super::identity;

/// Limits that bind this process, not the programs: they have their own.
const OWN: [u32; 5] = [
    libc::RLIMIT_FSIZE,
    libc::RLIMIT_DATA,
    libc::RLIMIT_NPROC,
    libc::RLIMIT_NOFILE,
    libc::RLIMIT_AS,
];

/// Checks what cannot be done without, and takes what this process may have.
/// Returns the limits that it was given, which are the program's.
///
/// # Errors
/// [`RunError::NoProc`].
pub(super) fn prepare() -> Result<Limits, RunError> {
    look_at_proc().map_err(|error| RunError::NoProc(error.to_string()))?;
    let given = identity::limits();
    for which in OWN {
        raise(which);
    }
    // A file of the host that grows too large is an error to report; it must
    // not end everything.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    Ok(given)
}

/// Files are reached, and stubs are watched, through `/proc`.
fn look_at_proc() -> std::io::Result<()> {
    File::open("/proc/self/fd")?;
    let mut text = [0; 64];
    let len = File::open("/proc/self/stat")?.read_at(&mut text, 0)?;
    let own = format!("{} ", rustix::process::getpid().as_raw_nonzero());
    if text[..len].starts_with(own.as_bytes()) {
        return Ok(());
    }
    Err(std::io::Error::other("it belongs to another PID namespace"))
}

/// Stack that the first thread needs, with room to spare.
const STACK: u64 = 512 << 10;

/// Whether the first thread may use enough stack. To be asked at the start of a
/// program: it would die without a word.
///
/// # Errors
/// [`RunError::Stack`].
pub fn look_at_stack() -> Result<(), RunError> {
    let mut limit = NONE;
    // SAFETY: `limit` is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } == 0;
    if known && limit.rlim_cur < STACK {
        return Err(RunError::Stack(limit.rlim_cur >> 10));
    }
    Ok(())
}

const NONE: libc::rlimit = libc::rlimit {
    rlim_cur: 0,
    rlim_max: 0,
};

/// Sets a soft limit to the hard one.
fn raise(which: u32) {
    let mut limit = NONE;
    // SAFETY: `limit` is writable, then readable; a refusal changes nothing.
    unsafe {
        if libc::getrlimit(which, &raw mut limit) == 0 && limit.rlim_cur != limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(which, &raw const limit);
        }
    }
}
