//! `mmap`.

use alloc::sync::Arc;

use foliant_uapi::mman::Seals;
use foliant_uapi::{MapFlags, MapType, Prot};
use foliant_units::{Errno, PAGE_SHIFT, PAGE_SIZE, PageSize, VirtAddr, VirtRange, VpnRange};

use super::page_align;
use super::place::{Alignment, Wanted};
use crate::flags::VmFlags;
use crate::map::Change;
use crate::merge::Draft;
use crate::vma::{Backing, Mapping, Source, Vma};
use crate::work::PageWork;

/// The arguments of `mmap`, as the program gave them.
pub struct MapRequest<B: Backing> {
    /// Where, exactly or as a hint.
    pub addr: VirtAddr,
    /// Bytes.
    pub len: u64,
    /// Rights; unknown bits are ignored.
    pub prot: Prot,
    /// All bits of the argument.
    pub flags: MapFlags,
    /// Bytes into the file.
    pub offset: u64,
    /// The file, unless [`MapFlags::ANONYMOUS`]; a bad descriptor was refused before.
    pub file: Option<FileMap<B>>,
}

/// An open file that is to be mapped.
pub struct FileMap<B: Backing> {
    /// Its pages and name.
    pub mapping: Arc<Mapping<B>>,
    /// Open for reading.
    pub readable: bool,
    /// Open for writing.
    pub writable: bool,
    /// Its file system is mounted without execution.
    pub noexec: bool,
    /// Has `O_APPEND` forced on it by the inode (`chattr +a`).
    pub append_only: bool,
    /// Can be mapped at all.
    pub mappable: bool,
    /// Refuses `MAP_SYNC` (file systems that could do DAX, such as ext4).
    pub refuses_sync: bool,
    /// What its file system does about alignment.
    pub placement: FilePlacement,
    /// Largest offset, in bytes.
    pub max_bytes: u64,
    /// Seals of a memfd.
    pub seals: Seals,
}

/// What a file system does about the addresses of its mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilePlacement {
    /// Nothing.
    Ordinary,
    /// Aligns to 2 MiB where it can (ext4, xfs, btrfs).
    Huge,
    /// Aligns to 2 MiB if the machine's shared memory uses huge pages (tmpfs, memfd).
    Shmem,
}

/// What `mmap` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The new mapping.
    pub range: VirtRange,
    /// To be populated once the lock is open; failures of that are ignored.
    pub populate: bool,
}

