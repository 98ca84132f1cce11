//! Foliant's bookkeeping without pages.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use foliant_mm::{
    AddressMap, Advised, Backing, Change, FileLabel, FileMap, FilePlacement, Growth, Layout, Limits, Lineage,
    MapRequest, Mapping, MoveRequest, PageWork, Randomness, Source, Treatment, Usage, VmFlags, Vma, Zap,
};
use foliant_uapi::mman::Seals;
use foliant_uapi::{Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Prot};
use foliant_units::{Errno, VirtAddr, VirtRange, Vpn, VpnRange};

use crate::op::{AREA, AREA_BYTES, Behind, ELSEWHERE, Observed, Op, Shown};

/// Objects that are nothing but an identity.
pub struct Paper;

/// A family that never forks.
pub struct Family;

impl Lineage for Family {
    fn is_fork_child(&self) -> bool {
        false
    }
}

impl Backing for Paper {
    type Object = ();
    type Family = Family;
}

struct Label(&'static str);

impl FileLabel for Label {
    fn device(&self) -> (u32, u32) {
        (0, 1)
    }
    fn inode(&self) -> u64 {
        1
    }
    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self.0)
    }
}

fn mapping(name: &'static str) -> Arc<Mapping<Paper>> {
    Arc::new(Mapping {
        object: Arc::new(()),
        label: Arc::new(Label(name)),
    })
}

/// What the pages would have done, as far as the bookkeeping sees it.
struct Work {
    map: Rc<AddressMap<Paper>>,
    memory: u64,
    /// Pages with guard markers, which faults refuse.
    guards: RefCell<BTreeSet<Vpn>>,
}

impl Work {
    fn unguard(&self, range: VpnRange) -> Vec<Vpn> {
        let mut guards = self.guards.borrow_mut();
        let gone: Vec<_> = guards.range(range.start..range.end).copied().collect();
        for page in &gone {
            guards.remove(page);
        }
        gone
    }

    fn has_guard(&self, range: VpnRange) -> bool {
        self.guards
            .borrow()
            .range(range.start..range.end)
            .next()
            .is_some()
    }
}

impl PageWork<Paper> for Work {
    fn shared_memory(&mut self, pages: u64, flags: VmFlags) -> Result<Arc<Mapping<Paper>>, Errno> {
        if !flags.contains(VmFlags::NORESERVE) && !self.may_commit(pages) {
            return Err(Errno::NOMEM);
        }
        Ok(mapping("/dev/zero (deleted)"))
    }
    fn link(&mut self, _: &Arc<Vma<Paper>>) -> Result<(), Errno> {
        Ok(())
    }
    fn unlink(&mut self, _: &Arc<Vma<Paper>>) {}
    fn zap(&mut self, _: &Vma<Paper>, range: VpnRange, _: Zap) {
        self.unguard(range);
    }
    fn free_tables(&mut self, _: VpnRange) {}
    fn protect(&mut self, _: &Vma<Paper>, _: VpnRange) {}
    fn relocate(&mut self, _: &Vma<Paper>, from: VpnRange, _: &Vma<Paper>, to: Vpn) -> Result<(), Errno> {
        let moved = self.unguard(from);
        self.guards
            .borrow_mut()
            .extend(moved.into_iter().map(|page| to + (page - from.start)));
        Ok(())
    }
    fn locked(&mut self, _: &Vma<Paper>, _: VpnRange) {}
    fn treat(&self, vma: &Arc<Vma<Paper>>, range: VpnRange, how: Treatment) -> Result<(), Errno> {
        if how == Treatment::Guard {
            found(&self.map, vma);
            self.guards.borrow_mut().extend(range.iter());
        }
        if how == Treatment::Unguard {
            self.unguard(range);
        }
        Ok(())
    }
    fn may_commit(&self, pages: u64) -> bool {
        pages <= self.memory
    }
    fn settled(&mut self, _: &Usage) {}
}

/// Runs sequences on the bookkeeping alone.
pub struct OnPaper {
    limits: Limits,
    memory: u64,
}

/// One sequence's space.
struct Run {
    map: Rc<AddressMap<Paper>>,
    work: Work,
    file: FileMap<Paper>,
    read_only: FileMap<Paper>,
}

impl OnPaper {
    /// With the limits that this process has, and the memory of the machine below.
    pub fn like_this_process() -> Self {
        // SAFETY: no arguments, no memory.
        let root = unsafe { libc::geteuid() } == 0;
        Self {
            limits: Limits {
                address_space: limit(libc::RLIMIT_AS),
                data: limit(libc::RLIMIT_DATA),
                stack: limit(libc::RLIMIT_STACK),
                memlock: limit(libc::RLIMIT_MEMLOCK),
                may_lock_all: root,
                may_map_low: root,
                ..Limits::default()
            },
            memory: machine_pages(),
        }
    }

