//! What all spaces of a machine share.

use alloc::sync::Arc;

use foliant_phys::{AllocError, AllocRequest, FrameFlags, Owner, Phys};
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::{AtomicU64, Ordering};
use foliant_units::Pfn;

use crate::object::{IdleCache, ObjectId};
use crate::rmap::{Background, Mover, Registry};
use crate::thp::Thp;

/// The memory manager of one machine: its frames and what belongs to no space
/// alone. Spaces and objects hold it together.
pub struct Env<P: Mmu> {
    phys: Arc<Phys<P>>,
    zero: Pfn,
    frames: u64,
    idle: Arc<IdleCache<P>>,
    registry: Arc<Registry<P>>,
    mover: Arc<Mover<P>>,
    objects: AtomicU64,
    thp: Thp,
}

impl<P: Mmu> Env<P> {
    /// A memory manager over `phys`. It gives idle frames of files back when
    /// memory is full; hand another reclaimer to `phys` to change that. It moves
    /// frames of programs and files when `phys` wants room in one piece.
    ///
    /// # Errors
    /// If there is no frame for the page of zeroes.
    pub fn new(phys: Arc<Phys<P>>) -> Result<Arc<Self>, AllocError> {
        let zero = phys.alloc(AllocRequest::kernel(Owner::Kernel).zeroed())?;
        phys.record(zero.pfn()).set(FrameFlags::ZERO_PAGE);
        let zero = zero.into_pfn();
        let frames = phys.stats().total;
        let idle = Arc::new(IdleCache::new());
        phys.set_reclaimer(Some(idle.clone()));
        let registry = Registry::new();
        let mover = Arc::new(Mover::new(&phys, &registry));
        phys.set_migrator(Some(mover.clone()));
        Ok(Arc::new(Self {
            idle,
            phys,
            zero,
            frames,
            registry,
            mover,
            objects: AtomicU64::new(0),
            thp: Thp::default(),
        }))
    }

    /// The frames.
    pub fn phys(&self) -> &Arc<Phys<P>> {
        &self.phys
    }

    /// The frame of zeroes that reads of untouched private memory see. It is
    /// never counted and never written.
    pub fn zero_frame(&self) -> Pfn {
        self.zero
    }

    /// Frames of the machine that anybody can ever have.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Which sizes of folios private memory gets.
    pub fn thp(&self) -> &Thp {
        &self.thp
    }

    pub(crate) fn idle(&self) -> &IdleCache<P> {
        &self.idle
    }

    /// Hands in someone with a thread for compaction that nobody waits for;
    /// replaces whoever was there.
    pub fn set_background(&self, background: Option<Arc<dyn Background>>) {
        self.mover.set_background(background);
    }

    /// What the numbers in frames' records stand for.
    pub(crate) fn registry(&self) -> &Arc<Registry<P>> {
        &self.registry
    }

    pub(crate) fn next_object(&self) -> ObjectId {
        ObjectId::new(self.objects.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl<P: Mmu> Drop for Env<P> {
    fn drop(&mut self) {
        self.phys.set_reclaimer(None);
        self.phys.set_migrator(None);
        self.phys.record(self.zero).clear(FrameFlags::ZERO_PAGE);
        drop(self.phys.adopt(self.zero));
    }
}
