//! The same steps here and on the kernel that runs the test: equal faults,
//! equal residency, equal bytes.
//!
//! A step changes one area of 64 pages, which stays mapped all the time. After
//! each, the sums of `/proc/self/smaps` over the area, `mincore` and the bits
//! of `/proc/self/pagemap` must be equal, and so must the minor faults that
//! the step took. Left out is what even Linux does not repeat: references,
//! LRU, lazily freed pages, and when a disk file becomes clean.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use foliant_uapi::{Advice, MapFlags, Prot};

use super::world::{P, PAGE, RW, TestFile, World, addr, open, touch, try_map, vpn};
use crate::fault::Access;
use crate::{Mapping, Object, Residency, Resident, Space};
use foliant_units::VpnRange;

const AREA: u64 = 64;
const FILE_PAGES: u8 = 40;

/// What a step maps.
#[derive(Clone, Copy, Debug)]
enum What {
    Anonymous,
    Shmem,
    Disk,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64, u64, What, bool, Prot),
    Read(u64),
    Write(u64),
    Protect(u64, u64, Prot),
    Advise(u64, u64, Advice),
    Truncate(What, u64),
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn range(&mut self) -> (u64, u64) {
        let at = self.roll(AREA);
        let pages = 1 + self.roll((AREA - at).min(24));
        (at, pages)
    }

    fn prot(&mut self) -> Prot {
        [
            Prot::READ,
            RW,
            RW,
            Prot::empty(),
            Prot::READ | Prot::EXEC,
            Prot::WRITE,
        ][self.roll(6) as usize]
    }

    fn step(&mut self) -> Step {
        let (at, pages) = self.range();
        let what = [What::Anonymous, What::Shmem, What::Disk][self.roll(3) as usize];
        match self.roll(16) {
            0 | 1 => Step::Map(at, pages, what, self.roll(2) == 0, RW),
            2 | 3 => Step::Protect(at, pages, self.prot()),
            4 => Step::Advise(at, pages, Advice::DontNeed),
            5 => Step::Advise(at, pages, Advice::PopulateRead),
            6 => Step::Advise(at, pages, Advice::PopulateWrite),
            7 => Step::Advise(at, pages, Advice::GuardInstall),
            8 => Step::Advise(at, pages, Advice::GuardRemove),
            9 => Step::Truncate(what, self.roll(u64::from(FILE_PAGES) + 8) * PAGE),
            10..=12 => Step::Read(at),
            _ => Step::Write(at),
        }
    }
}

/// What is compared after each step.
#[derive(PartialEq, Debug)]
struct Seen {
    error: i32,
    faults: u64,
    smaps: BTreeMap<&'static str, u64>,
    mincore: Vec<bool>,
    pagemap: Vec<u64>,
    byte: Option<u8>,
}

const FIELDS: [&str; 9] = [
    "Rss",
    "Pss",
    "Pss_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Anonymous",
    "Swap",
];
const PRESENT: u64 = 1 << 63;
const FILE: u64 = 1 << 61;
const GUARD: u64 = 1 << 58;
const EXCLUSIVE: u64 = 1 << 56;

/// The live kernel.
struct Live {
    base: *mut u8,
    files: [OwnedFd; 2],
    /// Where other things are that a step must not touch.
    reserved: *mut libc::c_void,
}

const RESERVED: usize = 6 << 20;

