//! Operations, and what is seen after each.

use foliant_units::VirtAddr;

/// Where the operations play: far from everything else in any process.
pub const AREA: VirtAddr = VirtAddr::new(0x1000_0000_0000);
/// Bytes of the area, all of its surroundings included.
pub const AREA_BYTES: u64 = 1 << 30;
/// Page of the area that the operations count from: the pages below leave
/// room for guard gaps.
pub const FIRST_PAGE: u64 = 1024;
/// Pages of the file at which mappings start; the file is twice as long.
pub const FILE_PAGES: u64 = 128;

/// What stands behind a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Nothing.
    Anonymous,
    /// A memfd, open for reading and writing.
    File,
    /// The same memfd, open for reading.
    ReadOnlyFile,
}

/// One system call. Addresses and lengths are bytes, addresses from [`FIRST_PAGE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `mmap`.
    Map {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// Rights.
        prot: u32,
        /// Flags, without `MAP_ANONYMOUS`.
        flags: u32,
        /// The file.
        behind: Behind,
        /// Offset.
        offset: u64,
    },
    /// `mmap` of anonymous memory or the file at no or a far address; the
    /// result is the absolute address, and the mapping stays.
    MapAnywhere {
        /// Hint.
        hint: u64,
        /// Length.
        len: u64,
        /// Flags, without `MAP_ANONYMOUS`.
        flags: u32,
        /// The file.
        behind: Behind,
    },
    /// `munmap`.
    Unmap {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
    },
    /// `mprotect`.
    Protect {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// Rights.
        prot: u32,
    },
    /// `mremap`.
    Remap {
        /// Where from.
        at: u64,
        /// Old length.
        old: u64,
        /// New length.
        new: u64,
        /// Flags.
        flags: u32,
        /// Where to.
        to: u64,
    },
    /// `madvise`.
    Advise {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// The advice.
        advice: u32,
    },
    /// `mlock2`.
    Lock {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// Flags.
        flags: u32,
    },
    /// `munlock`.
    Unlock {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
    },
    /// `mlockall`, of the future only.
    LockAll {
        /// Flags.
        flags: u32,
    },
    /// `munlockall`.
    UnlockAll,
    /// `msync`.
    Sync {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// Flags.
        flags: u32,
    },
    /// `mincore`.
    InCore {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
    },
    /// `mseal`.
    Seal {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
    },
    /// `remap_file_pages`.
    RemapFile {
        /// Where.
        at: u64,
        /// Length.
        len: u64,
        /// Page of the file.
        page: u64,
    },
    /// A byte that the kernel writes for the program.
    Write {
        /// Where.
        at: u64,
        /// The byte.
        value: u8,
    },
    /// A byte that the kernel reads for the program; it is the result.
    Read {
        /// Where.
        at: u64,
    },
}

impl Op {
    /// The absolute address of an operand.
    pub const fn absolute(at: u64) -> u64 {
        AREA.raw() + (FIRST_PAGE << 12) + at
    }
}

/// A mapping of the process that runs the operations, which they go around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// First byte, and the first one past the end.
    pub range: (u64, u64),
    /// Whether it is the stack.
    pub stack: bool,
}

/// One VMA as `/proc/PID/smaps` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// First byte, and the first one past the end.
    pub range: (u64, u64),
    /// Such as `rw-p`.
    pub perms: String,
    /// Byte offset.
    pub offset: u64,
    /// The name.
    pub name: String,
    /// The `VmFlags:` line.
    pub letters: String,
}

impl core::fmt::Debug for Shown {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let page = |at: u64| (at - AREA.raw()) as i64 / 4096 - FIRST_PAGE as i64;
        write!(
            f,
            "{}..{} {} off {:x} {:?} [{}]",
            page(self.range.0),
            page(self.range.1),
            self.perms,
            self.offset / 4096,
            self.name,
            self.letters
        )
    }
}

/// Pages of the area whose entries are looked at.
pub const SEEN_PAGES: u64 = 64;

/// What `/proc/PID/pagemap` says of a page.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Has a frame.
    pub present: bool,
    /// The frame is a file's or shared memory's.
    pub file: bool,
    /// The frame is mapped here alone.
    pub exclusive: bool,
    /// A guard marker.
    pub guard: bool,
}

impl core::fmt::Debug for Page {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let letter = match (self.present, self.file, self.exclusive) {
            (false, ..) if self.guard => 'g',
            (false, ..) => '.',
            (true, true, false) => 'f',
            (true, true, true) => 'F',
            (true, false, false) => 'a',
            (true, false, true) => 'A',
        };
        write!(f, "{letter}")
    }
}

/// What is seen after an operation. All of it repeats exactly: addresses
/// outside of the area are one value, inodes are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// Return value; negative is an errno. Addresses are relative, and
    /// [`ELSEWHERE`] outside of the area.
    pub result: i64,
    /// Minor faults that it took.
    pub faults: u64,
    /// The VMAs of the area.
    pub vmas: Vec<Shown>,
    /// The first [`SEEN_PAGES`] pages.
    pub pages: Vec<Page>,
}

/// An address outside of the area, which is unmapped again at once.
pub const ELSEWHERE: i64 = i64::MAX;
