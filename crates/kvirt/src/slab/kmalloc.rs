//! Memory of any size, and the caches of a machine.

#[cfg(not(loom))]
use core::alloc::Layout;
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_phys::boot::OnViolation;
use foliant_phys::{AllocRequest, FrameFlags, Owner, Phys};
use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::{Order, PAGE_SIZE, Pfn};

use super::cache::{Cache, Parts};
use super::object::{DirectMap, Object};
use super::page::Tag;
use super::places::Places;
use super::size_class::{SIZES, aligned_class_of, class_of, name_of};
use super::spec::{CacheSpec, Debug, How, SlabError};
use super::tables::{Part, Tables};

/// Caches that a machine can have beside the general ones.
const MOST_CACHES: usize = 512;

/// Where memory of no size is: nowhere, but not at zero.
///
/// # Linux source concept
/// `ZERO_SIZE_PTR`.
const NO_BYTES: usize = 16;

/// In the record of the first frame of memory that is no slab's.
///
/// # Linux source concept
/// `PGTY_large_kmalloc`.
pub(crate) const LARGE: FrameFlags = FrameFlags::OWNER_1;

/// What can be decided about a machine's general caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlabOptions {
    /// How mistakes are looked for in all caches, beside what they ask for.
    pub debug: Debug,
    /// What happens when one is found, in any cache.
    pub on_violation: OnViolation,
}

/// The slab allocator of a machine: general caches for memory of any size, and
/// those that others make.
///
/// # Linux source concept
/// `kmalloc()`, `slab_caches`.
pub struct Slab<P: Platform> {
    pub(crate) phys: Arc<Phys<P>>,
    map: DirectMap,
    classes: [Cache<P>; SIZES.len()],
    /// Caches by number, those of the classes left out.
    made: Places<Cache<P>>,
    options: SlabOptions,
    /// Frames of memory that is no slab's.
    large: AtomicU64,
}

/// What lies at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// An object of this cache.
    Object(Tag),
    /// Frames of their own.
    Large(Pfn),
    /// Nothing that can be freed.
    Nothing,
}

impl<P: Platform> Slab<P> {
    /// The general caches, empty but for what each CPU needs.
    ///
    /// # Errors
    /// [`SlabError::NoFrame`].
    pub fn new(phys: Arc<Phys<P>>, options: SlabOptions) -> Result<Self, SlabError> {
        let tables = Tables::new(&phys, SIZES.len())?;
        let map = DirectMap::seen_at(phys.platform(), tables.first());
        let mut failed = None;
        let classes: Vec<Cache<P>> = (0..SIZES.len())
            .map_while(|class| {
                let align = if SIZES[class].is_power_of_two() {
                    SIZES[class].min(PAGE_SIZE)
                } else {
                    8
                };
                let spec = CacheSpec {
                    name: name_of(class),
                    ..CacheSpec::new("", SIZES[class]).align(align).debug(options.debug)
                };
                let parts = Parts {
                    phys: phys.clone(),
                    part: Part::new(tables.clone(), class),
                    tag: Tag::new(class),
                    map,
                    then: options.on_violation,
                };
                Cache::new(spec, parts).map_err(|error| failed = Some(error)).ok()
            })
            .collect();
        let classes = classes
            .try_into()
            .map_err(|_| failed.unwrap_or(SlabError::TooLarge))?;
        Ok(Self {
            phys,
            map,
            classes,
            made: Places::new(MOST_CACHES),
            options,
            large: AtomicU64::new(0),
        })
    }

    /// The memory that everything is in.
    pub fn phys(&self) -> &Arc<Phys<P>> {
        &self.phys
    }

    /// Makes a cache.
    ///
    /// # Errors
    /// What is wrong with the specification; no frame; too many caches.
    ///
    /// # Linux source concept
    /// `kmem_cache_create()`.
    pub fn create(&self, spec: CacheSpec) -> Result<Arc<Cache<P>>, SlabError> {
        let tables = Tables::new(&self.phys, 1)?;
        let debug = spec.debug | self.options.debug;
        let claimed = self.with_made(Places::claim);
        let (place, gone) = claimed.ok_or(SlabError::TooManyCaches)?;
        // Outside of the lock: the heap may be this allocator.
        drop(gone);
        let parts = Parts {
            phys: self.phys.clone(),
            part: Part::new(tables, 0),
            tag: Tag::new(SIZES.len() + place),
            map: self.map,
            then: self.options.on_violation,
        };
        match Cache::new(spec.debug(debug), parts) {
            Ok(cache) => {
                let cache = Arc::new(cache);
                self.with_made(|made| made.fill(place, &cache));
                Ok(cache)
            }
            Err(error) => {
                self.with_made(|made| made.give_up(place));
                Err(error)
            }
        }
    }