impl Live {
    fn new() -> Self {
        // SAFETY: a new mapping where the kernel likes.
        let reserved = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                RESERVED,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(reserved, libc::MAP_FAILED);
        let base = (reserved as usize).next_multiple_of(2 << 20) + (1 << 20);
        let name = CString::new("live").expect("no zero inside");
        // SAFETY: the name is a string.
        let memfd = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(name.as_ptr(), 0)) };
        let path = std::env::temp_dir().join(std::format!("foliant-live-{}", std::process::id()));
        let disk = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let disk = disk.expect("a file");
        fs::remove_file(path).expect("it was there");
        for page in 0..u64::from(FILE_PAGES) {
            let bytes = [page as u8 + 1; PAGE as usize];
            disk.write_all_at(&bytes, page * PAGE).expect("written");
            fs::File::from(memfd.try_clone().expect("a descriptor"))
                .write_all_at(&bytes, page * PAGE)
                .expect("written");
        }
        disk.sync_all().expect("synced");
        Self {
            base: base as *mut u8,
            files: [memfd, disk.into()],
            reserved,
        }
    }

    fn at(&self, page: u64) -> *mut libc::c_void {
        self.base.wrapping_add((page * PAGE) as usize).cast()
    }

    fn file(&self, what: What) -> Option<i32> {
        match what {
            What::Anonymous => None,
            What::Shmem => Some(self.files[0].as_raw_fd()),
            What::Disk => Some(self.files[1].as_raw_fd()),
        }
    }

    fn step(&self, step: Step, allowed: bool) -> Seen {
        let before = minor_faults();
        let (error, byte) = self.run(step, allowed);
        let faults = minor_faults() - before;
        Seen {
            error,
            faults,
            smaps: self.smaps(),
            mincore: self.mincore(),
            pagemap: self.pagemap(),
            byte,
        }
    }

    fn run(&self, step: Step, allowed: bool) -> (i32, Option<u8>) {
        let bytes = |pages: u64| (pages * PAGE) as usize;
        let errno = || std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let result = match step {
            Step::Map(at, pages, what, shared, prot) => {
                let file = self.file(what);
                let anonymous = if file.is_none() { libc::MAP_ANONYMOUS } else { 0 };
                let how = if shared {
                    libc::MAP_SHARED
                } else {
                    libc::MAP_PRIVATE
                };
                let flags = how | libc::MAP_FIXED | anonymous;
                // SAFETY: replaces a part of our own area.
                let got = unsafe {
                    libc::mmap(
                        self.at(at),
                        bytes(pages),
                        prot.bits() as i32,
                        flags,
                        file.unwrap_or(-1),
                        0,
                    )
                };
                if got == libc::MAP_FAILED { -1 } else { 0 }
            }
            Step::Read(at) if allowed => {
                // SAFETY: the area is mapped, and this page allows it.
                let byte = unsafe { self.at(at).cast::<u8>().read_volatile() };
                return (0, Some(byte));
            }
            Step::Write(at) if allowed => {
                // SAFETY: as above.
                unsafe { self.at(at).cast::<u8>().write_volatile(0xee) };
                0
            }
            // The other machine got a signal. So would this one: the kernel tries for us.
            Step::Read(at) | Step::Write(at) => {
                let mut byte = [0_u8];
                let mine = libc::iovec {
                    iov_base: byte.as_mut_ptr().cast(),
                    iov_len: 1,
                };
                let there = libc::iovec {
                    iov_base: self.at(at),
                    iov_len: 1,
                };
                let copy = match step {
                    Step::Read(_) => libc::process_vm_readv,
                    _ => libc::process_vm_writev,
                };
                // SAFETY: both describe one byte; the other one may be missing.
                let result = unsafe { copy(libc::getpid(), &mine, 1, &there, 1, 0) };
                if result == 1 { 0 } else { -1 }
            }
            // SAFETY: our own area.
            Step::Protect(at, pages, prot) => unsafe {
                libc::mprotect(self.at(at), bytes(pages), prot.bits() as i32)
            },
            // SAFETY: our own area, whose contents are nobody's.
            Step::Advise(at, pages, advice) => unsafe {
                libc::madvise(self.at(at), bytes(pages), advice.raw() as i32)
            },
            Step::Truncate(what, size) => match self.file(what) {
                // SAFETY: our own file.
                Some(file) => unsafe { libc::ftruncate(file, size as i64) },
                None => 0,
            },
        };
        (if result == 0 { 0 } else { errno() }, None)
    }

    fn smaps(&self) -> BTreeMap<&'static str, u64> {
        let text = fs::read_to_string("/proc/self/smaps").expect("readable");
        let mut sums = BTreeMap::new();
        let mut inside = false;
        let area = self.base as usize..self.base as usize + (AREA * PAGE) as usize;
        for line in text.lines() {
            let word = line.split_whitespace().next().unwrap_or_default();
            if let Some((start, _)) = word.split_once('-') {
                inside = usize::from_str_radix(start, 16).is_ok_and(|start| area.contains(&start));
            } else if inside
                && let Some(field) = FIELDS.iter().find(|field| word.strip_suffix(':') == Some(field))
            {
                let kib: u64 = line
                    .split_whitespace()
                    .nth(1)
                    .and_then(|kib| kib.parse().ok())
                    .unwrap_or(0);
                *sums.entry(*field).or_insert(0) += kib;
            }
        }
        sums
    }

    fn mincore(&self) -> Vec<bool> {
        let mut vector = [0_u8; AREA as usize];
        // SAFETY: the vector has a byte for each page.
        let result = unsafe { libc::mincore(self.base.cast(), (AREA * PAGE) as usize, vector.as_mut_ptr()) };
        assert_eq!(result, 0);
        vector.iter().map(|byte| byte & 1 != 0).collect()
    }

    fn pagemap(&self) -> Vec<u64> {
        let file = fs::File::open("/proc/self/pagemap").expect("readable");
        let mut bytes = [0; AREA as usize * 8];
        file.read_exact_at(&mut bytes, self.base as u64 / PAGE * 8)
            .expect("read");
        let words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
        words
            .map(|word| word & (PRESENT | FILE | GUARD | EXCLUSIVE))
            .collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.reserved, RESERVED) };
    }
}

