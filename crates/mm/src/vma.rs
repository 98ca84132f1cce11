//! One mapped range.

use alloc::sync::Arc;
use core::fmt;

use foliant_platform::sync::{RwLock, RwLockReadGuard, SpinLock};
use foliant_units::{Vpn, VpnRange};

use crate::counters::FaultCounts;
use crate::flags::VmFlags;
use crate::tree::Spanned;

/// What stands behind the VMAs of a space. A machine's platform is one, and
/// the tests of merging have a drawn one without pages.
pub trait Backing: Sized + 'static {
    /// What a file or shared mapping shows (Linux's `address_space`).
    type Object: Send + Sync + 'static;
    /// What ties anonymous pages to the VMAs that may map them (Linux's `anon_vma`).
    type Family: Lineage + Send + Sync + 'static;
}

/// What merging asks of an anonymous family.
pub trait Lineage {
    /// Whether pages of a parent process may still be mapped under it, so that
    /// its VMA must not widen (Linux's `vma_is_fork_child`).
    fn is_fork_child(&self) -> bool;
}

/// How `/proc/PID/maps` names what is mapped.
pub trait FileLabel: Send + Sync + 'static {
    /// Major and minor number of the device.
    fn device(&self) -> (u32, u32);
    /// Inode number.
    fn inode(&self) -> u64;
    /// The path as the last column shows it, unescaped, with ` (deleted)` where due.
    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// An open file as the VMAs see it: VMAs merge only when they share it, so one
/// is made per open file description (Linux's `struct file`).
pub struct Mapping<B: Backing> {
    /// The pages.
    pub object: Arc<B::Object>,
    /// The name.
    pub label: Arc<dyn FileLabel>,
}

/// Where the pages of a VMA come from.
pub enum Source<B: Backing> {
    /// Zeroes, private.
    Anonymous,
    /// An object; private or shared as [`VmFlags::SHARED`] says.
    Object(Arc<Mapping<B>>),
}

/// A range of pages with the same rights and source.
///
/// Replaced and never changed when range or flags change: the old one is
/// [retired](Vma::retire), the new one published in the tree. The pages do not
/// notice, they belong to the tables.
///
/// # Locking
/// A fault holds [`Vma::read`]; whoever replaces the VMA holds the space's
/// writer lock and retires it first, which waits for those faults.
///
/// # Linux source concept
/// `struct vm_area_struct`. Differs: immutable.
pub struct Vma<B: Backing> {
    /// The pages.
    pub range: VpnRange,
    /// Rights and treatment.
    pub flags: VmFlags,
    /// Page of the object at `range.start`. Of an anonymous VMA: the page
    /// number at which `range.start` was when its first page was faulted in,
    /// which merging compares.
    pub pgoff: u64,
    /// Where pages come from.
    pub source: Source<B>,
    /// Name given by `PR_SET_VMA_ANON_NAME`.
    pub name: Option<Arc<str>>,
    /// Its faults, and those of the parts that were split off it.
    pub faults: Arc<FaultCounts>,
    family: SpinLock<Option<Arc<B::Family>>>,
    live: RwLock<bool>,
}

/// The right to fault on a VMA: it is not retired while this lives.
#[must_use = "the VMA may be retired as soon as the guard is dropped"]
pub struct VmaGuard<'a>(#[expect(dead_code, reason = "held for its lock")] RwLockReadGuard<'a, bool>);

impl<B: Backing> Vma<B> {
    /// A live VMA without pages or family.
    pub fn new(range: VpnRange, flags: VmFlags, pgoff: u64, source: Source<B>) -> Self {
        Self {
            range,
            flags,
            pgoff,
            source,
            name: None,
            faults: Arc::default(),
            family: SpinLock::new(None),
            live: RwLock::new(true),
        }
    }

    /// A live copy to change before it is published in place of this one:
    /// same flags, source, name and family.
    pub fn successor(&self) -> Self {
        Self {
            range: self.range,
            flags: self.flags,
            pgoff: self.pgoff,
            source: self.source.clone(),
            name: self.name.clone(),
            faults: self.faults.clone(),
            family: SpinLock::new(self.family()),
            live: RwLock::new(true),
        }
    }

    /// A successor of the pages `part`, which lie inside, with the page offset that fits.
    pub fn clipped(&self, part: VpnRange) -> Self {
        debug_assert!(self.range.covers(part));
        let mut clip = self.successor();
        clip.range = part;
        clip.pgoff = self.pgoff_at(part.start);
        clip
    }

    /// The page offset at `vpn`, which may lie outside.
    pub const fn pgoff_at(&self, vpn: Vpn) -> u64 {
        self.pgoff
            .wrapping_add(vpn.raw().wrapping_sub(self.range.start.raw()))
    }

    /// The object, if there is one.
    pub fn object(&self) -> Option<&Arc<B::Object>> {
        match &self.source {
            Source::Anonymous => None,
            Source::Object(mapping) => Some(&mapping.object),
        }
    }

    /// Whether it has no object. (Shared anonymous memory has one.)
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// Whether stores go to the object.
    pub const fn is_shared(&self) -> bool {
        self.flags.contains(VmFlags::SHARED)
    }

    /// The anonymous family, once a private page was written.
    pub fn family(&self) -> Option<Arc<B::Family>> {
        self.family.lock().clone()
    }

    /// Gives the VMA its family unless it has one; the one it then has.
    pub fn family_or(&self, family: Arc<B::Family>) -> Arc<B::Family> {
        self.family.lock().get_or_insert(family).clone()
    }

    /// Sets or takes away the family of a VMA that is not published yet.
    pub fn set_family(&mut self, family: Option<Arc<B::Family>>) {
        *self.family.get_mut() = family;
    }

    /// Holds the VMA for a fault; `None` if it was retired, and the caller
    /// looks it up again after waiting for the space's writer lock.
    pub fn read(&self) -> Option<VmaGuard<'_>> {
        let live = self.live.read();
        live.then_some(VmaGuard(live))
    }

    /// Ends the VMA: waits for the faults that hold it, and no other can start.
    /// The caller holds the space's writer lock.
    pub fn retire(&self) {
        *self.live.write() = false;
    }

    /// Takes [`retire`](Self::retire) back, for a VMA that was not replaced after all.
    pub(crate) fn revive(&self) {
        *self.live.write() = true;
    }
}

impl<B: Backing> Spanned for Vma<B> {
    fn span(&self) -> VpnRange {
        self.range
    }
}

impl<B: Backing> Source<B> {
    /// Whether both show the same pages through the same open file.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Source::Anonymous, Source::Anonymous) => true,
            (Source::Object(one), Source::Object(two)) => Arc::ptr_eq(one, two),
            (Source::Anonymous, Source::Object(_)) | (Source::Object(_), Source::Anonymous) => false,
        }
    }
}

impl<B: Backing> Clone for Source<B> {
    fn clone(&self) -> Self {
        match self {
            Source::Anonymous => Source::Anonymous,
            Source::Object(mapping) => Source::Object(mapping.clone()),
        }
    }
}

impl<B: Backing> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Anonymous => f.write_str("anonymous"),
            Source::Object(mapping) => mapping.label.write_path(f),
        }
    }
}

impl<B: Backing> fmt::Debug for Vma<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let perms = self.flags.perms();
        let perms = core::str::from_utf8(&perms).unwrap_or("????");
        write!(
            f,
            "{} {perms} {:x} {:?}",
            self.range.bytes(),
            self.pgoff,
            self.source
        )
    }
}
