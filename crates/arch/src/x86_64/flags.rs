//! The bits of a present entry.

use bitflags::bitflags;

bitflags! {
    /// The flag bits of an entry: the hardware's, and those that the hardware
    /// leaves to the kernel, used as Linux uses them.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PteFlags: u64 {
        /// The hardware follows the entry.
        const PRESENT = 1 << 0;
        /// Writable.
        const WRITE = 1 << 1;
        /// Accessible from user mode.
        const USER = 1 << 2;
        /// Page-level write-through.
        const WRITE_THROUGH = 1 << 3;
        /// Page-level cache disable.
        const CACHE_DISABLE = 1 << 4;
        /// Used since it was last cleared; set by the hardware.
        const ACCESSED = 1 << 5;
        /// Written since it was last cleared; set by the hardware, on leaves only.
        const DIRTY = 1 << 6;
        /// On entries above the PTE level: maps memory. (On a PTE this bit is PAT.)
        const LARGE = 1 << 7;
        /// Survives a change of address space. With `PRESENT` clear Linux uses
        /// the bit to say that the page is there but inaccessible.
        const GLOBAL = 1 << 8;
        /// Software: the frame has no record or must not be counted
        /// (the zero page, raw PFN mappings).
        const SPECIAL = 1 << 9;
        /// Software: userfaultfd wants to hear of a write.
        const UFFD_WP = 1 << 10;
        /// Software: written since soft-dirty was last cleared.
        const SOFT_DIRTY = 1 << 11;
        /// Software: the dirty bit of an entry that must not look like a shadow stack.
        const SAVED_DIRTY = 1 << 58;
        /// Not executable.
        const NO_EXECUTE = 1 << 63;
    }
}

impl PteFlags {
    /// The PAT bit of a PTE, which is [`LARGE`](Self::LARGE) elsewhere.
    pub const PAT: Self = Self::LARGE;
    /// The PAT bit of an entry that maps 2 MiB or 1 GiB.
    pub const PAT_LARGE: Self = Self::from_bits_retain(1 << 12);
    /// Without `PRESENT`: there, but inaccessible (`PROT_NONE`, NUMA hints).
    pub const PROT_NONE: Self = Self::GLOBAL;
    /// What a table for user translations is linked with: the leaves decide.
    pub const TABLE: Self = Self::PRESENT
        .union(Self::WRITE)
        .union(Self::USER)
        .union(Self::ACCESSED)
        .union(Self::DIRTY);
}
