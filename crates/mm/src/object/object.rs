//! The object itself: identity, size, frames, and who maps it.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;

use foliant_phys::{AllocRequest, Content, Frame, FrameFlags, Owner, Phys};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_platform::sync::{Mutex, SpinLock};
use foliant_units::{PAGE_SIZE, Pfn};

use super::backing::{FileBacking, Latency};
use super::cache::{Cache, Pages};
use super::layout::{Layout, LayoutGate};
use super::shmem::Shmem;
use crate::counters::Resident;
use crate::env::Env;
use crate::pages::Removal;
use crate::space::Space;

/// The number of an object; records of its frames hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId(u64);

impl ObjectId {
    pub(crate) const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number, never zero.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// What lies below the frames.
pub(super) enum Kind {
    File(Arc<dyn FileBacking>),
    Shmem(Shmem),
    /// Frames that the kernel itself provides, all there from the start.
    Special,
}

/// A file in memory, or memory that is a file: what mappings, reads and
/// writes have in common.
///
/// # Locking
/// `writes` (one writer or resizer at a time) is taken first, then a mapping
/// space's writer lock, then leaf tables, then the cache's lock, which is held
/// for a few instructions. Reads and faults take only the last two. Instead of
/// locking a page while it is mapped, a fault compares [`Layout`] under the
/// lock of the leaf table: whoever takes pages away changes it first and
/// visits the tables after.
///
/// # Linux source concept
/// `struct address_space` with its inode's size.
pub struct Object<P: Mmu> {
    pub(super) env: Arc<Env<P>>,
    pub(super) kind: Kind,
    pub(super) cache: Cache,
    pub(super) size: AtomicU64,
    pub(super) writes: Mutex<()>,
    id: ObjectId,
    layout: LayoutGate,
    mappers: SpinLock<Mappers<P>>,
}

/// Spaces that map the object, or did: keyed by address, which a weak
/// reference keeps from being used again.
struct Mappers<P: Mmu> {
    spaces: BTreeMap<usize, Weak<Space<P>>>,
    prune_at: usize,
}

impl<P: Mmu> Object<P> {
    /// The object of a file.
    pub fn file(env: &Arc<Env<P>>, backing: Arc<dyn FileBacking>) -> Arc<Self> {
        let size = backing.size();
        let file = Self::new(env, Kind::File(backing), size);
        env.idle().add(&file);
        file
    }

    /// Shared memory of `size` bytes, all zeroes: `memfd_create`, SysV
    /// segments, shared anonymous mappings.
    pub fn shmem(env: &Arc<Env<P>>, size: u64) -> Arc<Self> {
        Self::new(env, Kind::Shmem(Shmem::default()), size)
    }

    /// `pages` pages that the kernel provides to programs (Linux's special
    /// mappings). They are to be filled by [`write`](Self::write) before anybody
    /// maps them, and stay for as long as the object does.
    pub fn special(env: &Arc<Env<P>>, pages: u64) -> Arc<Self> {
        Self::new(env, Kind::Special, pages * PAGE_SIZE as u64)
    }

    fn new(env: &Arc<Env<P>>, kind: Kind, size: u64) -> Arc<Self> {
        let object = Arc::new(Self {
            env: env.clone(),
            kind,
            cache: Cache::default(),
            size: AtomicU64::new(size),
            writes: Mutex::new(()),
            id: env.next_object(),
            layout: LayoutGate::default(),
            mappers: SpinLock::new(Mappers {
                spaces: BTreeMap::new(),
                prune_at: 16,
            }),
        });
        env.registry().objects().add(object.id.raw(), &object);
        object
    }

    /// Its number.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The size in pages, the last one counted whole.
    pub fn pages(&self) -> u64 {
        self.size().div_ceil(PAGE_SIZE as u64)
    }

    /// Frames in memory.
    pub fn cached(&self) -> u64 {
        self.cache.frames()
    }

    /// Whether the frame of `page` is in memory: what `mincore` says of a page
    /// that is not mapped.
    pub fn is_cached(&self, page: u64) -> bool {
        self.cache.get(page, |_| ()).is_some()
    }

    /// Whether pages of the file below can be had without waiting for a device.
    pub(crate) fn is_at_hand(&self) -> bool {
        match &self.kind {
            Kind::File(file) => file.latency() == Latency::Memory,
            Kind::Shmem(_) | Kind::Special => false,
        }
    }

    /// Whether this is shared memory and not a file.
    pub const fn is_shmem(&self) -> bool {
        matches!(self.kind, Kind::Shmem(_))
    }

    /// How its frames count in a space.
    pub const fn resident(&self) -> Resident {
        match self.kind {
            Kind::File(_) | Kind::Special => Resident::File,
            Kind::Shmem(_) => Resident::Shmem,
        }
    }

    /// Whether the first store to a page must be noticed, so that it can be
    /// written back: a shared mapping then starts out write-protected.
    ///
    /// # Linux source concept
    /// `vma_wants_writenotify()`.
    pub const fn notices_writes(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// How its frames are asked for.
    pub(super) const fn request(&self) -> AllocRequest {
        match self.kind {
            Kind::File(_) => AllocRequest::movable(Owner::PageCache),
            Kind::Shmem(_) => AllocRequest::movable(Owner::Shmem),
            Kind::Special => AllocRequest::kernel(Owner::PageCache),
        }
    }

    pub(super) fn phys(&self) -> &Phys<P> {
        self.env.phys()
    }

    /// A reference to the frame of `page`, if it is in memory.
    pub(crate) fn lookup(&self, page: u64) -> Option<Frame<'_, P>> {
        self.cache.get(page, |pfn| self.phys().get(pfn))
    }

