//! Host calls of the supervisor that have no safe wrapper elsewhere.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::error::HostError;

/// Turns -1 into the error it stands for.
pub(super) fn check(call: &'static str, result: impl Into<i64>) -> Result<i64, HostError> {
    let result = result.into();
    if result < 0 {
        Err(HostError::last(call))
    } else {
        Ok(result)
    }
}

/// An anonymous file of `size` bytes.
pub fn memfd(name: &core::ffi::CStr, size: u64, flags: u32) -> Result<OwnedFd, HostError> {
    // SAFETY: the name is a C string.
    let fd = check("memfd_create", unsafe {
        libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | flags)
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: no memory is involved.
    check("ftruncate", unsafe {
        libc::ftruncate(fd.as_raw_fd(), size as i64)
    })?;
    Ok(fd)
}

/// Maps a whole file, shared, readable and writable, not inherited by forks.
pub fn map_shared(fd: &OwnedFd, size: usize) -> Result<core::ptr::NonNull<u8>, HostError> {
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_NORESERVE,
    );
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), size, prot, flags, fd.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(HostError::last("mmap"));
    }
    // SAFETY: the range was just mapped; the advice changes only forks.
    check("madvise", unsafe { libc::madvise(at, size, libc::MADV_DONTFORK) })?;
    core::ptr::NonNull::new(at.cast()).ok_or(HostError {
        call: "mmap",
        errno: libc::ENOMEM,
    })
}

/// Bytes of the host's random source.
pub fn random(out: &mut [u8]) -> Result<(), HostError> {
    let mut done = 0;
    while done < out.len() {
        // SAFETY: the rest of `out` is writable.
        let got = unsafe { libc::getrandom(out[done..].as_mut_ptr().cast(), out.len() - done, 0) };
        match check("getrandom", got as i64) {
            Ok(got) => done += got as usize,
            Err(error) if error.errno == libc::EINTR => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a signal to one thread.
pub fn tgkill(process: i32, thread: i32, signal: i32) -> Result<(), HostError> {
    // SAFETY: no memory is involved.
    check("tgkill", unsafe {
        libc::syscall(libc::SYS_tgkill, process, thread, signal)
    })
    .map(drop)
}

/// Kills a process.
pub fn kill(process: i32) {
    // SAFETY: no memory is involved. A process that is gone already is fine.
    unsafe { libc::kill(process, libc::SIGKILL) };
}
