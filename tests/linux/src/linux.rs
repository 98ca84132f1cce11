//! The live kernel: a child process runs the operations.
//!
//! The child is forked, so between `fork` and its end it allocates nothing and
//! calls nothing but the kernel. It writes what it sees into shared memory.

use std::io;

use crate::op::{
    AREA, AREA_BYTES, Behind, ELSEWHERE, FILE_PAGES, FIRST_PAGE, Foreign, Observed, Op, Page, SEEN_PAGES,
    Shown,
};

/// Whether the running kernel is one whose behaviour Foliant copies: 6.18 or newer.
pub fn is_reference() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(18))
}

/// Bytes for the texts of one sequence.
const ARENA: usize = 64 << 20;

/// Runs sequences on the kernel below.
pub struct Linux {
    arena: *mut u8,
    /// What the child touches itself, so that those faults come first.
    own: Vec<Own>,
}

/// A mapping of this process.
struct Own {
    start: u64,
    len: u64,
    writable: bool,
}

/// What the child leaves at the start of the arena.
#[repr(C)]
struct Header {
    done: usize,
    used: usize,
}

/// One record in the arena, followed by `text` bytes of `/proc/self/smaps`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    result: i64,
    faults: u64,
    pagemap: [u64; SEEN_PAGES as usize],
    text: usize,
}

impl Linux {
    /// Prepares the shared memory.
    ///
    /// # Errors
    /// That of `mmap`.
    pub fn new() -> io::Result<Self> {
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping anywhere touches nothing that exists.
        let arena = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                ARENA,
                libc::PROT_READ | libc::PROT_WRITE,
                kind,
                -1,
                0,
            )
        };
        if arena == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        Ok(Self {
            arena: arena.cast(),
            own: maps.lines().filter_map(own).collect(),
        })
    }

    /// Whether this process, and so its children, has no random addresses.
    pub fn is_fixed(&self) -> bool {
        // SAFETY: asks and changes nothing.
        unsafe { libc::personality(0xffff_ffff) & libc::ADDR_NO_RANDOMIZE != 0 }
    }

    /// Runs one sequence in a fresh child. Also what else that child has mapped.
    ///
    /// # Errors
    /// Those of the calls around it; a child that died early gives fewer observations.
    pub fn run(&self, ops: &[Op]) -> io::Result<(Vec<Observed>, Vec<Foreign>)> {
        let files = Files::new()?;
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let foreign = maps.lines().filter_map(foreign).collect();
        // SAFETY: the arena is ours and no child runs.
        unsafe {
            self.arena.cast::<Header>().write(Header {
                done: 0,
                used: size_of::<Header>(),
            })
        };
        // SAFETY: the child keeps to async-signal-safe calls and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => return Err(io::Error::last_os_error()),
            0 => self.child(ops, &files),
            _ => {}
        }
        let mut status = 0;
        // SAFETY: waits for our own child.
        if unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
            return Err(io::Error::last_os_error());
        }
        Ok((self.collect(), foreign))
    }

    fn child(&self, ops: &[Op], files: &Files) -> ! {
        // SAFETY: plain system calls on this process alone.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        for own in &self.own {
            let advice = if own.writable {
                libc::MADV_POPULATE_WRITE
            } else {
                libc::MADV_POPULATE_READ
            };
            call(libc::SYS_madvise, [own.start, own.len, advice as u64, 0, 0, 0]);
        }
        // SAFETY: the path is a C string; the file must be the child's own.
        let pagemap = unsafe { libc::open(c"/proc/self/pagemap".as_ptr(), libc::O_RDONLY) };
        for op in ops {
            let before = minor_faults();
            let result = perform(op, files);
            let faults = minor_faults() - before;
            if !self.record(result, faults, pagemap) {
                break;
            }
        }
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) }
    }

    /// Appends the result and the map; false when the arena is full.
    fn record(&self, result: i64, faults: u64, pagemap_fd: i32) -> bool {
        // SAFETY: the header is in the arena, and only the child runs on it.
        let header = unsafe { &mut *self.arena.cast::<Header>() };
        let start = header.used;
        let mut end = start + size_of::<Record>();
        if end + (1 << 20) > ARENA {
            return false;
        }
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::open(c"/proc/self/smaps".as_ptr(), libc::O_RDONLY) };
        while end < ARENA {
            // SAFETY: the bytes from `end` on are in the arena and unused.
            let got = unsafe { libc::read(fd, self.arena.add(end).cast(), ARENA - end) };
            if got <= 0 {
                break;
            }
            // SAFETY: the kernel wrote these bytes.
            let part = unsafe { core::slice::from_raw_parts(self.arena.add(end), got as usize) };
            end += got as usize;
            if is_past_area(part) {
                break;
            }
        }
        // SAFETY: closes what was opened above.
        unsafe { libc::close(fd) };
        let text = end - start - size_of::<Record>();
        let mut pagemap = [0_u64; SEEN_PAGES as usize];
        let at = (AREA.raw() / 4096 + FIRST_PAGE) * 8;
        // SAFETY: the array is ours and so long.
        unsafe {
            libc::pread(
                pagemap_fd,
                pagemap.as_mut_ptr().cast(),
                size_of_val(&pagemap),
                at as i64,
            )
        };
        // SAFETY: inside of the arena, kept aligned below.
        unsafe {
            self.arena.add(start).cast::<Record>().write(Record {
                result,
                faults,
                pagemap,
                text,
            })
        };
        header.used = end.next_multiple_of(16);
        header.done += 1;
        true
    }

    fn collect(&self) -> Vec<Observed> {
        // SAFETY: the child is gone; the arena is ours.
        let header = unsafe { self.arena.cast::<Header>().read() };
        let mut at = size_of::<Header>();
        (0..header.done)
            .map(|_| {
                // SAFETY: the child wrote `done` records one after the other.
                let record = unsafe { self.arena.add(at).cast::<Record>().read() };
                // SAFETY: and so many bytes of text after it.
                let text = unsafe {
                    core::slice::from_raw_parts(self.arena.add(at + size_of::<Record>()), record.text)
                };
                at = (at + size_of::<Record>() + record.text).next_multiple_of(16);
                Observed {
                    result: record.result,
                    faults: record.faults,
                    pages: record.pagemap.iter().map(|word| page(*word)).collect(),
                    vmas: parse(&String::from_utf8_lossy(text)),
                }
            })
            .collect()
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nobody uses it any more.
        unsafe { libc::munmap(self.arena.cast(), ARENA) };
    }
}

