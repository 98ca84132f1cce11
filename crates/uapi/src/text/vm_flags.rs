//! The two-letter flags of `/proc/PID/smaps`.

use alloc::vec::Vec;

use bitflags::bitflags;

use super::scan::{ParseError, ascii, expected};

macro_rules! vm_flags {
    ($(#[doc = $doc:literal] $name:ident = $bit:literal, $letters:literal;)*) => {
        bitflags! {
            /// What the line `VmFlags:` says, in the kernel's bits, which are
            /// also the order in which they are printed.
            ///
            /// # Linux source concept
            /// `vm_flags_t`, include/linux/mm.h.
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
            pub struct VmFlagNames: u64 {
                $(#[doc = $doc] const $name = 1 << $bit;)*
            }
        }

        const LETTERS: &[(VmFlagNames, &str)] = &[$((VmFlagNames::$name, $letters),)*];
    };
}

vm_flags! {
    /// Readable.
    READ = 0, "rd";
    /// Writable.
    WRITE = 1, "wr";
    /// Executable.
    EXEC = 2, "ex";
    /// Shared.
    SHARED = 3, "sh";
    /// May become readable.
    MAYREAD = 4, "mr";
    /// May become writable.
    MAYWRITE = 5, "mw";
    /// May become executable.
    MAYEXEC = 6, "me";
    /// May become shared.
    MAYSHARE = 7, "ms";
    /// Grows down.
    GROWSDOWN = 8, "gd";
    /// Missing pages go to userfaultfd.
    UFFD_MISSING = 9, "um";
    /// Bare frame numbers.
    PFNMAP = 10, "pf";
    /// May hold guard regions.
    MAYBE_GUARD = 11, "gu";
    /// Write protection through userfaultfd.
    UFFD_WP = 12, "uw";
    /// Locked.
    LOCKED = 13, "lo";
    /// Device memory.
    IO = 14, "io";
    /// Read in sequence.
    SEQ_READ = 15, "sr";
    /// Read at random.
    RAND_READ = 16, "rr";
    /// Not inherited.
    DONTCOPY = 17, "dc";
    /// Cannot grow.
    DONTEXPAND = 18, "de";
    /// Locked as it is faulted in.
    LOCKONFAULT = 19, "lf";
    /// Counted against the commit limit.
    ACCOUNT = 20, "ac";
    /// No swap reserved.
    NORESERVE = 21, "nr";
    /// hugetlb.
    HUGETLB = 22, "ht";
    /// Synchronous faults.
    SYNC = 23, "sf";
    /// The architecture's own.
    ARCH_1 = 24, "ar";
    /// Wiped in a child.
    WIPEONFORK = 25, "wf";
    /// Left out of core dumps.
    DONTDUMP = 26, "dd";
    /// Soft-dirty.
    SOFTDIRTY = 27, "sd";
    /// Bare frame numbers and pages.
    MIXEDMAP = 28, "mm";
    /// Huge pages wanted.
    HUGEPAGE = 29, "hg";
    /// Huge pages not wanted.
    NOHUGEPAGE = 30, "nh";
    /// May be merged with equal pages.
    MERGEABLE = 31, "mg";
    /// Shadow stack.
    SHADOW_STACK = 37, "ss";
    /// May be dropped under pressure.
    DROPPABLE = 40, "dp";
    /// Minor faults go to userfaultfd.
    UFFD_MINOR = 41, "ui";
    /// Sealed.
    SEALED = 42, "sl";
}

impl VmFlagNames {
    /// Writes the letters, each pair followed by a space.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        for (flag, letters) in LETTERS {
            if self.contains(*flag) {
                out.extend_from_slice(letters.as_bytes());
                out.push(b' ');
            }
        }
    }

    /// Reads the letters.
    ///
    /// # Errors
    /// Letters that Linux 6.18 does not use.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut flags = Self::empty();
        for word in ascii(text, "flags")?.split_whitespace() {
            let found = LETTERS.iter().find(|(_, letters)| *letters == word);
            flags |= found.ok_or(expected("a known flag"))?.0;
        }
        Ok(flags)
    }
}
