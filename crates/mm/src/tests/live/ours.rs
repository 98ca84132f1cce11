//! The machine under test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use foliant_uapi::{MapFlags, MlockFlags, MremapFlags};
use foliant_units::VpnRange;

use super::super::world::{P, PAGE, RW, TestFile, World, addr, open, touch, try_map, vpn};
use super::{AREA, EXCLUSIVE, FIELDS, FILE, FILE_PAGES, GUARD, PRESENT, Seen, Step, What};
use crate::fault::Access;
use crate::{Mapping, MoveRequest, Object, Residency, Resident, Space};

/// The machine under test.
pub(super) struct Ours {
    space: Arc<Space<P>>,
    child: RefCell<Option<Arc<Space<P>>>>,
    files: [Arc<Mapping<P>>; 2],
}

impl Ours {
    pub(super) fn new(world: &World) -> Self {
        let disk = Object::file(&world.env, TestFile::of_pages(FILE_PAGES));
        let shmem = Object::shmem(&world.env, 0);
        for page in 0..u64::from(FILE_PAGES) {
            let bytes = [page as u8 + 1; PAGE as usize];
            shmem.write(page * PAGE, &bytes).expect("room");
            // The kernel's copy of the file is in memory from its making.
            disk.read(page * PAGE, &mut [0]).expect("there");
        }
        let space = world.space();
        space.set_limits(|limits| limits.may_lock_all = true);
        Self {
            space,
            child: RefCell::new(None),
            files: [open(&shmem), open(&disk)],
        }
    }

    fn file(&self, what: What) -> Option<&Arc<Mapping<P>>> {
        match what {
            What::Anonymous => None,
            What::Shmem => Some(&self.files[0]),
            What::Disk => Some(&self.files[1]),
        }
    }

    pub(super) fn step(&self, step: Step) -> Seen {
        let before = self.faults();
        let (error, byte) = self.run(step);
        let faults = if matches!(step, Step::Exit) {
            0
        } else {
            self.faults() - before
        };
        let mut mincore = Vec::new();
        let (smaps, pagemap) = look(&self.space, Some(&mut mincore));
        let child = self.child.borrow().as_ref().map(|child| look(child, None));
        Seen {
            error,
            faults,
            smaps,
            mincore,
            pagemap,
            child,
            byte,
        }
    }

    fn faults(&self) -> u64 {
        let of = |space: &Arc<Space<P>>| space.count().minor_faults;
        of(&self.space) + self.child.borrow().as_ref().map_or(0, of)
    }

    fn run(&self, step: Step) -> (i32, Option<u8>) {
        let space = &self.space;
        let result = match step {
            Step::Map(at, pages, what, shared, prot) => {
                let how = if shared {
                    MapFlags::SHARED
                } else {
                    MapFlags::PRIVATE
                };
                try_map(space, at, pages, prot, how, self.file(what)).map(drop)
            }
            Step::Read(at) => {
                let mut byte = [0];
                return match touch(space, addr(at), Access::Read) {
                    Ok(_) => space
                        .copy_in(addr(at), &mut byte)
                        .map_or((-1, None), |()| (0, Some(byte[0]))),
                    Err(_) => (libc::EFAULT, None),
                };
            }
            Step::Write(at) => match touch(space, addr(at), Access::Write) {
                Ok(_) => space.copy_out(addr(at), &[0xee]).map_err(|error| error.errno()),
                Err(_) => return (libc::EFAULT, None),
            },
            Step::Protect(at, pages, prot) => space.mprotect(addr(at), pages * PAGE, prot),
            Step::Advise(at, pages, advice) => space.madvise(addr(at), pages * PAGE, advice.raw()),
            Step::Truncate(what, size) => self.file(what).map_or(Ok(()), |file| file.object.set_size(size)),
            Step::Move(from, pages, to) => {
                let moved = space.mremap(MoveRequest {
                    addr: addr(from),
                    old_len: pages * PAGE,
                    new_len: pages * PAGE,
                    flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
                    new_addr: addr(to),
                });
                moved.and_then(|_| try_map(space, from, pages, RW, MapFlags::PRIVATE, None).map(drop))
            }
            Step::Lock(at, pages) => space.mlock(addr(at), pages * PAGE, MlockFlags::empty()),
            Step::Unlock(at, pages) => space.munlock(addr(at), pages * PAGE),
            Step::Fork => {
                self.child
                    .borrow_mut()
                    .get_or_insert_with(|| space.fork().expect("room"));
                Ok(())
            }
            Step::Exit => {
                self.child.take();
                Ok(())
            }
            Step::ChildRead(at) | Step::ChildWrite(at) => {
                let Some(child) = self.child.borrow().clone() else {
                    return (0, None);
                };
                let reads = matches!(step, Step::ChildRead(_));
                let mut byte = [0xee];
                let result = match step {
                    Step::ChildRead(_) => child.copy_in(addr(at), &mut byte),
                    _ => child.copy_out(addr(at), &byte),
                };
                return result.map_or_else(
                    |error| (error.errno().raw(), None),
                    |()| (0, Some(byte[0]).filter(|_| reads)),
                );
            }
        };
        (result.map_or_else(|errno| errno.raw(), |()| 0), None)
    }
}

/// The sums and the words of the area, and what `mincore` says.
fn look(space: &Space<P>, mut mincore: Option<&mut Vec<bool>>) -> (BTreeMap<&'static str, u64>, Vec<u64>) {
    space.audit(&mut |violation| panic!("{violation:?}"));
    let area = VpnRange::new(vpn(0), vpn(AREA));
    let mut pagemap = Vec::new();
    let mut sums = BTreeMap::new();
    for vma in &space.vmas() {
        // Rounded for each mapping, as `smaps` is.
        for (field, kib) in kib(&space.residency(vma)) {
            *sums.entry(field).or_insert(0) += kib;
        }
        space.view(vma, vma.range.intersect(area), |page| {
            if let Some(mincore) = &mut mincore {
                mincore.push(page.frame.is_some() || page.cached);
            }
            let mut word = 0;
            word |= if page.frame.is_some() { PRESENT } else { 0 };
            word |= if matches!(page.sort, Some(Resident::File | Resident::Shmem)) {
                FILE
            } else {
                0
            };
            word |= if page.exclusive { EXCLUSIVE } else { 0 };
            word |= if page.guard { GUARD } else { 0 };
            pagemap.push(word);
        });
    }
    (sums, pagemap)
}

fn kib(sums: &Residency) -> BTreeMap<&'static str, u64> {
    let values = [
        sums.rss,
        sums.pss >> 12,
        sums.pss_dirty >> 12,
        sums.shared_clean,
        sums.shared_dirty,
        sums.private_clean,
        sums.private_dirty,
        sums.anonymous,
        sums.swap,
    ];
    FIELDS.into_iter().zip(values.map(|bytes| bytes >> 10)).collect()
}