    fn with_made<R>(&self, work: impl FnOnce(&Places<Cache<P>>) -> R) -> R {
        let saved = self.phys.platform().irq_save();
        let result = work(&self.made);
        self.phys.platform().irq_restore(saved);
        result
    }

    /// `size` bytes, aligned to their size if that is a power of two, else at
    /// least to eight; those that are a multiple of a power of two, to that.
    ///
    /// # Errors
    /// [`SlabError::NoFrame`], [`SlabError::TooLarge`].
    ///
    /// # Linux source concept
    /// `kmalloc()`.
    #[inline]
    #[track_caller]
    pub fn kmalloc(&self, size: usize, how: How) -> Result<NonNull<u8>, SlabError> {
        match class_of(size) {
            Some(_) if size == 0 => Ok(no_bytes()),
            Some(class) => self.classes[class].alloc(how),
            None => self.alloc_large(size, how),
        }
    }

    /// `size` bytes aligned to `align`, a power of two.
    ///
    /// # Errors
    /// As [`kmalloc`](Self::kmalloc).
    #[inline]
    #[track_caller]
    pub fn kmalloc_aligned(&self, size: usize, align: usize, how: How) -> Result<NonNull<u8>, SlabError> {
        match aligned_class_of(size, align) {
            Some(class) => self.classes[class].alloc(how),
            None => self.alloc_large(size.max(align), how),
        }
    }

