//! What a frame is used for.

macro_rules! owners {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a frame was allocated for; kept in its record for reports,
        /// audits and dumps.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(u8)]
        pub enum Owner {
            $($(#[$doc])* $name,)*
        }

        impl Owner {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A word for reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

owners! {
    /// Nobody said.
    #[default]
    Unknown = "unknown",
    /// A program's private memory.
    Anonymous = "anonymous",
    /// The cache of a file.
    PageCache = "page cache",
    /// Shared memory, memfd, tmpfs.
    Shmem = "shmem",
    /// Page tables.
    Table = "page table",
    /// Kernel stacks.
    Stack = "kernel stack",
    /// Small kernel objects.
    Slab = "slab",
    /// Virtually contiguous kernel memory.
    Vmalloc = "vmalloc",
    /// Per-CPU areas.
    PerCpu = "per-cpu",
    /// Buffers of pipes and sockets.
    Buffer = "buffer",
    /// Records of frames, and the lines of blocks.
    Records = "frame records",
    /// A program, on a device's memory.
    Device = "device",
    /// The zero page and the like.
    Kernel = "kernel",
    /// A test.
    Test = "test",
}

impl Owner {
    #[inline]
    pub(crate) fn from_raw(raw: u8) -> Self {
        Self::ALL.get(raw as usize).copied().unwrap_or_default()
    }
}
