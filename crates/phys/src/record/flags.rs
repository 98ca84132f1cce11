//! What is known about a frame, one bit each.

bitflags::bitflags! {
    /// Flags of a [`FrameRecord`](super::FrameRecord).
    ///
    /// # Linux source concept
    /// `enum pageflags`. `kpageflags` derives some of its bits from these.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FrameFlags: u64 {
        /// Someone does I/O on the content or changes its identity.
        const LOCKED = 1 << 0;
        /// The content is valid.
        const UPTODATE = 1 << 1;
        /// The content is newer than its backing.
        const DIRTY = 1 << 2;
        /// On a reclaim list.
        const LRU = 1 << 3;
        /// On the active reclaim list.
        const ACTIVE = 1 << 4;
        /// Used since reclaim last looked.
        const REFERENCED = 1 << 5;
        /// Backed by swap: anonymous or shared memory.
        const SWAPBACKED = 1 << 6;
        /// Has a slot in the swap area.
        const SWAPCACHE = 1 << 7;
        /// This frame of an anonymous folio is mapped by one space only and may
        /// be written without a copy.
        const ANON_EXCLUSIVE = 1 << 8;
        /// Must not be reclaimed.
        const UNEVICTABLE = 1 << 9;
        /// Locked into memory by a program.
        const MLOCKED = 1 << 10;
        /// Being written to its backing.
        const WRITEBACK = 1 << 11;
        /// Reclaim wants it as soon as it is written.
        const RECLAIM = 1 << 12;
        /// `private` belongs to the owner of the object.
        const PRIVATE = 1 << 13;
        /// A page table.
        const TABLE = 1 << 14;
        /// Cut up by the slab allocator.
        const SLAB = 1 << 15;
        /// Not the allocator's to give: firmware, kernel image, the records themselves.
        const RESERVED = 1 << 16;
        /// Broken.
        const HWPOISON = 1 << 17;
        /// An error was seen during I/O.
        const ERROR = 1 << 18;
        /// Evicted recently, so that its return counts as a refault.
        const WORKINGSET = 1 << 19;
        /// The zero page: shared by everybody, never counted.
        const ZERO_PAGE = 1 << 20;
        /// Free and filled with the poison pattern.
        const POISONED = 1 << 21;
        /// For the owner of the frame, any meaning.
        const OWNER_1 = 1 << 22;
        /// For the owner of the frame, any meaning.
        const OWNER_2 = 1 << 23;
        /// Holds tables of the allocator itself.
        const OWN_TABLE = 1 << 24;
        /// Somebody pays for it: `charge` says who.
        const CHARGED = 1 << 25;
    }
}

impl FrameFlags {
    /// None of these may be set when the last reference goes.
    ///
    /// # Linux source concept
    /// `PAGE_FLAGS_CHECK_AT_FREE`.
    pub const FORBIDDEN_AT_FREE: Self = Self::LOCKED
        .union(Self::LRU)
        .union(Self::WRITEBACK)
        .union(Self::SLAB)
        .union(Self::TABLE)
        .union(Self::RESERVED)
        .union(Self::UNEVICTABLE);
}
