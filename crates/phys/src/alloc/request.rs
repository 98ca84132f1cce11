//! What a caller asks of the allocator.

use foliant_units::{Errno, Order};

use crate::boot::NodeId;
use crate::record::Owner;
use crate::zone::ZoneKind;

/// Whether a folio can be moved or dropped to make room for a larger one.
/// Blocks of 2 MiB are given to one kind as far as possible.
///
/// # Linux source concept
/// `enum migratetype`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Mobility {
    /// Stays where it is until it is freed.
    #[default]
    Unmovable,
    /// Can be moved: programs' memory, page cache.
    Movable,
    /// Cannot be moved but can be dropped: caches of kernel objects.
    Reclaimable,
}

impl Mobility {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unmovable, Self::Movable, Self::Reclaimable];

    /// The number as an index into per-mobility arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::Unmovable,
            1 => Self::Movable,
            _ => Self::Reclaimable,
        }
    }

    /// Whose blocks to take from, in order, when there is none of this kind.
    pub(crate) const fn fallbacks(self) -> [Self; 2] {
        match self {
            Self::Unmovable => [Self::Reclaimable, Self::Movable],
            Self::Movable => [Self::Reclaimable, Self::Unmovable],
            Self::Reclaimable => [Self::Unmovable, Self::Movable],
        }
    }
}

/// How hard to try.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Effort {
    /// Never wait, and use part of the reserve (`GFP_ATOMIC`).
    Atomic,
    /// Never wait (`GFP_NOWAIT`).
    NoWait,
    /// Reclaim if need be; for a small order also call the out-of-memory
    /// killer (`GFP_KERNEL`).
    #[default]
    MayReclaim,
    /// Reclaim, but fail rather than have a program killed (`__GFP_RETRY_MAYFAIL`).
    RetryMayFail,
    /// Reclaim, and have programs killed, until it works (`__GFP_NOFAIL`). Still
    /// fails where nobody can reclaim, or gives up for good.
    NoFail,
    /// Reclaim once, lightly (`__GFP_NORETRY`).
    NoRetry,
    /// Use all of the reserve: for those who free memory (`PF_MEMALLOC`).
    Reserves,
    /// As [`MayReclaim`](Self::MayReclaim), and use part of the reserve
    /// (`GFP_KERNEL | __GFP_HIGH`).
    Urgent,
    /// For a program that is being killed to free memory: use half of the
    /// reserve, reclaim once, and have nobody else killed (`ALLOC_OOM`).
    Victim,
}

impl Effort {
    /// Whether the caller may sleep.
    pub const fn may_sleep(self) -> bool {
        matches!(
            self,
            Self::MayReclaim
                | Self::RetryMayFail
                | Self::NoFail
                | Self::NoRetry
                | Self::Urgent
                | Self::Victim
        )
    }
}

/// What the frames hold when the caller gets them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Fill {
    /// Anything.
    #[default]
    Any,
    /// Zeroes.
    Zeroes,
}

/// Whether a failure is worth a line in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnFailure {
    /// It is counted among the failures to report.
    #[default]
    Warn,
    /// The caller has a plan for it (`__GFP_NOWARN`).
    Silent,
}

/// Who pays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Account {
    /// The machine.
    #[default]
    Nobody,
    /// Whoever the [`Accountant`](crate::Accountant) names (`__GFP_ACCOUNT`).
    Charged,
}

/// On which node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum NodeChoice {
    /// The calling CPU's first, then by distance.
    #[default]
    Local,
    /// This one first, then by distance.
    Prefer(NodeId),
    /// Nowhere else.
    Only(NodeId),
}

/// A request for one folio.
///
/// # Linux source concept
/// `gfp_t` and `order` of `__alloc_frozen_pages()`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AllocRequest {
    /// How many frames, as a power of two.
    pub order: Order,
    /// The highest zone that will do; lower ones are used when it is full.
    pub zone: ZoneKind,
    /// Whether the folio can be moved.
    pub mobility: Mobility,
    /// How hard to try.
    pub effort: Effort,
    /// What it holds.
    pub fill: Fill,
    /// What it is for.
    pub owner: Owner,
    /// On which node.
    pub node: NodeChoice,
    /// Whether to tell when it fails.
    pub on_failure: OnFailure,
    /// Who pays.
    pub account: Account,
}

