//! Foliant: a space on a machine in this process.

use std::fmt;
use std::sync::Arc;

use foliant_mm::{
    Env, FileLabel, FileMap, FilePlacement, Growth, Layout, Limits, MapRequest, Mapping, MoveRequest, Object,
    Randomness, Source, Space, VmFlags,
};
use foliant_phys::{BootOptions, testing};
use foliant_platform::testing::TestPlatform;
use foliant_uapi::mman::Seals;
use foliant_uapi::{MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Prot};
use foliant_units::{Errno, VirtAddr, VirtRange, Vpn, VpnRange};

use crate::op::{
    AREA, AREA_BYTES, Behind, ELSEWHERE, FILE_PAGES, FIRST_PAGE, Foreign, Observed, Op, Page, SEEN_PAGES,
    Shown,
};

/// Frames of the machine: far more than a sequence touches.
const FRAMES: u64 = 16 << 10;

type Machine = TestPlatform;

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

/// Runs sequences on Foliant.
pub struct Foliant {
    limits: Limits,
    env: Arc<Env<Machine>>,
}

/// One sequence's space and files.
struct Run {
    space: Arc<Space<Machine>>,
    file: Arc<Mapping<Machine>>,
    read_only: Arc<Mapping<Machine>>,
}

impl Foliant {
    /// A machine with the limits that this process has.
    pub fn like_this_process() -> Self {
        // SAFETY: no arguments, no memory.
        let root = unsafe { libc::geteuid() } == 0;
        let phys = testing::boot_with(FRAMES, 1, BootOptions::test());
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
            env: Env::new(phys).unwrap_or_else(|error| panic!("a machine without a frame: {error:?}")),
        }
    }

    /// Runs one sequence in a fresh space that has the `foreign` mappings too.
    pub fn run(&self, ops: &[Op], foreign: &[Foreign]) -> Vec<Observed> {
        let layout = Layout::new(self.limits.stack, Growth::TopDown, Randomness::None);
        let space = Space::new(&self.env, layout, self.limits);
        let object = Object::shmem(&self.env, 2 * FILE_PAGES * 4096);
        let open = || {
            Arc::new(Mapping {
                object: object.clone(),
                label: Arc::new(Label("/memfd:file (deleted)")),
            })
        };
        let mut run = Run {
            space: space.unwrap_or_else(|error| panic!("no space: {error:?}")),
            file: open(),
            read_only: open(),
        };
        for vma in foreign {
            run.occupy(vma);
        }
        ops.iter().map(|op| run.observe(op)).collect()
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

fn memfd(mapping: &Arc<Mapping<Machine>>, writable: bool) -> FileMap<Machine> {
    FileMap {
        mapping: mapping.clone(),
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

/// The return value of a system call.
fn code(result: Result<(), Errno>) -> i64 {
    result.map_or_else(Errno::to_return, |()| 0)
}

impl Run {
    fn occupy(&self, vma: &Foreign) {
        let range = VirtRange::new(VirtAddr::new(vma.range.0), VirtAddr::new(vma.range.1)).pages();
        let flags = if vma.stack {
            VmFlags::GROWSDOWN
        } else {
            VmFlags::empty()
        };
        // Neighbours may become one; only where they are matters.
        let _ = self
            .space
            .install(range, flags, range.start.raw(), Source::Anonymous);
    }

    fn observe(&mut self, op: &Op) -> Observed {
        let before = self.space.count().minor_faults;
        let result = self.perform(op);
        let faults = self.space.count().minor_faults - before;
        let mut broken = Vec::new();
        self.space.audit(&mut |violation| broken.push(violation));
        assert!(broken.is_empty(), "{op:?}: {broken:?}");
        Observed {
            result,
            faults,
            vmas: self.shown(),
            pages: self.pages(),
        }
    }

    fn perform(&mut self, op: &Op) -> i64 {
        let abs = |at| VirtAddr::new(Op::absolute(at));
        let space = &self.space;
        match *op {
            Op::Map {
                at,
                len,
                prot,
                flags,
                behind,
                offset,
            } => {
                let (file, anonymous) = self.behind(behind);
                let request = MapRequest {
                    addr: abs(at),
                    len,
                    prot: Prot::from_bits_retain(prot.into()),
                    flags: MapFlags::from_bits_retain(flags.into()) | anonymous,
                    offset,
                    file,
                };
                self.placed(space.mmap(&request), len)
            }
            Op::MapAnywhere {
                hint,
                len,
                flags,
                behind,
            } => {
                let (file, anonymous) = self.behind(behind);
                let request = MapRequest {
                    addr: VirtAddr::new(hint),
                    len,
                    prot: Prot::READ,
                    flags: MapFlags::from_bits_retain(flags.into()) | anonymous,
                    offset: 0,
                    file,
                };
                space
                    .mmap(&request)
                    .map_or_else(Errno::to_return, |at| at.raw() as i64)
            }
            Op::Unmap { at, len } => code(space.munmap(abs(at), len)),
            Op::Protect { at, len, prot } => {
                code(space.mprotect(abs(at), len, Prot::from_bits_retain(prot.into())))
            }
            Op::Remap {
                at,
                old,
                new,
                flags,
                to,
            } => {
                let request = MoveRequest {
                    addr: abs(at),
                    old_len: old,
                    new_len: new,
                    flags: MremapFlags::from_bits_retain(flags.into()),
                    new_addr: abs(to),
                };
                self.placed(space.mremap(request), new)
            }
            Op::Advise { at, len, advice } => code(space.madvise(abs(at), len, advice)),
            Op::Lock { at, len, flags } => {
                code(space.mlock(abs(at), len, MlockFlags::from_bits_retain(flags)))
            }
            Op::Unlock { at, len } => code(space.munlock(abs(at), len)),
            Op::LockAll { flags } => code(space.mlockall(MlockAllFlags::from_bits_retain(flags))),
            Op::UnlockAll => {
                space.munlockall();
                0
            }
            Op::Sync { at, len, flags } => {
                code(space.msync(abs(at), len, MsyncFlags::from_bits_retain(flags)))
            }
            Op::InCore { at, len } => {
                let mut vector = Vec::new();
                code(space.mincore(abs(at), len, |part| {
                    vector.extend_from_slice(part);
                    Ok(())
                }))
            }
            Op::Seal { at, len } => code(space.mseal(abs(at), len)),
            Op::RemapFile { at, len, page } => code(space.remap_file_pages(abs(at), len, 0, page, 0)),
            Op::Write { at, value } => space
                .copy_out(abs(at), &[value])
                .map_or(Errno::FAULT.to_return(), |()| 1),
            Op::Read { at } => {
                let mut byte = [0];
                let read = space.copy_in(abs(at), &mut byte);
                read.map_or(Errno::FAULT.to_return(), |()| i64::from(byte[0]))
            }
        }
    }

    fn behind(&self, behind: Behind) -> (Option<FileMap<Machine>>, MapFlags) {
        match behind {
            Behind::Anonymous => (None, MapFlags::ANONYMOUS),
            Behind::File => (Some(memfd(&self.file, true)), MapFlags::empty()),
            Behind::ReadOnlyFile => (Some(memfd(&self.read_only, false)), MapFlags::empty()),
        }
    }

    fn placed(&self, got: Result<VirtAddr, Errno>, len: u64) -> i64 {
        let at = match got {
            Ok(at) => at,
            Err(errno) => return errno.to_return(),
        };
        if VirtRange::sized(AREA, AREA_BYTES).is_some_and(|area| area.contains(at)) {
            return at.raw() as i64 - Op::absolute(0) as i64;
        }
        let _ = self.space.munmap(at, len);
        ELSEWHERE
    }

    fn shown(&self) -> Vec<Shown> {
        let area = VirtRange::sized(AREA, AREA_BYTES).unwrap_or_default();
        let layout = self.space.layout();
        let vmas = self.space.vmas();
        vmas.overlapping(area.pages())
            .map(|vma| {
                let entry = vma.maps_entry(&layout);
                let letters: Vec<_> = vma.flags.letters().collect();
                Shown {
                    range: (entry.range.start.raw(), entry.range.end.raw()),
                    perms: String::from_utf8_lossy(&vma.flags.perms()).into_owned(),
                    offset: entry.offset,
                    name: String::from_utf8_lossy(&entry.name).into_owned(),
                    letters: letters.join(" "),
                }
            })
            .collect()
    }

    fn pages(&self) -> Vec<Page> {
        let first: Vpn = AREA.page() + FIRST_PAGE;
        let seen = VpnRange::new(first, first + SEEN_PAGES);
        let mut pages = vec![Page::default(); SEEN_PAGES as usize];
        for vma in self.space.vmas().overlapping(seen) {
            self.space.view(vma, vma.range.intersect(seen), |view| {
                pages[(view.page - first) as usize] = Page {
                    present: view.frame.is_some(),
                    file: view.sort.is_some_and(|sort| sort != foliant_mm::Resident::Anon),
                    exclusive: view.exclusive,
                    guard: view.guard,
                };
            });
        }
        pages
    }
}
