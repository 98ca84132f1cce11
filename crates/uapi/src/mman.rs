//! Flags and requests of the memory-mapping system calls.

use bitflags::bitflags;

bitflags! {
    /// Access rights of `mmap(2)` and `mprotect(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Prot: u64 {
        /// Pages may be read.
        const READ = 0x1;
        /// Pages may be written.
        const WRITE = 0x2;
        /// Pages may be executed.
        const EXEC = 0x4;
        /// Pages may be used for atomic operations (accepted and ignored on x86).
        const SEM = 0x8;
        /// `mprotect` extends the change to the start of a growing-down area.
        const GROWSDOWN = 0x0100_0000;
        /// `mprotect` extends the change to the end of a growing-up area.
        const GROWSUP = 0x0200_0000;
    }
}

impl Prot {
    /// No access.
    pub const NONE: Self = Self::empty();
    /// Read and write.
    pub const READ_WRITE: Self = Self::READ.union(Self::WRITE);
    /// Read and execute.
    pub const READ_EXEC: Self = Self::READ.union(Self::EXEC);
}

/// What kind of mapping the low bits of the `mmap(2)` flags ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapType {
    /// `MAP_SHARED`: unknown flags are ignored.
    Shared,
    /// `MAP_PRIVATE`.
    Private,
    /// `MAP_SHARED_VALIDATE`: unknown flags are `EOPNOTSUPP`.
    SharedValidate,
    /// `MAP_DROPPABLE`: the kernel may drop the pages under pressure.
    Droppable,
}

bitflags! {
    /// Flags of `mmap(2)`. The low four bits are a [`MapType`], not flags.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MapFlags: u64 {
        /// Writes reach the object (bit of [`MapType::Shared`] and its relatives).
        const SHARED = 0x01;
        /// Writes stay private (bit of [`MapType::Private`]).
        const PRIVATE = 0x02;
        /// At exactly this address, replacing what is there.
        const FIXED = 0x10;
        /// No file: zero-filled memory.
        const ANONYMOUS = 0x20;
        /// Below 2 GiB.
        const BIT32 = 0x40;
        /// Above 4 GiB (accepted and ignored).
        const ABOVE4G = 0x80;
        /// Grows down on faults just below it.
        const GROWSDOWN = 0x0100;
        /// Accepted and ignored.
        const DENYWRITE = 0x0800;
        /// Accepted and ignored.
        const EXECUTABLE = 0x1000;
        /// Locked into memory as by `mlock(2)`.
        const LOCKED = 0x2000;
        /// Not counted against the commit limit.
        const NORESERVE = 0x4000;
        /// Page tables are filled at once.
        const POPULATE = 0x8000;
        /// With `POPULATE`: do not block (so, in effect, do nothing).
        const NONBLOCK = 0x1_0000;
        /// For stacks: no huge pages.
        const STACK = 0x2_0000;
        /// Huge pages of the hugetlb pool.
        const HUGETLB = 0x4_0000;
        /// Synchronous faults on DAX files.
        const SYNC = 0x8_0000;
        /// At exactly this address, or `EEXIST`.
        const FIXED_NOREPLACE = 0x10_0000;
        /// Contents may be undefined (only without an MMU).
        const UNINITIALIZED = 0x400_0000;
        /// log2 of the huge page size, six bits.
        const HUGE_SIZE = 0x3f << 26;
        /// The four bits of the mapping type.
        const TYPE = 0x0f;
    }
}

impl MapFlags {
    /// The mapping type; `None` is `EINVAL`.
    pub const fn map_type(self) -> Option<MapType> {
        match self.bits() & 0x0f {
            0x01 => Some(MapType::Shared),
            0x02 => Some(MapType::Private),
            0x03 => Some(MapType::SharedValidate),
            0x08 => Some(MapType::Droppable),
            _ => None,
        }
    }

    /// log2 of the huge page size asked for; 0 means the default size.
    pub const fn huge_shift(self) -> u32 {
        ((self.bits() >> 26) & 0x3f) as u32
    }

    /// The flags that `MAP_SHARED_VALIDATE` accepts before a file adds its own
    /// (everything older than that flag itself).
    pub const LEGACY: Self = Self::TYPE
        .union(Self::FIXED)
        .union(Self::ANONYMOUS)
        .union(Self::BIT32)
        .union(Self::ABOVE4G)
        .union(Self::GROWSDOWN)
        .union(Self::DENYWRITE)
        .union(Self::EXECUTABLE)
        .union(Self::LOCKED)
        .union(Self::NORESERVE)
        .union(Self::POPULATE)
        .union(Self::NONBLOCK)
        .union(Self::STACK)
        .union(Self::HUGETLB)
        .union(Self::UNINITIALIZED)
        .union(Self::HUGE_SIZE);
}

macro_rules! advices {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// What `madvise(2)` is asked to do.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Advice { $($(#[$doc])* $name = $code,)* }

        impl Advice {
            /// Decodes the argument; `None` is `EINVAL`.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The number of the ABI.
            pub const fn raw(self) -> u32 {
                self as u32
            }
        }
    };
}