    /// Calls `work` with the bytes of `page`, if it is in memory: for what the
    /// kernel changes while programs map it.
    pub fn with_special(&self, page: u64, work: impl FnOnce(Content<'_>)) {
        if let Some(frame) = self.lookup(page) {
            work(self.phys().content(frame.pfn()));
        }
    }

    /// Whether its frames may be put elsewhere. Those of special mappings are
    /// in entries that count nothing.
    pub(crate) const fn is_movable(&self) -> bool {
        !matches!(self.kind, Kind::Special)
    }

    /// Takes a reference to `pfn`, for the caller to put, if it is the frame of
    /// `page`; whether it is.
    pub(crate) fn hold(&self, page: u64, pfn: Pfn) -> bool {
        let held = self.cache.get(page, |cached| {
            let same = cached == pfn;
            if same {
                let _ = self.phys().get(pfn).into_pfn();
            }
            same
        });
        held == Some(true)
    }

    /// Puts `new` in the place of `old`, the frame of `page`, if it still is
    /// that and `agreed`, asked under the cache's lock, says so; whether it did.
    /// The cache takes a reference of its own.
    pub(crate) fn replace(&self, page: u64, old: Pfn, new: Pfn, agreed: impl FnOnce() -> bool) -> bool {
        let replaced = self.cache.replace(page, old, new, || {
            let agreed = agreed();
            if agreed {
                let _ = self.phys().get(new).into_pfn();
            }
            agreed
        });
        if replaced {
            self.phys().record(old).mapping.store(0, Ordering::Relaxed);
            drop(self.phys().adopt(old));
        }
        replaced
    }

    /// References to the frames of `pages` that are in memory.
    pub(crate) fn lookup_each<'a>(&'a self, pages: Pages, mut see: impl FnMut(u64, Frame<'a, P>)) {
        self.cache
            .each(pages, |page, pfn| see(page, self.phys().get(pfn)));
    }

    /// Notes that `pfn` was or will be written as the frame of `page`. Says
    /// whether it still is; if not, its bytes are lost to the object.
    pub(crate) fn dirty(&self, page: u64, pfn: Pfn) -> bool {
        self.phys().record(pfn).set(FrameFlags::DIRTY);
        self.cache.set_dirty(page, pfn)
    }

    /// The layout to compare with when something is mapped.
    pub(crate) fn layout(&self) -> Layout {
        self.layout.now()
    }

    /// Whether nothing was taken away since `then`. Asked under the lock of
    /// the leaf table that the page goes in.
    pub(crate) fn is_still(&self, then: Layout) -> bool {
        self.layout.is_still(then)
    }

    /// Takes `pages` out of every mapping, after the cache has let go of them:
    /// what was looked up before cannot be mapped any more.
    pub(super) fn unmap(&self, pages: &Pages, how: Removal) {
        self.layout.begin();
        for space in self.mappers() {
            space.unmap_object(self, pages, how);
        }
        self.layout.end();
    }

    /// Notes that `space` maps the object from now on. To be called before the
    /// VMA is published; calling it again changes nothing.
    pub fn attach(&self, space: &Arc<Space<P>>) {
        let key = Arc::as_ptr(space).addr();
        let mut mappers = self.mappers.lock();
        mappers.spaces.entry(key).or_insert_with(|| Arc::downgrade(space));
        if mappers.spaces.len() > mappers.prune_at {
            mappers.spaces.retain(|_, space| space.strong_count() > 0);
            mappers.prune_at = mappers.spaces.len() * 2 + 16;
        }
    }

    /// Forgets a space that is being dropped.
    pub(crate) fn detach(&self, space: &Space<P>) {
        let gone = self
            .mappers
            .lock()
            .spaces
            .remove(&core::ptr::from_ref(space).addr());
        // It frees the memory of the space's last weak reference, outside of the lock.
        drop(gone);
    }

    /// The spaces that may map the object.
    pub(crate) fn mappers(&self) -> Vec<Arc<Space<P>>> {
        // Upgraded under the lock, dropped outside: a last reference ends a space.
        self.mappers
            .lock()
            .spaces
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Whether a shared mapping exists through which programs may write.
    pub fn has_writable_mapping(&self) -> bool {
        self.mappers().iter().any(|space| space.maps_writable(self))
    }
}

impl<P: Mmu> Drop for Object<P> {
    fn drop(&mut self) {
        // Nobody maps it any more, so what is dirty stays as it is; an error
        // has nobody left to be told, as after close(2) without fsync(2).
        let _ = self.write_back(0..u64::MAX);
        self.discard(0..u64::MAX, false);
        self.env.registry().objects().remove(self.id.raw());
    }
}

impl<P: Mmu> fmt::Debug for Object<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File(_) => "file",
            Kind::Shmem(_) => "shmem",
            Kind::Special => "special",
        };
        write!(
            f,
            "{kind} {} of {} bytes, {} frames",
            self.id.0,
            self.size(),
            self.cached()
        )
    }
}