/// Whether a VMA above the area begins in this part of `smaps`. Allocates nothing.
fn is_past_area(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let digits = line.iter().map_while(|byte| (*byte as char).to_digit(16));
        let (start, count) = digits.fold((0, 0), |(start, count), digit| {
            (start << 4 | u64::from(digit), count + 1)
        });
        count >= 8 && line.get(count) == Some(&b'-') && start >= AREA.raw() + AREA_BYTES
    })
}

/// A mapping of this process, and so of the child.
fn foreign(line: &str) -> Option<Foreign> {
    let vma = header(line)?;
    (vma.range.1 < 1 << 47).then(|| Foreign {
        range: vma.range,
        stack: vma.name == "[stack]",
    })
}

/// A private mapping that code or a stack is in, from a line of `maps`.
fn own(line: &str) -> Option<Own> {
    let vma = header(line)?;
    let len = vma.range.1 - vma.range.0;
    let wanted = vma.perms.starts_with('r') && vma.perms.ends_with('p') && len < 8 << 20;
    wanted.then(|| Own {
        start: vma.range.0,
        len,
        writable: vma.perms.contains('w'),
    })
}

/// Minor faults of this process so far.
fn minor_faults() -> u64 {
    // SAFETY: zero is a value of every field.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the structure is ours.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    usage.ru_minflt as u64
}

/// A word of `pagemap`.
fn page(word: u64) -> Page {
    let bit = |at: u32| word >> at & 1 != 0;
    Page {
        present: bit(63),
        file: bit(61),
        exclusive: bit(56),
        guard: bit(58),
    }
}

/// The descriptors that a sequence uses.
struct Files {
    file: i32,
    read_only: i32,
    scratch: i32,
    /// Holds every byte at the offset of its value.
    pattern: i32,
}

impl Files {
    fn new() -> io::Result<Self> {
        let memfd = |name: &core::ffi::CStr| {
            // SAFETY: the name is a C string.
            let fd = unsafe { libc::memfd_create(name.as_ptr(), 0) };
            if fd < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(fd)
            }
        };
        let file = memfd(c"file")?;
        // SAFETY: our own descriptor.
        unsafe { libc::ftruncate(file, (2 * FILE_PAGES * 4096) as i64) };
        let scratch = memfd(c"scratch")?;
        // SAFETY: our own descriptor.
        unsafe { libc::ftruncate(scratch, 4096) };
        let pattern = memfd(c"pattern")?;
        let bytes: Vec<u8> = (0..=255).collect();
        // SAFETY: the bytes are ours.
        unsafe { libc::pwrite(pattern, bytes.as_ptr().cast(), bytes.len(), 0) };
        let path = std::ffi::CString::new(format!("/proc/self/fd/{file}"))?;
        // SAFETY: the path is a C string.
        let read_only = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
        if read_only < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            file,
            read_only,
            scratch,
            pattern,
        })
    }
}