impl<B: Backing, W: PageWork<B>> Change<'_, B, W> {
    /// Maps.
    ///
    /// # Errors
    /// As `mmap(2)` gives them, in Linux's order.
    ///
    /// # Linux source concept
    /// `ksys_mmap_pgoff()`, `do_mmap()`.
    pub fn mmap(&mut self, request: &MapRequest<B>) -> Result<Mapped, Errno> {
        if !request.offset.is_multiple_of(PAGE_SIZE as u64) {
            return Err(Errno::INVAL);
        }
        if request.file.is_none() && request.flags.contains(MapFlags::HUGETLB) {
            return Err(refuse_huge(request));
        }
        if request.len == 0 {
            return Err(Errno::INVAL);
        }
        let prot = self.implied(request);
        let hint = self.hint(request);
        let len = page_align(request.len);
        if len == 0 {
            return Err(Errno::NOMEM);
        }
        let pages = len >> PAGE_SHIFT;
        let pgoff = request.offset >> PAGE_SHIFT;
        if pgoff.checked_add(pages).is_none() {
            return Err(Errno::OVERFLOW);
        }
        if self.tree.len() > self.book.limits.vmas {
            return Err(Errno::NOMEM);
        }

        let flags = wished(prot, request.flags) | self.book.future | MAY_ALL;
        let at = self.find_room(wanted(request, hint, len))?;
        let range = VpnRange::new(at.page(), at.page() + pages);
        if request.flags.contains(MapFlags::FIXED_NOREPLACE) && self.tree.overlaps(range) {
            return Err(Errno::EXIST);
        }
        if request.flags.contains(MapFlags::LOCKED) && !self.book.may_lock_any() {
            return Err(Errno::PERM);
        }
        if !self.book.may_lock_more(flags, pages) {
            return Err(Errno::AGAIN);
        }

        let kind = match &request.file {
            Some(file) => permit_file(file, request, flags, pages)?,
            None => permit_anonymous(request.flags, flags)?,
        };
        let pgoff = match (&request.file, kind.contains(VmFlags::SHARED)) {
            (Some(_), _) => pgoff,
            (None, true) => 0,
            (None, false) => range.start.raw(),
        };
        let reserve = if request.flags.contains(MapFlags::NORESERVE) {
            VmFlags::NORESERVE
        } else {
            VmFlags::empty()
        };
        self.region(range, kind | reserve, pgoff, request.file.as_ref())?;

        let prefault = request.flags & (MapFlags::POPULATE | MapFlags::NONBLOCK) == MapFlags::POPULATE;
        Ok(Mapped {
            range: range.bytes(),
            // Asked for even where the mapping then turned out not to be lockable.
            populate: prefault || kind.contains(VmFlags::LOCKED),
        })
    }

    /// Rights with what the personality adds.
    fn implied(&self, request: &MapRequest<B>) -> Prot {
        let noexec = request.file.as_ref().is_some_and(|file| file.noexec);
        if self.book.layout.read_implies_exec && request.prot.contains(Prot::READ) && !noexec {
            request.prot | Prot::EXEC
        } else {
            request.prot
        }
    }

    /// The hint in whole pages, moved up to the lowest address.
    fn hint(&self, request: &MapRequest<B>) -> VirtAddr {
        if is_fixed(request.flags) {
            return request.addr;
        }
        let hint = request.addr.align_down(PAGE_SIZE as u64);
        let lowest = self.book.limits.lowest;
        if hint != VirtAddr::ZERO && hint.raw() < lowest {
            return VirtAddr::new(lowest.next_multiple_of(PAGE_SIZE as u64));
        }
        hint
    }

    /// Replaces what is in `range` by a new mapping.
    ///
    /// # Linux source concept
    /// `__mmap_region()`.
    fn region(
        &mut self,
        range: VpnRange,
        mut flags: VmFlags,
        pgoff: u64,
        file: Option<&FileMap<B>>,
    ) -> Result<Arc<Vma<B>>, Errno> {
        self.isolate(range)?;
        let (mut mapped, mut accounted) = (0, 0);
        for vma in self.tree.overlapping(range) {
            mapped += vma.range.len();
            accounted += if vma.flags.contains(VmFlags::ACCOUNT) {
                vma.range.len()
            } else {
                0
            };
        }
        if !self.book.may_expand(flags, range.len() - mapped) {
            return Err(Errno::NOMEM);
        }
        if is_accountable(flags) {
            if !self.work.may_commit(range.len().saturating_sub(accounted)) {
                return Err(Errno::NOMEM);
            }
            flags |= VmFlags::ACCOUNT;
        }
        // Shared memory that cannot be had is noticed when the old is gone, as in Linux.
        self.unmap(range)?;
        let source = match file {
            Some(file) => Source::Object(file.mapping.clone()),
            None if flags.contains(VmFlags::SHARED) => {
                Source::Object(self.work.shared_memory(range.len(), flags)?)
            }
            None => Source::Anonymous,
        };
        self.replace(range, flags, pgoff, source)
    }

    /// Puts a mapping in place of everything in `range`, and counts it.
    pub(super) fn replace(
        &mut self,
        range: VpnRange,
        mut flags: VmFlags,
        pgoff: u64,
        source: Source<B>,
    ) -> Result<Arc<Vma<B>>, Errno> {
        self.unmap(range)?;
        if flags.intersects(UNLOCKABLE) {
            flags -= VmFlags::LOCKED_MASK;
        }
        if flags.contains(VmFlags::LOCKED) {
            self.book.usage.locked += range.len();
        }
        self.book.usage.add(flags, range.len());
        self.place(Draft {
            range,
            flags,
            pgoff,
            source,
            name: None,
            family: None,
        })
        .inspect_err(|_| self.book.usage.sub(flags, range.len()))
    }

    /// Maps something that the kernel itself places: the parts of a program,
    /// its first stack, the vDSO. `flags` are complete.
    ///
    /// # Errors
    /// `NOMEM` at a limit, `EXIST` if something is there.
    ///
    /// # Linux source concept
    /// `_install_special_mapping()`, `insert_vm_struct()`.
    pub fn install(
        &mut self,
        range: VpnRange,
        flags: VmFlags,
        pgoff: u64,
        source: Source<B>,
    ) -> Result<Arc<Vma<B>>, Errno> {
        if self.tree.overlaps(range) {
            return Err(Errno::EXIST);
        }
        if self.tree.len() > self.book.limits.vmas || !self.book.may_expand(flags, range.len()) {
            return Err(Errno::NOMEM);
        }
        let vma = self.place(Draft {
            range,
            flags,
            pgoff,
            source,
            name: None,
            family: None,
        })?;
        self.book.usage.add(flags, range.len());
        Ok(vma)
    }
}

/// What `mprotect` may turn on in an ordinary mapping.
pub(super) const MAY_ALL: VmFlags = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);

/// What is never locked, whatever is asked.
pub(super) const UNLOCKABLE: VmFlags = VmFlags::SPECIAL.union(VmFlags::HUGETLB).union(VmFlags::DROPPABLE);

/// Whether the address is exact.
fn is_fixed(flags: MapFlags) -> bool {
    flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE)
}

/// Rights as flags.
pub(super) fn rights(prot: Prot) -> VmFlags {
    // The three lowest bits are the same in both worlds.
    VmFlags::from_bits_retain(prot.bits()) & VmFlags::ACCESS
}

