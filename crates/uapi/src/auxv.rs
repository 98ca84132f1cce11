//! The auxiliary vector that exec hands to a program.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AuxEntry {
    /// Which: an `AT_*` constant of this module.
    pub key: u64,
    /// Its value.
    pub value: u64,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: u64 = $code;)*
    };
}

keys! {
    /// End of the vector.
    AT_NULL = 0;
    /// Descriptor of the program.
    AT_EXECFD = 2;
    /// Address of the program headers.
    AT_PHDR = 3;
    /// Bytes of one program header.
    AT_PHENT = 4;
    /// Number of program headers.
    AT_PHNUM = 5;
    /// Page size.
    AT_PAGESZ = 6;
    /// Where the interpreter was loaded.
    AT_BASE = 7;
    /// Flags.
    AT_FLAGS = 8;
    /// Entry point of the program.
    AT_ENTRY = 9;
    /// Real user id.
    AT_UID = 11;
    /// Effective user id.
    AT_EUID = 12;
    /// Real group id.
    AT_GID = 13;
    /// Effective group id.
    AT_EGID = 14;
    /// Address of the platform's name.
    AT_PLATFORM = 15;
    /// CPU features (CPUID leaf 1, edx).
    AT_HWCAP = 16;
    /// Clock ticks per second of `times(2)`.
    AT_CLKTCK = 17;
    /// Whether the program gained rights.
    AT_SECURE = 23;
    /// Address of the base platform's name.
    AT_BASE_PLATFORM = 24;
    /// Address of 16 random bytes.
    AT_RANDOM = 25;
    /// More CPU features.
    AT_HWCAP2 = 26;
    /// Bytes of the rseq area that the kernel knows.
    AT_RSEQ_FEATURE_SIZE = 27;
    /// Alignment of the rseq area.
    AT_RSEQ_ALIGN = 28;
    /// Address of the path that was executed.
    AT_EXECFN = 31;
    /// 32-bit entry point for system calls.
    AT_SYSINFO = 32;
    /// Address of the vDSO.
    AT_SYSINFO_EHDR = 33;
    /// Smallest alternate signal stack.
    AT_MINSIGSTKSZ = 51;
}
