//! Host calls of the supervisor that have no safe wrapper elsewhere.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use foliant_units::PAGE_SIZE;

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

/// Bytes of a large page of the host.
pub const LARGE: usize = 2 << 20;

/// Maps a whole file, shared, readable and writable, not inherited by forks,
/// at a multiple of [`LARGE`].
pub fn map_shared(fd: &OwnedFd, size: usize) -> Result<core::ptr::NonNull<u8>, HostError> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let shared = libc::MAP_SHARED | libc::MAP_NORESERVE;
    let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let room = size + LARGE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(core::ptr::null_mut(), room, libc::PROT_NONE, reserve, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(HostError::last("mmap"));
    }
    let before = start.align_offset(LARGE).min(LARGE);
    // SAFETY: `before + size` bytes from `start` on are in the mapping just made.
    let at = unsafe { start.byte_add(before) };
    // SAFETY: replaces a part of the mapping just made.
    let mapped = unsafe { libc::mmap(at, size, prot, shared | libc::MAP_FIXED, fd.as_raw_fd(), 0) };
    let error = HostError::last("mmap");
    // SAFETY: what lies before and behind the file in the mapping just made;
    // nobody knows of it.
    unsafe {
        let end = at.byte_add(size.next_multiple_of(PAGE_SIZE));
        libc::munmap(start, before);
        libc::munmap(end, start.byte_add(room).byte_offset_from_unsigned(end));
    }
    if mapped == libc::MAP_FAILED {
        // SAFETY: the rest of the mapping just made.
        unsafe { libc::munmap(at, size) };
        return Err(error);
    }
    // SAFETY: the range was just mapped; the advice changes only forks.
    check("madvise", unsafe { libc::madvise(at, size, libc::MADV_DONTFORK) })?;
    // Where `shmem_enabled` is `advise`, the host then gives large pages at the
    // first touch. A host without them refuses, and all works as before.
    // SAFETY: as above; the advice changes no contents.
    unsafe { libc::madvise(at, size, libc::MADV_HUGEPAGE) };
    core::ptr::NonNull::new(at.cast()).ok_or(error)
}

/// Puts a large page behind [`LARGE`] bytes of a shared mapping, whatever pages
/// are there; their contents stay.
///
/// # Errors
/// `EINVAL` where the host has no large pages for such files, or does not want
/// them; `ENOMEM` and `EBUSY` where it has none just now; `EAGAIN` while somebody
/// uses one of the small ones.
pub fn make_large(at: core::ptr::NonNull<u8>) -> Result<(), HostError> {
    // Linux 6.1.
    const MADV_COLLAPSE: libc::c_int = 25;
    // SAFETY: the advice changes no contents, and where nothing is mapped it fails.
    check("madvise", unsafe {
        libc::madvise(at.as_ptr().cast(), LARGE, MADV_COLLAPSE)
    })
    .map(drop)
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

/// CPU time of all threads that a process has, or had, in nanoseconds; `None`
/// if it is gone. Much quicker than a file of `/proc`.
pub fn cpu_time(process: i32) -> Option<u64> {
    // How the kernel numbers clocks of processes: this one is `CPUCLOCK_SCHED`.
    let clock = (!process << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (process > 0 && result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_grows_and_of_none_is_none() {
        let process = std::process::id() as i32;
        let before = cpu_time(process).expect("this process lives");
        let mut sum = 0u64;
        while cpu_time(process).expect("it still does") == before {
            sum = core::hint::black_box(sum + 1);
        }
        assert_eq!(cpu_time(0), None);
    }

    #[test]
    fn a_shared_mapping_lies_where_a_large_page_could() {
        let file = memfd(c"test", 5 * PAGE_SIZE as u64, 0).expect("a file");
        let at = map_shared(&file, 5 * PAGE_SIZE).expect("a mapping");
        assert_eq!(at.addr().get() % LARGE, 0);
        // SAFETY: the mapping is this test's.
        unsafe { libc::munmap(at.as_ptr().cast(), 5 * PAGE_SIZE) };
    }
}