    /// Runs one sequence in a fresh space.
    pub fn run(&self, ops: &[Op]) -> Vec<Observed> {
        let layout = Layout::new(self.limits.stack, Growth::TopDown, Randomness::None);
        let file = mapping("/memfd:file (deleted)");
        let read_only = Arc::new(Mapping {
            object: file.object.clone(),
            label: file.label.clone(),
        });
        let map = Rc::new(AddressMap::new(layout, self.limits));
        let mut run = Run {
            map: map.clone(),
            work: Work {
                map,
                memory: self.memory,
                guards: RefCell::default(),
            },
            file: memfd(file, true),
            read_only: memfd(read_only, false),
        };
        ops.iter()
            .map(|op| Observed {
                result: run.perform(op),
                vmas: run.shown(),
            })
            .collect()
    }
}

fn limit(which: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is ours.
    unsafe { libc::getrlimit(which, &mut limit) };
    limit.rlim_cur
}

/// Pages of RAM and swap.
fn machine_pages() -> u64 {
    // SAFETY: zero is a value of every field, and the call fills it in.
    let mut info: libc::sysinfo = unsafe { core::mem::zeroed() };
    // SAFETY: the structure is ours.
    unsafe { libc::sysinfo(&mut info) };
    (info.totalram + info.totalswap) * u64::from(info.mem_unit) / 4096
}

fn memfd(mapping: Arc<Mapping<Paper>>, writable: bool) -> FileMap<Paper> {
    FileMap {
        mapping,
        readable: true,
        writable,
        noexec: false,
        append_only: false,
        mappable: true,
        refuses_sync: false,
        placement: FilePlacement::Shmem,
        max_bytes: i64::MAX as u64,
        seals: Seals::empty(),
    }
}

fn again(file: &FileMap<Paper>) -> FileMap<Paper> {
    memfd(file.mapping.clone(), file.writable)
}

/// The return value of a system call.
fn code(result: Result<(), Errno>) -> i64 {
    result.map_or_else(Errno::to_return, |()| 0)
}