    /// What [`kmalloc_aligned`](Self::kmalloc_aligned) gives, if the CPU has
    /// it at hand.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn at_hand(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let cache = self.classes.get(aligned_class_of(size, align)?)?;
        cache.take_at_hand().map(|object| object.0)
    }

    /// Gives back what `kmalloc` or a cache of this machine gave.
    ///
    /// # Safety
    /// `at` is from here, and nobody uses it from now on.
    ///
    /// # Linux source concept
    /// `kfree()`.
    #[inline]
    #[track_caller]
    #[allow(unsafe_code)]
    pub unsafe fn kfree(&self, at: NonNull<u8>) {
        if at.as_ptr().addr() == NO_BYTES {
            return;
        }
        let record = self.phys.peek_record(self.map.frame_of(at));
        if let Some(tag) = record.and_then(Tag::of)
            && let Some(cache) = self.classes.get(tag.cache())
        {
            return cache.put(Object(at), Location::caller());
        }
        self.free_other(at, Location::caller());
    }

    /// Gives back what [`kmalloc_aligned`](Self::kmalloc_aligned) gave for the
    /// same size and alignment, without looking for its frame.
    ///
    /// # Safety
    /// As [`kfree`](Self::kfree).
    #[inline]
    #[track_caller]
    #[allow(unsafe_code)]
    pub unsafe fn kfree_sized(&self, at: NonNull<u8>, size: usize, align: usize) {
        match aligned_class_of(size, align) {
            Some(class) => self.classes[class].put(Object(at), Location::caller()),
            None => self.free_other(at, Location::caller()),
        }
    }

    /// Memory of another size with the same content, as far as both reach. The
    /// old memory is given back if there is new; nothing happens on an error.
    ///
    /// # Safety
    /// As [`kfree`](Self::kfree), if this succeeds.
    ///
    /// # Errors
    /// As [`kmalloc`](Self::kmalloc).
    ///
    /// # Linux source concept
    /// `krealloc()`.
    #[track_caller]
    #[allow(unsafe_code)]
    pub unsafe fn krealloc(&self, at: NonNull<u8>, size: usize, how: How) -> Result<NonNull<u8>, SlabError> {
        let has = self.ksize(at);
        if size != 0 && size <= has {
            return Ok(at);
        }
        let new = self.kmalloc(size, how)?;
        let both = has.min(size);
        if both != 0 {
            // SAFETY: the caller owns the old memory, of which `ksize` bytes may
            // be used, and nobody has the new one yet.
            unsafe { super::object::copy(Object(at), Object(new), both) }
        }
        // SAFETY: the caller's promise.
        unsafe { self.kfree(at) }
        Ok(new)
    }

    /// How many bytes at `at` may be used; zero if nothing was allocated there.
    ///
    /// # Linux source concept
    /// `ksize()`.
    pub fn ksize(&self, at: NonNull<u8>) -> usize {
        match self.find(at) {
            Found::Object(tag) => match self.classes.get(tag.cache()) {
                Some(cache) => cache.shape.size,
                None => self.made(tag).map_or(0, |cache| cache.shape.size),
            },
            Found::Large(pfn) => self.phys.record(pfn).order().bytes(),
            Found::Nothing => 0,
        }
    }

    /// Whether memory that was had for `layout` is also what would be had for
    /// `size` bytes, so that it may be given back as that.
    #[cfg(not(loom))]
    pub(crate) fn fits(&self, at: NonNull<u8>, layout: Layout, size: usize) -> bool {
        let before = aligned_class_of(layout.size(), layout.align());
        let after = aligned_class_of(size, layout.align());
        match (before, after) {
            (Some(before), Some(after)) => before == after,
            (None, None) => {
                let has = self.ksize(at);
                size <= has && size > has / 2
            }
            _ => false,
        }
    }

    fn find(&self, at: NonNull<u8>) -> Found {
        if at.as_ptr().addr() == NO_BYTES {
            return Found::Nothing;
        }
        let pfn = self.map.frame_of(at);
        let Some(record) = self.phys.find_record(pfn) else {
            return Found::Nothing;
        };
        match Tag::of(record) {
            Some(tag) => Found::Object(tag),
            None if record.has(LARGE) && record.owner() == Owner::Slab && record.refs.get() != 0 => {
                Found::Large(pfn)
            }
            None => Found::Nothing,
        }
    }

    /// The living cache of a tag.
    fn made(&self, tag: Tag) -> Option<Arc<Cache<P>>> {
        let place = tag.cache().checked_sub(SIZES.len())?;
        self.with_made(|made| made.get(place))
    }

    /// Frees what is not of a general cache.
    #[cold]
    #[inline(never)]
    fn free_other(&self, at: NonNull<u8>, caller: &'static Location<'static>) {
        match self.find(at) {
            Found::Object(tag) => match self.made(tag) {
                Some(cache) => cache.put(Object(at), caller),
                None => self.not_ours(at),
            },
            Found::Large(pfn) if at.as_ptr().addr().is_multiple_of(PAGE_SIZE) => self.free_large(pfn),
            Found::Large(_) | Found::Nothing => self.not_ours(at),
        }
    }

    #[cold]
    fn not_ours(&self, at: NonNull<u8>) {
        // Reported by the largest class, as no cache is meant.
        self.classes[SIZES.len() - 1].complain(Object(at), super::report::Problem::NotAnObject);
    }

    /// Whole frames.
    #[cold]
    #[inline(never)]
    fn alloc_large(&self, size: usize, how: How) -> Result<NonNull<u8>, SlabError> {
        let order = Order::covering(size.div_ceil(PAGE_SIZE) as u64).ok_or(SlabError::TooLarge)?;
        let request = AllocRequest {
            effort: how.effort,
            fill: how.fill,
            ..AllocRequest::kernel(Owner::Slab)
        };
        let frame = self.phys.alloc(request.order(order))?;
        let pfn = frame.pfn();
        if DirectMap::seen_at(self.phys.platform(), pfn) != self.map {
            return Err(SlabError::DirectMapNotLinear);
        }
        frame.record().set(LARGE);
        self.large.fetch_add(order.frames(), Ordering::Relaxed);
        Ok(self.phys.platform().ram(frame.into_pfn().base()))
    }

    #[cold]
    fn free_large(&self, pfn: Pfn) {
        let record = self.phys.record(pfn);
        // Whoever clears the flag frees the memory: a second free finds none.
        if !record.clear(LARGE).contains(LARGE) {
            return self.not_ours(self.phys.platform().ram(pfn.base()));
        }
        self.large.fetch_sub(record.order().frames(), Ordering::Relaxed);
        drop(self.phys.adopt(pfn));
    }

    /// Frames of memory larger than the largest class.
    pub fn large_frames(&self) -> u64 {
        self.large.load(Ordering::Relaxed)
    }

    /// Gives back all frames that hold no object in use, of all caches; returns
    /// how many. See [`Cache::shrink`].
    pub fn shrink(&self) -> u64 {
        let mut frames = 0;
        self.each_cache(|cache| frames += cache.shrink());
        frames
    }

    /// Puts this CPU's objects back into their slabs, in all caches.
    pub fn drain_here(&self) {
        self.each_cache(|cache| cache.drain_here());
    }

    /// Calls `visit` for every cache: the general ones by size, then the others
    /// in the order in which they were made. No lock is held meanwhile.
    pub fn each_cache(&self, mut visit: impl FnMut(&Cache<P>)) {
        self.classes.iter().for_each(&mut visit);
        for place in 0..MOST_CACHES {
            if let Some(cache) = self.with_made(|made| made.get(place)) {
                visit(&cache);
            }
        }
    }
}

fn no_bytes() -> NonNull<u8> {
    NonNull::without_provenance(match core::num::NonZero::new(NO_BYTES) {
        Some(address) => address,
        None => core::num::NonZero::<usize>::MIN,
    })
}

impl<P: Platform> fmt::Debug for Slab<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
