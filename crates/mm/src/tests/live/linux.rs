//! The kernel that runs the test.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::super::world::{PAGE, RW};
use super::{AREA, EXCLUSIVE, FIELDS, FILE, FILE_PAGES, GUARD, PRESENT, Seen, Step, What};
use crate::fault::Access;

/// The live kernel.
pub(super) struct Live {
    child: Cell<Option<i32>>,
    base: *mut u8,
    files: [OwnedFd; 2],
    /// Where other things are that a step must not touch.
    reserved: *mut libc::c_void,
}

const RESERVED: usize = 6 << 20;

impl Live {
    pub(super) fn new() -> Self {
        // SAFETY: a new mapping where the kernel likes.
        let reserved = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                RESERVED,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(reserved, libc::MAP_FAILED);
        let base = (reserved as usize).next_multiple_of(2 << 20) + (1 << 20);
        let name = CString::new("live").expect("no zero inside");
        // SAFETY: the name is a string.
        let memfd = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(name.as_ptr(), 0)) };
        let path = std::env::temp_dir().join(std::format!("foliant-live-{}", std::process::id()));
        let disk = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let disk = disk.expect("a file");
        fs::remove_file(path).expect("it was there");
        for page in 0..u64::from(FILE_PAGES) {
            let bytes = [page as u8 + 1; PAGE as usize];
            disk.write_all_at(&bytes, page * PAGE).expect("written");
            fs::File::from(memfd.try_clone().expect("a descriptor"))
                .write_all_at(&bytes, page * PAGE)
                .expect("written");
        }
        disk.sync_all().expect("synced");
        Self {
            child: Cell::new(None),
            base: base as *mut u8,
            files: [memfd, disk.into()],
            reserved,
        }
    }

    fn at(&self, page: u64) -> *mut libc::c_void {
        self.base.wrapping_add((page * PAGE) as usize).cast()
    }

    fn file(&self, what: What) -> Option<i32> {
        match what {
            What::Anonymous => None,
            What::Shmem => Some(self.files[0].as_raw_fd()),
            What::Disk => Some(self.files[1].as_raw_fd()),
        }
    }

    pub(super) fn step(&self, step: Step, allowed: bool) -> Seen {
        self.warm();
        let before = minor_faults();
        let (error, byte) = match step {
            // Reading another's memory by file does not ask for the right.
            Step::ChildRead(_) if !allowed => (libc::EFAULT, None),
            step => self.run(step, allowed),
        };
        // Forking and reaping take faults in the test's own memory.
        let own = matches!(step, Step::Fork | Step::Exit);
        let faults = if own { 0 } else { minor_faults() - before };
        let of = |pid: i32| (self.smaps(pid), self.pagemap(pid));
        // SAFETY: no arguments.
        let (smaps, pagemap) = of(unsafe { libc::getpid() });
        Seen {
            error,
            faults,
            smaps,
            mincore: self.mincore(),
            pagemap,
            child: self.child.get().map(of),
            byte,
        }
    }

    fn run(&self, step: Step, allowed: bool) -> (i32, Option<u8>) {
        let bytes = |pages: u64| (pages * PAGE) as usize;
        let errno = || std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let result = match step {
            Step::Map(at, pages, what, shared, prot) => {
                let file = self.file(what);
                let anonymous = if file.is_none() { libc::MAP_ANONYMOUS } else { 0 };
                let how = if shared {
                    libc::MAP_SHARED
                } else {
                    libc::MAP_PRIVATE
                };
                let flags = how | libc::MAP_FIXED | anonymous;
                // SAFETY: replaces a part of our own area.
                let got = unsafe {
                    libc::mmap(
                        self.at(at),
                        bytes(pages),
                        prot.bits() as i32,
                        flags,
                        file.unwrap_or(-1),
                        0,
                    )
                };
                if got == libc::MAP_FAILED { -1 } else { 0 }
            }
            Step::Read(at) if allowed => {
                // SAFETY: the area is mapped, and this page allows it.
                let byte = unsafe { self.at(at).cast::<u8>().read_volatile() };
                return (0, Some(byte));
            }
            Step::Write(at) if allowed => {
                // SAFETY: as above.
                unsafe { self.at(at).cast::<u8>().write_volatile(0xee) };
                0
            }
            // The other machine got a signal. So would this one: the kernel tries for us.
            // SAFETY: no arguments.
            Step::Read(at) => self.remote(unsafe { libc::getpid() }, at, Access::Read).0,
            // SAFETY: no arguments.
            Step::Write(at) => self.remote(unsafe { libc::getpid() }, at, Access::Write).0,
            Step::ChildRead(at) => {
                let Some(child) = self.child.get() else {
                    return (0, None);
                };
                let mut byte = [0];
                let memory = fs::File::open(std::format!("/proc/{child}/mem")).expect("our own child's");
                return match memory.read_exact_at(&mut byte, self.at(at) as u64) {
                    Ok(()) => (0, Some(byte[0])),
                    Err(_) => (libc::EFAULT, None),
                };
            }
            Step::ChildWrite(at) => match self.child.get() {
                Some(child) => self.remote(child, at, Access::Write).0,
                None => 0,
            },
            Step::Move(from, pages, to) => {
                let fixed = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
                let (old, new) = (self.at(from), self.at(to));
                // SAFETY: both places are in our own area.
                let moved = unsafe { libc::mremap(old, bytes(pages), bytes(pages), fixed, new) };
                if moved == libc::MAP_FAILED {
                    return (errno(), None);
                }
                return self.run(Step::Map(from, pages, What::Anonymous, false, RW), true);
            }
            // SAFETY: our own area.
            Step::Lock(at, pages) => unsafe { libc::mlock(self.at(at), bytes(pages)) },
            // SAFETY: our own area.
            Step::Unlock(at, pages) => unsafe { libc::munlock(self.at(at), bytes(pages)) },
            Step::Fork => {
                self.fork();
                0
            }
            Step::Exit => {
                self.end_child();
                0
            }
            // SAFETY: our own area.
            Step::Protect(at, pages, prot) => unsafe {
                libc::mprotect(self.at(at), bytes(pages), prot.bits() as i32)
            },
            // SAFETY: our own area, whose contents are nobody's.
            Step::Advise(at, pages, advice) => unsafe {
                libc::madvise(self.at(at), bytes(pages), advice.raw() as i32)
            },
            Step::Truncate(what, size) => match self.file(what) {
                // SAFETY: our own file.
                Some(file) => unsafe { libc::ftruncate(file, size as i64) },
                None => 0,
            },
        };
        (if result == 0 { 0 } else { errno() }, None)
    }

    /// Keeps the disk's file in memory, where a busy machine may not leave it.
    fn warm(&self) {
        let file = fs::File::from(self.files[1].try_clone().expect("a descriptor"));
        let mut bytes = [0; PAGE as usize];
        for page in 0..u64::from(FILE_PAGES) {
            let _ = file.read_at(&mut bytes, page * PAGE);
        }
    }

    /// One byte of another process, or of this one, as its kernel reaches it.
    fn remote(&self, pid: i32, at: u64, access: Access) -> (i32, u8) {
        let mut byte = [0xee_u8];
        let mine = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let there = libc::iovec {
            iov_base: self.at(at),
            iov_len: 1,
        };
        let copy = match access {
            Access::Write => libc::process_vm_writev,
            Access::Read | Access::Execute => libc::process_vm_readv,
        };
        // SAFETY: both describe one byte; the other one may be missing.
        let result = unsafe { copy(pid, &mine, 1, &there, 1, 0) };
        (if result == 1 { 0 } else { -1 }, byte[0])
    }

    fn fork(&self) {
        if self.child.get().is_some() {
            return;
        }
        // SAFETY: the child does nothing but wait.
        let child = unsafe { libc::fork() };
        if child == 0 {
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        }
        self.child.set(Some(child));
    }

    fn end_child(&self) {
        if let Some(child) = self.child.take() {
            // SAFETY: our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            // SAFETY: as above; nobody else waits for it.
            unsafe { libc::waitpid(child, core::ptr::null_mut(), 0) };
        }
    }

    fn smaps(&self, pid: i32) -> BTreeMap<&'static str, u64> {
        let text = fs::read_to_string(std::format!("/proc/{pid}/smaps")).expect("readable");
        let mut sums = BTreeMap::new();
        let mut inside = false;
        let area = self.base as usize..self.base as usize + (AREA * PAGE) as usize;
        for line in text.lines() {
            let word = line.split_whitespace().next().unwrap_or_default();
            if let Some((start, _)) = word.split_once('-') {
                inside = usize::from_str_radix(start, 16).is_ok_and(|start| area.contains(&start));
            } else if inside
                && let Some(field) = FIELDS.iter().find(|field| word.strip_suffix(':') == Some(field))
            {
                let kib: u64 = line
                    .split_whitespace()
                    .nth(1)
                    .and_then(|kib| kib.parse().ok())
                    .unwrap_or(0);
                *sums.entry(*field).or_insert(0) += kib;
            }
        }
        sums
    }

    fn mincore(&self) -> Vec<bool> {
        let mut vector = [0_u8; AREA as usize];
        // SAFETY: the vector has a byte for each page.
        let result = unsafe { libc::mincore(self.base.cast(), (AREA * PAGE) as usize, vector.as_mut_ptr()) };
        assert_eq!(result, 0);
        vector.iter().map(|byte| byte & 1 != 0).collect()
    }

    fn pagemap(&self, pid: i32) -> Vec<u64> {
        let file = fs::File::open(std::format!("/proc/{pid}/pagemap")).expect("readable");
        let mut bytes = [0; AREA as usize * 8];
        file.read_exact_at(&mut bytes, self.base as u64 / PAGE * 8)
            .expect("read");
        let words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
        words
            .map(|word| word & (PRESENT | FILE | GUARD | EXCLUSIVE))
            .collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end_child();
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.reserved, RESERVED) };
    }
}

fn minor_faults() -> u64 {
    // SAFETY: plain data, filled by the call.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the pointer is good.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_minflt as u64
}
