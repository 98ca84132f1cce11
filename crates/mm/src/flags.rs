//! The flags of a VMA, with Linux's bits, because `/proc` shows them.

use bitflags::bitflags;

bitflags! {
    /// What a VMA permits and how it is treated.
    ///
    /// # Linux source concept
    /// `vm_flags_t`, include/linux/mm.h (6.18, x86-64).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct VmFlags: u64 {
        /// Loads are allowed now.
        const READ = 1 << 0;
        /// Stores are allowed now.
        const WRITE = 1 << 1;
        /// Fetches are allowed now.
        const EXEC = 1 << 2;
        /// Stores are seen by every mapping of the object.
        const SHARED = 1 << 3;
        /// `mprotect` may turn [`READ`](Self::READ) on.
        const MAYREAD = 1 << 4;
        /// `mprotect` may turn [`WRITE`](Self::WRITE) on.
        const MAYWRITE = 1 << 5;
        /// `mprotect` may turn [`EXEC`](Self::EXEC) on.
        const MAYEXEC = 1 << 6;
        /// Mapped with `MAP_SHARED`, even where [`SHARED`](Self::SHARED) was taken away
        /// because the file is not open for writing.
        const MAYSHARE = 1 << 7;
        /// A stack: a fault below it extends it.
        const GROWSDOWN = 1 << 8;
        /// userfaultfd: absent pages are reported.
        const UFFD_MISSING = 1 << 9;
        /// Frames without records, not copied on write.
        const PFNMAP = 1 << 10;
        /// May hold guard pages (`MADV_GUARD_INSTALL`); never taken away.
        const MAYBE_GUARD = 1 << 11;
        /// userfaultfd: writes to protected pages are reported.
        const UFFD_WP = 1 << 12;
        /// Pages stay in memory.
        const LOCKED = 1 << 13;
        /// Device memory.
        const IO = 1 << 14;
        /// `MADV_SEQUENTIAL`.
        const SEQ_READ = 1 << 15;
        /// `MADV_RANDOM`.
        const RAND_READ = 1 << 16;
        /// Not inherited by a fork.
        const DONTCOPY = 1 << 17;
        /// Cannot grow by `mremap`, cannot merge. Only what the kernel provides
        /// has it here (Linux's special mappings), which cannot be split either.
        const DONTEXPAND = 1 << 18;
        /// With [`LOCKED`](Self::LOCKED): pages are locked when they are touched.
        const LOCKONFAULT = 1 << 19;
        /// Counts against the commit limit.
        const ACCOUNT = 1 << 20;
        /// Mapped with `MAP_NORESERVE`.
        const NORESERVE = 1 << 21;
        /// Huge pages of hugetlbfs.
        const HUGETLB = 1 << 22;
        /// Synchronous page faults (DAX).
        const SYNC = 1 << 23;
        /// A fork's child sees zeroes.
        const WIPEONFORK = 1 << 25;
        /// Not part of a core dump.
        const DONTDUMP = 1 << 26;
        /// Some page may have been written since soft-dirty bits were cleared.
        const SOFTDIRTY = 1 << 27;
        /// Both recorded and unrecorded frames.
        const MIXEDMAP = 1 << 28;
        /// `MADV_HUGEPAGE`.
        const HUGEPAGE = 1 << 29;
        /// `MADV_NOHUGEPAGE`, and every `MAP_STACK`.
        const NOHUGEPAGE = 1 << 30;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 1 << 31;
        /// Lowest bit of the protection key.
        const PKEY_BIT0 = 1 << 32;
        /// Second bit of the protection key.
        const PKEY_BIT1 = 1 << 33;
        /// Third bit of the protection key.
        const PKEY_BIT2 = 1 << 34;
        /// Highest bit of the protection key.
        const PKEY_BIT3 = 1 << 35;
        /// userfaultfd: absent slots of present object pages are reported.
        const UFFD_MINOR = 1 << 38;
        /// Pages may be dropped under pressure.
        const DROPPABLE = 1 << 40;
        /// Cannot be unmapped, moved or protected differently.
        const SEALED = 1 << 42;
    }
}

impl VmFlags {
    /// The three rights.
    pub const ACCESS: Self = Self::READ.union(Self::WRITE).union(Self::EXEC);

    /// Flags that keep two VMAs from becoming one (Linux's `VM_SPECIAL`).
    pub const SPECIAL: Self = Self::IO
        .union(Self::DONTEXPAND)
        .union(Self::PFNMAP)
        .union(Self::MIXEDMAP);