fn minor_faults() -> u64 {
    // SAFETY: plain data, filled by the call.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the pointer is good.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_minflt as u64
}

/// The machine under test.
struct Ours {
    space: Arc<Space<P>>,
    files: [Arc<Mapping<P>>; 2],
}

impl Ours {
    fn new(world: &World) -> Self {
        let disk = Object::file(&world.env, TestFile::of_pages(FILE_PAGES));
        let shmem = Object::shmem(&world.env, 0);
        for page in 0..u64::from(FILE_PAGES) {
            let bytes = [page as u8 + 1; PAGE as usize];
            shmem.write(page * PAGE, &bytes).expect("room");
            // The kernel's copy of the file is in memory from its making.
            disk.read(page * PAGE, &mut [0]).expect("there");
        }
        Self {
            space: world.space(),
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

    fn step(&self, step: Step) -> Seen {
        let before = self.space.count().minor_faults;
        let (error, byte) = self.run(step);
        let faults = self.space.count().minor_faults - before;
        self.space.audit(&mut |violation| panic!("{violation:?}"));
        let area = VpnRange::new(vpn(0), vpn(AREA));
        let mut mincore = Vec::new();
        let mut pagemap = Vec::new();
        let mut sums = Residency::default();
        for vma in &self.space.vmas() {
            sums = sums.plus(&self.space.residency(vma));
            self.space.view(vma, vma.range.intersect(area), |page| {
                mincore.push(page.frame.is_some() || page.cached);
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
        Seen {
            error,
            faults,
            smaps: kib(&sums),
            mincore,
            pagemap,
            byte,
        }
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
        };
        (result.map_or_else(|errno| errno.raw(), |()| 0), None)
    }
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

fn run(seed: u64, steps: usize) {
    let world = World::new(1024);
    let live = Live::new();
    let ours = Ours::new(&world);
    let mut dice = Dice(seed);
    let mut done = vec![Step::Map(0, AREA, What::Anonymous, false, RW)];
    // What a disk file gains is read from the disk, which takes major faults there.
    let mut disk = u64::from(FILE_PAGES) * PAGE;
    done.extend((0..steps).map(|_| match dice.step() {
        Step::Truncate(What::Disk, size) => {
            disk = disk.min(size);
            Step::Truncate(What::Disk, disk)
        }
        step => step,
    }));
    for at in 0..done.len() {
        let here = ours.step(done[at]);
        let allowed = here.error != libc::EFAULT;
        let there = live.step(done[at], allowed);
        assert!(
            here == there,
            "seed {seed}, after\n{}\nours: {here:?}\nlive: {there:?}",
            done[..=at]
                .iter()
                .map(|step| std::format!("  {step:?}\n"))
                .collect::<std::string::String>()
        );
    }
    drop(ours);
    world.check();
}

#[test]
fn random_steps_look_the_same_on_linux() {
    for seed in 1..=std::env::var("FOLIANT_SEEDS").map_or(20, |seeds| seeds.parse().unwrap_or(20)) {
        run(seed, 40);
    }
}