impl Files {
    /// The descriptor and flag that ask for it.
    const fn behind(&self, behind: Behind) -> (u64, u64) {
        match behind {
            Behind::Anonymous => (u64::MAX, libc::MAP_ANONYMOUS as u64),
            Behind::File => (self.file as u64, 0),
            Behind::ReadOnlyFile => (self.read_only as u64, 0),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for fd in [self.file, self.read_only, self.scratch, self.pattern] {
            // SAFETY: our own descriptors.
            unsafe { libc::close(fd) };
        }
    }
}

/// A system call on the area.
fn call(nr: i64, args: [u64; 6]) -> i64 {
    // SAFETY: the addresses are those of the area, where nothing of this
    // process lives, or come from a call that placed a new mapping.
    let result = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]) };
    if result != -1 {
        return result;
    }
    // SAFETY: errno of this thread.
    -i64::from(unsafe { *libc::__errno_location() })
}

fn perform(op: &Op, files: &Files) -> i64 {
    let abs = Op::absolute;
    match *op {
        Op::Map {
            at,
            len,
            prot,
            flags,
            behind,
            offset,
        } => {
            let (fd, anonymous) = files.behind(behind);
            let flags = u64::from(flags) | anonymous;
            let got = call(libc::SYS_mmap, [abs(at), len, prot.into(), flags, fd, offset]);
            placed(got, len)
        }
        Op::MapAnywhere {
            hint,
            len,
            flags,
            behind,
        } => {
            let (fd, anonymous) = files.behind(behind);
            call(
                libc::SYS_mmap,
                [hint, len, 1, u64::from(flags) | anonymous, fd, 0],
            )
        }
        Op::Unmap { at, len } => call(libc::SYS_munmap, [abs(at), len, 0, 0, 0, 0]),
        Op::Protect { at, len, prot } => call(libc::SYS_mprotect, [abs(at), len, prot.into(), 0, 0, 0]),
        Op::Remap {
            at,
            old,
            new,
            flags,
            to,
        } => placed(
            call(libc::SYS_mremap, [abs(at), old, new, flags.into(), abs(to), 0]),
            new,
        ),
        Op::Advise { at, len, advice } => call(libc::SYS_madvise, [abs(at), len, advice.into(), 0, 0, 0]),
        Op::Lock { at, len, flags } => call(libc::SYS_mlock2, [abs(at), len, flags.into(), 0, 0, 0]),
        Op::Unlock { at, len } => call(libc::SYS_munlock, [abs(at), len, 0, 0, 0, 0]),
        Op::LockAll { flags } => call(libc::SYS_mlockall, [flags.into(), 0, 0, 0, 0, 0]),
        Op::UnlockAll => call(libc::SYS_munlockall, [0; 6]),
        Op::Sync { at, len, flags } => call(libc::SYS_msync, [abs(at), len, flags.into(), 0, 0, 0]),
        Op::InCore { at, len } => {
            let mut vector = [0_u8; 4096];
            call(
                libc::SYS_mincore,
                [abs(at), len, vector.as_mut_ptr() as u64, 0, 0, 0],
            )
        }
        Op::Seal { at, len } => call(462, [abs(at), len, 0, 0, 0, 0]),
        Op::RemapFile { at, len, page } => call(libc::SYS_remap_file_pages, [abs(at), len, 0, page, 0, 0]),
        Op::Write { at, value } => call(
            libc::SYS_pread64,
            [files.pattern as u64, abs(at), 1, value.into(), 0, 0],
        ),
        Op::Read { at } => {
            let mut byte = 0_u8;
            let wrote = call(libc::SYS_pwrite64, [files.scratch as u64, abs(at), 1, 0, 0, 0]);
            if wrote < 0 {
                return wrote;
            }
            call(
                libc::SYS_pread64,
                [files.scratch as u64, (&raw mut byte) as u64, 1, 0, 0, 0],
            );
            byte.into()
        }
    }
}

/// Makes an address relative, and unmaps what went elsewhere.
fn placed(got: i64, len: u64) -> i64 {
    if got < 0 {
        return got;
    }
    if (AREA.raw()..AREA.raw() + AREA_BYTES).contains(&(got as u64)) {
        return got - Op::absolute(0) as i64;
    }
    call(libc::SYS_munmap, [got as u64, len, 0, 0, 0, 0]);
    ELSEWHERE
}

/// The VMAs of the area in a text of `smaps`.
fn parse(text: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(letters) = line.strip_prefix("VmFlags: ") {
            if let Some(last) = shown.last_mut().filter(|_| inside) {
                last.letters = letters.trim().to_owned();
            }
        } else if let Some(vma) = header(line) {
            inside = (AREA.raw()..AREA.raw() + AREA_BYTES).contains(&vma.range.0);
            if inside {
                shown.push(vma);
            }
        }
    }
    shown
}

fn header(line: &str) -> Option<Shown> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let perms = words.next()?.to_owned();
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let rest: Vec<_> = words.skip(2).collect();
    Some(Shown {
        range: (start, end),
        perms,
        offset,
        name: rest.join(" "),
        letters: String::new(),
    })
}
