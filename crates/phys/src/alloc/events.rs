//! Counting what happens.

use foliant_platform::sync::atomic::{AtomicU64, Ordering};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something that the allocator counts.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Event {
            $($(#[$doc])* $name,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The line in `/proc/vmstat`, or a name in its style where Linux
            /// has none.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        /// How many events there are.
        pub(crate) const EVENTS: usize = Event::ALL.len();
    };
}

events! {
    /// Frames given out from a DMA zone.
    AllocDma = "pgalloc_dma",
    /// Frames given out from a DMA32 zone.
    AllocDma32 = "pgalloc_dma32",
    /// Frames given out from a Normal zone.
    AllocNormal = "pgalloc_normal",
    /// Frames given out from a HighMem zone.
    AllocHigh = "pgalloc_high",
    /// Frames given out from a Movable zone.
    AllocMovable = "pgalloc_movable",
    /// Frames given out from a Device zone: none ever.
    AllocDevice = "pgalloc_device",
    /// Frames that came back.
    Free = "pgfree",
    /// Requests that had to wait for reclaim.
    Stall = "allocstall",
    /// Requests that failed.
    Fail = "pgalloc_fail",
    /// Failed requests whose caller wanted it told.
    FailWarn = "pgalloc_fail_warn",
    /// Requests, one for each folio.
    Request = "alloc_requests",
    /// Times a ring was filled from the lines.
    Refill = "ring_refill",
    /// Times a ring was emptied into the lines.
    Drain = "ring_drain",
    /// Times a ring was busy and the lines were used instead.
    Busy = "ring_busy",
    /// Times a block of another mobility was used.
    Fallback = "pageblock_fallback",
    /// Blocks that changed their mobility while in use.
    Steal = "pageblock_steal",
    /// Frames that had to be cleared.
    Zeroed = "pgzero",
    /// Folios that were moved.
    Migrated = "pgmigrate_success",
    /// Folios that could not be moved.
    NotMigrated = "pgmigrate_fail",
    /// Frames that compaction looked at to move them.
    CompactMigrateScanned = "compact_migrate_scanned",
    /// Frames that compaction looked at as places to move to.
    CompactFreeScanned = "compact_free_scanned",
    /// Frames that compaction took out of lines and from their users.
    CompactIsolated = "compact_isolated",
    /// Times a compaction thread had something to do.
    CompactDaemonWake = "compact_daemon_wake",
    /// Of the frames looked at to move them, those by compaction threads.
    CompactDaemonMigrateScanned = "compact_daemon_migrate_scanned",
    /// Of the frames looked at as places to move to, those by compaction threads.
    CompactDaemonFreeScanned = "compact_daemon_free_scanned",
    /// Requests that had memory compacted on their own time.
    CompactStall = "compact_stall",
    /// Those after which there was what they asked for.
    CompactSuccess = "compact_success",
    /// Those after which there was not.
    CompactFail = "compact_fail",
    /// Frames taken back from those whom contiguous areas lent them.
    CmaSuccess = "cma_alloc_success",
    /// Requests to a contiguous area that failed.
    CmaFail = "cma_alloc_fail",
    /// Requests for which an account had not enough.
    ChargeRefused = "charge_refused",
    /// Broken rules.
    Violation = "mm_violations",
}

impl Event {
    #[inline]
    pub(crate) const fn alloc_from(kind: crate::zone::ZoneKind) -> Self {
        match kind {
            crate::zone::ZoneKind::Dma => Self::AllocDma,
            crate::zone::ZoneKind::Dma32 => Self::AllocDma32,
            crate::zone::ZoneKind::Normal => Self::AllocNormal,
            crate::zone::ZoneKind::HighMem => Self::AllocHigh,
            crate::zone::ZoneKind::Movable => Self::AllocMovable,
            crate::zone::ZoneKind::Device => Self::AllocDevice,
        }
    }
}

/// One count for each event.
#[derive(Debug)]
pub(crate) struct Counters([AtomicU64; EVENTS]);

impl Default for Counters {
    fn default() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    /// Counts under a guard that keeps everybody else away: no locked instruction.
    #[inline]
    pub(crate) fn add_alone(&self, event: Event, by: u64) {
        let count = &self.0[event as usize];
        count.store(count.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Counts where others may count too.
    #[inline]
    pub(crate) fn add(&self, event: Event, by: u64) {
        self.0[event as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, event: Event) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }
}