impl Run {
    fn change(&mut self) -> Change<'_, Paper, Work> {
        self.map.change(&mut self.work)
    }

    fn perform(&mut self, op: &Op) -> i64 {
        let abs = |at| VirtAddr::new(Op::absolute(at));
        match *op {
            Op::Map {
                at,
                len,
                prot,
                flags,
                behind,
                offset,
            } => {
                let (file, anonymous) = match behind {
                    Behind::Anonymous => (None, MapFlags::ANONYMOUS),
                    Behind::File => (Some(again(&self.file)), MapFlags::empty()),
                    Behind::ReadOnlyFile => (Some(again(&self.read_only)), MapFlags::empty()),
                };
                let request = MapRequest {
                    addr: abs(at),
                    len,
                    prot: Prot::from_bits_retain(prot.into()),
                    flags: MapFlags::from_bits_retain(flags.into()) | anonymous,
                    offset,
                    file,
                };
                let mapped = self.change().mmap(&request);
                match mapped {
                    Err(errno) => errno.to_return(),
                    Ok(mapped) => {
                        if mapped.populate {
                            self.populate(mapped.range.pages());
                        }
                        self.placed(mapped.range.start, mapped.range.len())
                    }
                }
            }
            Op::Unmap { at, len } => code(self.change().munmap(abs(at), len)),
            Op::Protect { at, len, prot } => {
                let mut touched = Vec::new();
                let prot = Prot::from_bits_retain(prot.into());
                let result = self.change().mprotect(abs(at), len, prot, &mut touched);
                touched.into_iter().for_each(|range| self.populate(range));
                code(result)
            }
            Op::Remap {
                at,
                old,
                new,
                flags,
                to,
            } => self.remap(MoveRequest {
                addr: abs(at),
                old_len: old,
                new_len: new,
                flags: MremapFlags::from_bits_retain(flags.into()),
                new_addr: abs(to),
            }),
            Op::Advise { at, len, advice } => {
                let Some(advice) = Advice::from_raw(advice) else {
                    return Errno::INVAL.to_return();
                };
                match self.map.madvise(&mut self.work, abs(at), len, advice) {
                    Err(errno) => errno.to_return(),
                    Ok(Advised::Done) => 0,
                    Ok(Advised::Populate { range, write }) => self.populate_strictly(range, write),
                }
            }
            Op::Lock { at, len, flags } => self.lock(abs(at), len, flags),
            Op::Unlock { at, len } => code(self.change().munlock(abs(at), len)),
            Op::LockAll { flags } => code(
                self.change()
                    .mlockall(MlockAllFlags::from_bits_retain(flags))
                    .map(|_| ()),
            ),
            Op::UnlockAll => {
                self.change().munlockall();
                0
            }
            Op::Sync { at, len, flags } => code(
                self.map
                    .msync(abs(at), len, MsyncFlags::from_bits_retain(flags))
                    .result,
            ),
            Op::InCore { at, len } => code(self.map.mincore(abs(at), len, |_, _| Ok(()))),
            Op::Seal { at, len } => code(self.change().mseal(abs(at), len)),
            Op::Touch { at, write } => self.touch(abs(at), write),
        }
    }

    fn remap(&mut self, request: MoveRequest) -> i64 {
        let moved = self.change().mremap(request);
        match moved {
            Err(errno) => errno.to_return(),
            Ok(moved) => {
                if let Some(range) = moved.populate {
                    self.populate(range);
                }
                self.placed(moved.addr, request.new_len)
            }
        }
    }

    fn lock(&mut self, at: VirtAddr, len: u64, flags: u32) -> i64 {
        let Some(how) = MlockFlags::from_bits(flags) else {
            return Errno::INVAL.to_return();
        };
        let result = self.change().mlock(at, len, how);
        match result {
            Err(errno) => errno.to_return(),
            Ok(None) => 0,
            Ok(Some(range)) => self.lock_in(range),
        }
    }

    /// What populating after `mlock` answers.
    fn lock_in(&mut self, range: VpnRange) -> i64 {
        let tree = self.map.snapshot();
        for vma in tree.overlapping(range) {
            let accessible = vma.flags.intersects(VmFlags::ACCESS);
            if vma.flags.contains(VmFlags::LOCKONFAULT) {
                continue;
            }
            if !accessible {
                return Errno::NOMEM.to_return();
            }
            self.populate(vma.range.intersect(range));
            if self.work.has_guard(vma.range.intersect(range)) {
                return Errno::NOMEM.to_return();
            }
        }
        0
    }

    fn placed(&mut self, at: VirtAddr, len: u64) -> i64 {
        if VirtRange::sized(AREA, AREA_BYTES).is_some_and(|area| area.contains(at)) {
            return at.raw() as i64 - Op::absolute(0) as i64;
        }
        let _ = self.change().munmap(at, len);
        ELSEWHERE
    }

    /// Private writable pages get families; nothing else of it can be seen here.
    fn populate(&mut self, range: VpnRange) {
        let tree = self.map.snapshot();
        for vma in tree.overlapping(range) {
            let private = vma.flags & (VmFlags::WRITE | VmFlags::SHARED) == VmFlags::WRITE;
            if private && !vma.flags.contains(VmFlags::LOCKONFAULT) {
                found(&self.map, vma);
            }
        }
    }

    /// `MADV_POPULATE_*`.
    fn populate_strictly(&mut self, range: VpnRange, write: bool) -> i64 {
        let tree = self.map.snapshot();
        let mut at = range.start;
        while at < range.end {
            let Some(vma) = tree.get(at) else {
                return Errno::NOMEM.to_return();
            };
            let needed = if write { VmFlags::WRITE } else { VmFlags::READ };
            if !vma.flags.contains(needed) {
                return Errno::INVAL.to_return();
            }
            if write && !vma.is_shared() {
                found(&self.map, vma);
            }
            if self.work.has_guard(vma.range.intersect(range)) {
                return Errno::FAULT.to_return();
            }
            at = vma.range.end;
        }
        0
    }

    fn touch(&mut self, at: VirtAddr, write: bool) -> i64 {
        let mapped = self.map.find(at.page());
        let vma = match mapped {
            Some(vma) => vma,
            None => match self.change().grow_stack(at.page()) {
                Ok(vma) => vma,
                Err(_) => return Errno::FAULT.to_return(),
            },
        };
        let allowed = if write { VmFlags::WRITE } else { VmFlags::ACCESS };
        if !vma.flags.intersects(allowed) {
            return Errno::FAULT.to_return();
        }
        if self.work.guards.borrow().contains(&at.page()) {
            return Errno::FAULT.to_return();
        }
        if write && !vma.is_shared() {
            found(&self.map, &vma);
        }
        1
    }

    fn shown(&self) -> Vec<Shown> {
        let area = VirtRange::sized(AREA, AREA_BYTES).unwrap_or_default();
        self.map
            .snapshot()
            .overlapping(area.pages())
            .map(|vma| show(vma))
            .collect()
    }
}

/// Gives a VMA the family of a neighbour that it could become one with, or a new one.
fn found(map: &AddressMap<Paper>, vma: &Arc<Vma<Paper>>) {
    let tree = map.snapshot();
    let near = |left: &Vma<Paper>, right: &Vma<Paper>| {
        left.range.end == right.range.start
            && Source::same(&left.source, &right.source)
            && (left.flags ^ right.flags) - VmFlags::ACCESS - VmFlags::STICKY == VmFlags::empty()
            && right.pgoff == left.pgoff_at(right.range.start)
    };
    let next = tree
        .get(vma.range.end)
        .filter(|next| near(vma, next))
        .and_then(|next| next.family());
    let before = tree
        .below(vma.range.start)
        .filter(|left| near(left, vma))
        .and_then(|left| left.family());
    vma.family_or(next.or(before).unwrap_or_else(|| Arc::new(Family)));
}

fn show(vma: &Vma<Paper>) -> Shown {
    let mut name = String::new();
    let mut offset = 0;
    if let Source::Object(mapping) = &vma.source {
        let _ = mapping.label.write_path(&mut name);
        offset = vma.pgoff << 12;
    }
    let letters: Vec<_> = vma.flags.letters().collect();
    Shown {
        range: (vma.range.bytes().start.raw(), vma.range.bytes().end.raw()),
        perms: String::from_utf8_lossy(&vma.flags.perms()).into_owned(),
        offset,
        name,
        letters: letters.join(" "),
    }
}