impl AllocRequest {
    /// A frame of the kernel's own: unmovable, directly mapped (`GFP_KERNEL`).
    pub const fn kernel(owner: Owner) -> Self {
        Self {
            order: Order::ZERO,
            zone: ZoneKind::Normal,
            mobility: Mobility::Unmovable,
            effort: Effort::MayReclaim,
            fill: Fill::Any,
            owner,
            node: NodeChoice::Local,
            on_failure: OnFailure::Warn,
            account: Account::Nobody,
        }
    }

    /// A frame for a program or a file (`GFP_HIGHUSER_MOVABLE`).
    pub const fn movable(owner: Owner) -> Self {
        Self {
            zone: ZoneKind::Movable,
            mobility: Mobility::Movable,
            ..Self::kernel(owner)
        }
    }

    /// The same with `order`.
    pub const fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same, zeroed.
    pub const fn zeroed(self) -> Self {
        Self {
            fill: Fill::Zeroes,
            ..self
        }
    }

    /// The same with `effort`.
    pub const fn effort(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }

    /// The same from `zone` or below.
    pub const fn zone(self, zone: ZoneKind) -> Self {
        Self { zone, ..self }
    }

    /// The same on `node`.
    pub const fn node(self, node: NodeChoice) -> Self {
        Self { node, ..self }
    }

    /// The same, charged to the caller's account.
    pub const fn accounted(self) -> Self {
        Self {
            account: Account::Charged,
            ..self
        }
    }

    /// The same without a word when it fails.
    pub const fn silent(self) -> Self {
        Self {
            on_failure: OnFailure::Silent,
            ..self
        }
    }
}

/// What a request is for. With [`How`] the request in two words, which travel in
/// registers: the short way of allocating then does not build in memory what
/// only the long one needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct What {
    pub(crate) order: Order,
    zone: ZoneKind,
    mobility: Mobility,
    pub(crate) fill: Fill,
    pub(crate) owner: Owner,
}

/// How a request is to be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct How {
    effort: Effort,
    node: NodeChoice,
    on_failure: OnFailure,
    account: Account,
}

const _: () = assert!(size_of::<What>() <= size_of::<u64>() && size_of::<How>() <= size_of::<u64>());

impl AllocRequest {
    /// The request as two words.
    #[inline(always)]
    pub(crate) const fn parts(self) -> (What, How) {
        let Self {
            order,
            zone,
            mobility,
            effort,
            fill,
            owner,
            node,
            on_failure,
            account,
        } = self;
        let what = What {
            order,
            zone,
            mobility,
            fill,
            owner,
        };
        let how = How {
            effort,
            node,
            on_failure,
            account,
        };
        (what, how)
    }

    /// The request of which these are the parts.
    pub(crate) const fn of_parts(what: What, how: How) -> Self {
        Self {
            order: what.order,
            zone: what.zone,
            mobility: what.mobility,
            effort: how.effort,
            fill: what.fill,
            owner: what.owner,
            node: how.node,
            on_failure: how.on_failure,
            account: how.account,
        }
    }
}

/// Why there is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AllocError {
    /// Memory is full, or too fragmented, or kept for those in greater need.
    OutOfMemory,
    /// A test asked for this allocation to fail.
    Injected,
    /// The account that is to be charged is exhausted.
    OverCharged,
}

impl AllocError {
    /// What a system call returns.
    pub const fn errno(self) -> Errno {
        match self {
            AllocError::OutOfMemory | AllocError::Injected | AllocError::OverCharged => Errno::NOMEM,
        }
    }
}

impl From<AllocError> for Errno {
    fn from(error: AllocError) -> Self {
        error.errno()
    }
}

impl core::fmt::Display for AllocError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            AllocError::OutOfMemory => "out of memory",
            AllocError::Injected => "out of memory (injected)",
            AllocError::OverCharged => "the account for kernel memory is exhausted",
        })
    }
}

impl core::error::Error for AllocError {}