    /// Both lock flags.
    pub const LOCKED_MASK: Self = Self::LOCKED.union(Self::LOCKONFAULT);

    /// Flags in which neighbours may differ and still merge; the result has
    /// them if either had them (Linux's `VM_STICKY` and `VM_SOFTDIRTY`).
    pub const STICKY: Self = Self::SOFTDIRTY.union(Self::MAYBE_GUARD);

    /// The rights as `/proc/PID/maps` prints them, such as `rw-p`.
    pub fn perms(self) -> [u8; 4] {
        let letter = |flag, yes, no| if self.contains(flag) { yes } else { no };
        [
            letter(Self::READ, b'r', b'-'),
            letter(Self::WRITE, b'w', b'-'),
            letter(Self::EXEC, b'x', b'-'),
            letter(Self::MAYSHARE, b's', b'p'),
        ]
    }

    /// The two-letter codes of the `VmFlags:` line of `/proc/PID/smaps`, in its order.
    pub fn letters(self) -> impl Iterator<Item = &'static str> {
        LETTERS
            .iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, letters)| *letters)
    }

    /// The flags that a two-letter code of `smaps` stands for; `None` for an unknown code.
    pub fn from_letters(code: &str) -> Option<Self> {
        LETTERS
            .iter()
            .find(|(_, letters)| *letters == code)
            .map(|(flag, _)| *flag)
    }

    /// Private and possibly written: what `RLIMIT_DATA` counts.
    pub const fn is_data(self) -> bool {
        self.contains(Self::WRITE) && !self.intersects(Self::SHARED.union(Self::GROWSDOWN))
    }
}

/// In the order of the bits, which is the order of the `VmFlags:` line.
const LETTERS: &[(VmFlags, &str)] = &[
    (VmFlags::READ, "rd"),
    (VmFlags::WRITE, "wr"),
    (VmFlags::EXEC, "ex"),
    (VmFlags::SHARED, "sh"),
    (VmFlags::MAYREAD, "mr"),
    (VmFlags::MAYWRITE, "mw"),
    (VmFlags::MAYEXEC, "me"),
    (VmFlags::MAYSHARE, "ms"),
    (VmFlags::GROWSDOWN, "gd"),
    (VmFlags::UFFD_MISSING, "um"),
    (VmFlags::PFNMAP, "pf"),
    (VmFlags::MAYBE_GUARD, "gu"),
    (VmFlags::UFFD_WP, "uw"),
    (VmFlags::LOCKED, "lo"),
    (VmFlags::IO, "io"),
    (VmFlags::SEQ_READ, "sr"),
    (VmFlags::RAND_READ, "rr"),
    (VmFlags::DONTCOPY, "dc"),
    (VmFlags::DONTEXPAND, "de"),
    (VmFlags::LOCKONFAULT, "lf"),
    (VmFlags::ACCOUNT, "ac"),
    (VmFlags::NORESERVE, "nr"),
    (VmFlags::HUGETLB, "ht"),
    (VmFlags::SYNC, "sf"),
    (VmFlags::WIPEONFORK, "wf"),
    (VmFlags::DONTDUMP, "dd"),
    (VmFlags::SOFTDIRTY, "sd"),
    (VmFlags::MIXEDMAP, "mm"),
    (VmFlags::HUGEPAGE, "hg"),
    (VmFlags::NOHUGEPAGE, "nh"),
    (VmFlags::MERGEABLE, "mg"),
    (VmFlags::UFFD_MINOR, "ui"),
    (VmFlags::DROPPABLE, "dp"),
    (VmFlags::SEALED, "sl"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_in_the_order_of_smaps() {
        let flags = VmFlags::ACCOUNT | VmFlags::READ | VmFlags::MAYREAD | VmFlags::SOFTDIRTY;
        assert!(flags.letters().eq(["rd", "mr", "ac", "sd"]));
        assert_eq!(VmFlags::from_letters("gu"), Some(VmFlags::MAYBE_GUARD));
    }

    #[test]
    fn a_shared_mapping_of_a_read_only_file_still_shows_s() {
        assert_eq!(&(VmFlags::READ | VmFlags::MAYSHARE).perms(), b"r--s");
        assert_eq!(&VmFlags::empty().perms(), b"---p");
    }
}
