//! A cache of objects of one size: its parts, and its two short paths.

use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;

use alloc::sync::Arc;

use foliant_phys::boot::OnViolation;
use foliant_phys::{Fill, Phys};
use foliant_platform::Platform;

use super::batch::BATCH;
use super::cpu::CpuGuard;
use super::limbo::Limbo;
use super::name::Name;
use super::object::{Constructor, DirectMap, Object, zero};
use super::page::Tag;
use super::report::Report;
use super::shape::Shape;
use super::shard::Ground;
use super::spec::{Account, CacheSpec, How, SlabError, Typesafe};
use super::tables::Part;
use super::violations::Violations;

/// A cache of objects of one size and kind.
///
/// Made by [`Slab::create`](super::Slab::create). Dropping it gives all frames
/// back; objects that are still in use then are reported, and their frames stay
/// lost for good, because someone may go on using them.
///
/// # Locking
/// Every method may be called with spin locks held and from interrupt handlers,
/// except allocation with an effort that may sleep.
///
/// # Linux source concept
/// `struct kmem_cache`.
#[repr(C)]
pub struct Cache<P: Platform> {
    // What the short paths need comes first.
    pub(crate) part: Part<P>,
    pub(crate) platform: P,
    pub(crate) phys: Arc<Phys<P>>,
    pub(crate) shape: Shape,
    pub(crate) tag: Tag,
    pub(crate) limits: Limits,
    pub(crate) map: DirectMap,
    pub(crate) name: Name,
    pub(crate) constructor: Option<Constructor>,
    pub(crate) typesafe: Typesafe,
    pub(crate) account: Account,
    pub(crate) limbo: Limbo,
    pub(crate) violations: Violations,
}

/// How many objects are kept out of their slabs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// By each CPU; none for a cache that looks for mistakes.
    pub(crate) at_hand: u32,
    /// Moved at once.
    pub(crate) batch: usize,
    /// In the depot.
    pub(crate) depot: usize,
}

impl Limits {
    /// Fewer of those that are larger.
    ///
    /// # Linux source concept
    /// `set_cpu_partial()`.
    pub(crate) const fn of(shape: &Shape) -> Self {
        let batch = match shape.stride {
            0..=256 => BATCH,
            257..=1024 => BATCH / 2,
            1025..=2048 => BATCH / 4,
            _ => BATCH / 8,
        };
        if !shape.debug.is_empty() {
            return Self {
                at_hand: 0,
                batch: 1,
                depot: 0,
            };
        }
        Self {
            at_hand: 2 * batch as u32,
            batch,
            depot: 4 * batch,
        }
    }
}

/// What a cache is made of, beside its specification.
pub(crate) struct Parts<P: Platform> {
    pub(crate) phys: Arc<Phys<P>>,
    pub(crate) part: Part<P>,
    pub(crate) tag: Tag,
    pub(crate) map: DirectMap,
    pub(crate) then: OnViolation,
}

impl<P: Platform> Cache<P> {
    pub(crate) fn new(spec: CacheSpec, parts: Parts<P>) -> Result<Self, SlabError> {
        let platform = parts.phys.platform().clone();
        let shape = Shape::new(&spec, platform.cpus())?;
        let limits = Limits::of(&shape);
        for cpu in 0..parts.part.cpus() {
            parts.part.area(cpu).allow(limits.at_hand);
        }
        Ok(Self {
            platform,
            limits,
            shape,
            phys: parts.phys,
            part: parts.part,
            tag: parts.tag,
            map: parts.map,
            name: spec.name,
            constructor: spec.constructor,
            typesafe: spec.typesafe,
            account: spec.account,
            limbo: Limbo::default(),
            violations: Violations::new(parts.then),
        })
    }

    /// The cache's name.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Bytes of an object that its user may use.
    pub fn object_size(&self) -> usize {
        self.shape.size
    }

    /// How many rules its users broke.
    pub fn violations(&self) -> u64 {
        self.violations.count()
    }

    /// The last broken rule, if any.
    pub fn last_violation(&self) -> Option<Report> {
        self.violations.last()
    }

    /// One object, of undefined content unless `how` or the cache's
    /// constructor says otherwise.
    ///
    /// # Errors
    /// [`SlabError::NoFrame`].
    ///
    /// # Linux source concept
    /// `kmem_cache_alloc()`.
    #[inline]
    #[track_caller]
    pub fn alloc(&self, how: How) -> Result<NonNull<u8>, SlabError> {
        let object = match self.take_at_hand() {
            Some(object) => object,
            None => self.alloc_slowly(how, Location::caller())?,
        };
        if how.fill == Fill::Zeroes {
            self.clear(object);
        }
        Ok(object.0)
    }

    /// Gives an object back.
    ///
    /// # Safety
    /// `object` is from this cache, and nobody uses it from now on, readers of
    /// a [typesafe](Typesafe::Rcu) cache excepted.
    ///
    /// # Linux source concept
    /// `kmem_cache_free()`.
    #[inline]
    #[track_caller]
    #[allow(unsafe_code)]
    pub unsafe fn free(&self, object: NonNull<u8>) {
        self.put(Object(object), Location::caller());
    }

    /// Gives several objects back.
    ///
    /// # Safety
    /// As [`free`](Self::free), for each.
    ///
    /// # Linux source concept
    /// `kmem_cache_free_bulk()`.
    #[track_caller]
    #[allow(unsafe_code)]
    pub unsafe fn free_bulk(&self, objects: &[NonNull<u8>]) {
        let caller = Location::caller();
        for &object in objects {
            self.put(Object(object), caller);
        }
    }

    #[inline]
    pub(crate) fn put(&self, object: Object, caller: &'static Location<'static>) {
        if !self.put_at_hand(object) {
            self.free_slowly(object, caller);
        }
    }

    #[inline]
    pub(crate) fn take_at_hand(&self) -> Option<Object> {
        self.platform.preempt_off();
        let area = self.part.area(self.platform.cpu().index());
        let object = area.quick_pop::<P>();
        self.platform.preempt_on();
        object
    }

    #[inline]
    fn put_at_hand(&self, object: Object) -> bool {
        self.platform.preempt_off();
        let area = self.part.area(self.platform.cpu().index());
        let done = area.quick_push::<P>(object);
        self.platform.preempt_on();
        done
    }

    /// Enters what is the calling CPU's.
    #[inline]
    pub(crate) fn enter(&self) -> Option<CpuGuard<'_, P>> {
        CpuGuard::enter(&self.platform, |cpu| self.part.area(cpu))
    }

    /// What the lists of slabs need to know.
    #[inline]
    pub(crate) fn ground(&self) -> Ground<'_, Phys<P>> {
        Ground {
            frames: &self.phys,
            shape: &self.shape,
        }
    }

    /// Runs `work` with interrupts masked: around every spin lock here, so that
    /// a handler never waits for the code that it interrupted.
    #[inline]
    pub(crate) fn masked<R>(&self, work: impl FnOnce() -> R) -> R {
        let saved = self.platform.irq_save();
        let result = work();
        self.platform.irq_restore(saved);
        result
    }

    #[inline]
    #[allow(unsafe_code)]
    fn clear(&self, object: Object) {
        if self.constructor.is_none() {
            // SAFETY: the object was just taken for the caller, who does not
            // have it yet.
            unsafe { zero(object, self.shape.size) }
        }
    }
}

impl<P: Platform> fmt::Debug for Cache<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
