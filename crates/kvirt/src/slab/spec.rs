//! What a caller decides about a cache, and about one allocation.

use alloc::sync::Arc;

use foliant_phys::{AllocError, Effort, Fill};
use foliant_units::Errno;

use super::grace::Grace;
use super::name::Name;
use super::object::Constructor;

bitflags::bitflags! {
    /// What a cache does to find mistakes of its users. Each costs time and
    /// most cost memory; a cache with any of them has no per-CPU objects, so
    /// what it finds, it finds at once.
    ///
    /// # Linux source concept
    /// `slab_debug=FZPU`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Debug: u8 {
        /// Every free is checked: the right cache, the start of an object, not
        /// free already (`F`).
        const CHECKS = 1 << 0;
        /// Bytes around the object that nobody may change (`Z`).
        const RED_ZONES = 1 << 1;
        /// Free objects are filled with a pattern, which is compared when they
        /// are given out again (`P`). Not for caches with a constructor or of
        /// objects that are read after they were freed.
        const POISON = 1 << 2;
        /// Who allocated and who freed, for the message (`U`).
        const OWNER = 1 << 3;
    }
}

/// When the frames of a cache's objects may be given back.
#[derive(Clone, Default)]
pub enum Typesafe {
    /// As soon as all objects in them are free.
    #[default]
    No,
    /// When, after that, a grace period is over: a reader inside a read-side
    /// section may look at an object that was freed, and finds one of the same
    /// type there, the same or another.
    ///
    /// # Linux source concept
    /// `SLAB_TYPESAFE_BY_RCU`.
    Rcu(Arc<dyn Grace>),
}

impl core::fmt::Debug for Typesafe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Typesafe::No => "No",
            Typesafe::Rcu(_) => "Rcu",
        })
    }
}

/// Whether the objects can be dropped to get memory back. Their frames are
/// then grouped apart from those that stay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Account {
    /// They stay until they are freed.
    #[default]
    Unreclaimable,
    /// A shrinker can free them (`SLAB_RECLAIM_ACCOUNT`).
    Reclaimable,
}

/// How a cache is made.
///
/// # Linux source concept
/// The arguments of `kmem_cache_create()`.
#[derive(Clone, Debug)]
pub struct CacheSpec {
    /// What reports and `/proc/slabinfo` call it.
    pub name: Name,
    /// Bytes of an object.
    pub size: usize,
    /// A power of two; objects are at least aligned for a pointer.
    pub align: usize,
    /// Makes new objects.
    pub constructor: Option<Constructor>,
    /// When frames may be given back.
    pub typesafe: Typesafe,
    /// How its frames are counted and placed.
    pub account: Account,
    /// How mistakes are looked for.
    pub debug: Debug,
}

impl CacheSpec {
    /// A plain cache of objects of `size` bytes.
    pub fn new(name: &str, size: usize) -> Self {
        Self {
            name: Name::new(name),
            size,
            align: align_of::<usize>(),
            constructor: None,
            typesafe: Typesafe::No,
            account: Account::Unreclaimable,
            debug: Debug::empty(),
        }
    }

    /// A plain cache of objects that a `T` fits into.
    pub fn of<T>(name: &str) -> Self {
        Self::new(name, size_of::<T>()).align(align_of::<T>())
    }

    /// The same with objects aligned to `align`.
    pub fn align(self, align: usize) -> Self {
        Self { align, ..self }
    }

    /// The same with a constructor.
    pub fn constructor(self, constructor: Constructor) -> Self {
        Self {
            constructor: Some(constructor),
            ..self
        }
    }

    /// The same with frames that outlive a grace period.
    pub fn typesafe(self, grace: Arc<dyn Grace>) -> Self {
        Self {
            typesafe: Typesafe::Rcu(grace),
            ..self
        }
    }

    /// The same with objects that can be dropped.
    pub fn reclaimable(self) -> Self {
        Self {
            account: Account::Reclaimable,
            ..self
        }
    }

    /// The same, looking for mistakes.
    pub fn debug(self, debug: Debug) -> Self {
        Self { debug, ..self }
    }
}

/// How one object is to be had.
///
/// # Linux source concept
/// `gfp_t` of `kmalloc()`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct How {
    /// How hard to try for a new frame.
    pub effort: Effort,
    /// What the object holds. Objects of a cache with a constructor are what
    /// it made of them, whatever this says.
    pub fill: Fill,
}

impl How {
    /// May sleep and reclaim (`GFP_KERNEL`).
    pub const KERNEL: Self = Self {
        effort: Effort::MayReclaim,
        fill: Fill::Any,
    };
    /// Never waits, and may use part of the reserve (`GFP_ATOMIC`).
    pub const ATOMIC: Self = Self {
        effort: Effort::Atomic,
        fill: Fill::Any,
    };
    /// Never waits (`GFP_NOWAIT`).
    pub const NOWAIT: Self = Self {
        effort: Effort::NoWait,
        fill: Fill::Any,
    };

    /// The same, cleared.
    pub const fn zeroed(self) -> Self {
        Self {
            fill: Fill::Zeroes,
            ..self
        }
    }
}

/// Why there is no object, or no cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SlabError {
    /// No frame for it.
    NoFrame(AllocError),
    /// Larger than the largest folio, or a cache of objects larger than that.
    TooLarge,
    /// Not an alignment that objects can have: a power of two of at most a page.
    BadAlign,
    /// A cache of objects of no size.
    NoSize,
    /// There are as many caches as can be told apart.
    TooManyCaches,
    /// The machine's RAM is not shown at one distance from its physical
    /// addresses, so an object's frame cannot be found from its address.
    DirectMapNotLinear,
}

impl SlabError {
    /// What a system call returns.
    pub const fn errno(self) -> Errno {
        match self {
            SlabError::NoFrame(error) => error.errno(),
            SlabError::TooLarge => Errno::NOMEM,
            SlabError::BadAlign | SlabError::NoSize => Errno::INVAL,
            SlabError::TooManyCaches => Errno::NOSPC,
            SlabError::DirectMapNotLinear => Errno::FAULT,
        }
    }
}

impl From<AllocError> for SlabError {
    fn from(error: AllocError) -> Self {
        SlabError::NoFrame(error)
    }
}

impl From<SlabError> for Errno {
    fn from(error: SlabError) -> Self {
        error.errno()
    }
}

impl core::fmt::Display for SlabError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SlabError::NoFrame(error) => write!(f, "{error}"),
            SlabError::TooLarge => f.write_str("larger than the largest folio"),
            SlabError::BadAlign => f.write_str("an alignment that objects cannot have"),
            SlabError::NoSize => f.write_str("objects of no size"),
            SlabError::TooManyCaches => f.write_str("too many caches"),
            SlabError::DirectMapNotLinear => f.write_str("the direct map is not linear"),
        }
    }
}

impl core::error::Error for SlabError {}