advices! {
    /// No special treatment.
    Normal = 0;
    /// References will be random.
    Random = 1;
    /// References will be sequential.
    Sequential = 2;
    /// Will be needed soon.
    WillNeed = 3;
    /// Contents are dropped: next read sees zeroes or the file.
    DontNeed = 4;
    /// Contents may be dropped until written again.
    Free = 8;
    /// Punches a hole into the object.
    Remove = 9;
    /// Not inherited by a child.
    DontFork = 10;
    /// Inherited by a child again.
    DoFork = 11;
    /// Candidates for same-page merging.
    Mergeable = 12;
    /// Undoes [`Advice::Mergeable`].
    Unmergeable = 13;
    /// Huge pages wanted.
    HugePage = 14;
    /// Huge pages not wanted.
    NoHugePage = 15;
    /// Left out of core dumps.
    DontDump = 16;
    /// Undoes [`Advice::DontDump`].
    DoDump = 17;
    /// A child sees zeroes.
    WipeOnFork = 18;
    /// Undoes [`Advice::WipeOnFork`].
    KeepOnFork = 19;
    /// Moves pages to the cold end of the LRU.
    Cold = 20;
    /// Reclaims the pages now.
    PageOut = 21;
    /// Faults pages in for reading.
    PopulateRead = 22;
    /// Faults pages in for writing.
    PopulateWrite = 23;
    /// [`Advice::DontNeed`] that also drops locked pages.
    DontNeedLocked = 24;
    /// Collapses into huge pages now.
    Collapse = 25;
    /// Poisons a page as if the hardware had failed.
    HwPoison = 100;
    /// Takes a page offline.
    SoftOffline = 101;
    /// Installs guard regions.
    GuardInstall = 102;
    /// Removes guard regions.
    GuardRemove = 103;
}

bitflags! {
    /// Flags of `mremap(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MremapFlags: u64 {
        /// May move.
        const MAYMOVE = 1;
        /// To exactly the given address.
        const FIXED = 2;
        /// The old range stays, emptied.
        const DONTUNMAP = 4;
    }
}

bitflags! {
    /// Flags of `mlock2(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MlockFlags: u32 {
        /// Lock pages as they are faulted in, populate nothing.
        const ONFAULT = 1;
    }
}

bitflags! {
    /// Flags of `mlockall(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MlockAllFlags: u32 {
        /// Everything mapped now.
        const CURRENT = 1;
        /// Everything mapped from now on.
        const FUTURE = 2;
        /// Lock pages as they are faulted in.
        const ONFAULT = 4;
    }
}

bitflags! {
    /// Flags of `msync(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MsyncFlags: u32 {
        /// Start, do not wait.
        const ASYNC = 1;
        /// `EBUSY` over locked pages.
        const INVALIDATE = 2;
        /// Wait.
        const SYNC = 4;
    }
}

bitflags! {
    /// Flags of `memfd_create(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct MemfdFlags: u32 {
        /// Close on exec.
        const CLOEXEC = 1;
        /// Seals may be set.
        const ALLOW_SEALING = 2;
        /// Huge pages of the hugetlb pool.
        const HUGETLB = 4;
        /// Never executable, and sealed so.
        const NOEXEC_SEAL = 8;
        /// Executable.
        const EXEC = 0x10;
        /// log2 of the huge page size, six bits.
        const HUGE_SIZE = 0x3f << 26;
    }
}

bitflags! {
    /// Seals of a memfd (`F_ADD_SEALS`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Seals: u32 {
        /// No more seals.
        const SEAL = 0x1;
        /// May not shrink.
        const SHRINK = 0x2;
        /// May not grow.
        const GROW = 0x4;
        /// May not be written.
        const WRITE = 0x8;
        /// May not be written except through existing mappings.
        const FUTURE_WRITE = 0x10;
        /// The execute bits of its mode may not change.
        const EXEC = 0x20;
    }
}

bitflags! {
    /// Rights taken away by a protection key.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PkeyRights: u32 {
        /// No data access.
        const DISABLE_ACCESS = 1;
        /// No writes.
        const DISABLE_WRITE = 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_types_are_values_not_flags() {
        assert_eq!(
            MapFlags::from_bits_retain(0x03).map_type(),
            Some(MapType::SharedValidate)
        );
        assert_eq!(
            MapFlags::from_bits_retain(0x08).map_type(),
            Some(MapType::Droppable)
        );
        assert_eq!(MapFlags::from_bits_retain(0x20).map_type(), None);
        assert_eq!(MapFlags::from_bits_retain(0x04).map_type(), None);
    }

    #[test]
    fn advice_has_holes() {
        assert_eq!(Advice::from_raw(4), Some(Advice::DontNeed));
        assert_eq!(Advice::from_raw(5), None);
        assert_eq!(Advice::GuardInstall.raw(), 102);
    }

    #[test]
    fn huge_size_is_a_logarithm() {
        let flags = MapFlags::HUGETLB | MapFlags::from_bits_retain(21 << 26);
        assert_eq!(flags.huge_shift(), 21);
    }
}