/// Flags of the VMA that the arguments ask for.
fn wished(prot: Prot, flags: MapFlags) -> VmFlags {
    let pairs = [
        (MapFlags::GROWSDOWN, VmFlags::GROWSDOWN),
        (MapFlags::LOCKED, VmFlags::LOCKED),
        (MapFlags::SYNC, VmFlags::SYNC),
        (MapFlags::STACK, VmFlags::NOHUGEPAGE),
    ];
    let extra = pairs
        .into_iter()
        .filter(|(map, _)| flags.contains(*map))
        .map(|(_, vm)| vm);
    extra.fold(rights(prot), VmFlags::union)
}

/// Whether private writable memory counts against the commit limit.
///
/// # Linux source concept
/// `accountable_mapping()`.
fn is_accountable(flags: VmFlags) -> bool {
    flags & (VmFlags::NORESERVE | VmFlags::SHARED | VmFlags::WRITE) == VmFlags::WRITE
}

fn wanted<B: Backing>(request: &MapRequest<B>, at: VirtAddr, len: u64) -> Wanted {
    let shared = request.flags.contains(MapFlags::SHARED);
    Wanted {
        at,
        len,
        offset: if request.file.is_none() { 0 } else { request.offset },
        fixed: is_fixed(request.flags),
        low: request.flags.contains(MapFlags::BIT32),
        above_4g: request.flags.contains(MapFlags::ABOVE4G),
        alignment: match &request.file {
            Some(file) => Alignment::File(file.placement),
            None if shared => Alignment::Shmem,
            None => Alignment::Anonymous,
        },
    }
}

/// A machine without a hugetlb pool: what Linux answers when its is empty.
fn refuse_huge<B: Backing>(request: &MapRequest<B>) -> Errno {
    let size = match request.flags.huge_shift() {
        0 | 21 => PageSize::Size2M.bytes(),
        30 => PageSize::Size1G.bytes(),
        _ => return Errno::INVAL,
    };
    let misplaced = is_fixed(request.flags) && !request.addr.is_aligned_to(size);
    if request.len == 0 || misplaced || request.flags.map_type().is_none() {
        return Errno::INVAL;
    }
    Errno::NOMEM
}

fn permit_anonymous(map: MapFlags, flags: VmFlags) -> Result<VmFlags, Errno> {
    match map.map_type() {
        Some(MapType::Private) => Ok(flags),
        Some(MapType::Shared) if flags.contains(VmFlags::GROWSDOWN) => Err(Errno::INVAL),
        Some(MapType::Shared) => Ok(flags | VmFlags::SHARED | VmFlags::MAYSHARE),
        Some(MapType::Droppable) if map.contains(MapFlags::LOCKED) || flags.contains(VmFlags::GROWSDOWN) => {
            Err(Errno::INVAL)
        }
        Some(MapType::Droppable) => {
            Ok(flags | VmFlags::DROPPABLE | VmFlags::NORESERVE | VmFlags::WIPEONFORK | VmFlags::DONTDUMP)
        }
        Some(MapType::SharedValidate) | None => Err(Errno::INVAL),
    }
}

fn permit_file<B: Backing>(
    file: &FileMap<B>,
    request: &MapRequest<B>,
    mut flags: VmFlags,
    pages: u64,
) -> Result<VmFlags, Errno> {
    let end = (request.offset >> PAGE_SHIFT).saturating_add(pages);
    if end > file.max_bytes >> PAGE_SHIFT {
        return Err(Errno::OVERFLOW);
    }
    let shared = match request.flags.map_type() {
        Some(MapType::Shared) => true,
        Some(MapType::SharedValidate) => {
            if !MapFlags::LEGACY.contains(request.flags) {
                return Err(Errno::OPNOTSUPP);
            }
            true
        }
        Some(MapType::Private) => false,
        Some(MapType::Droppable) | None => return Err(Errno::INVAL),
    };
    if shared {
        if flags.contains(VmFlags::WRITE) && !file.writable {
            return Err(Errno::ACCES);
        }
        if file.append_only && file.writable {
            return Err(Errno::ACCES);
        }
        flags |= VmFlags::SHARED | VmFlags::MAYSHARE;
        if !file.writable {
            flags -= VmFlags::MAYWRITE | VmFlags::SHARED;
        }
    }
    if !file.readable {
        return Err(Errno::ACCES);
    }
    if file.noexec {
        if flags.contains(VmFlags::EXEC) {
            return Err(Errno::PERM);
        }
        flags -= VmFlags::MAYEXEC;
    }
    if !file.mappable {
        return Err(Errno::NODEV);
    }
    if flags.contains(VmFlags::GROWSDOWN) {
        return Err(Errno::INVAL);
    }
    if file.seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) && flags.contains(VmFlags::SHARED) {
        if flags.contains(VmFlags::WRITE) {
            return Err(Errno::PERM);
        }
        flags -= VmFlags::MAYWRITE;
    }
    if file.refuses_sync && flags.contains(VmFlags::SYNC) {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(flags)
}
