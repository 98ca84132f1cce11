//! A small machine with one space, and what a program would do in it.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use foliant_phys::testing;
use foliant_phys::{BootOptions, Phys};
use foliant_platform::testing::TestPlatform;
use foliant_uapi::mman::Seals;
use foliant_uapi::{MapFlags, Prot};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, Vpn};

use crate::fault::{Access, Fault, FaultError, Outcome};
use crate::{
    Env, FileBacking, FileLabel, FileMap, FilePlacement, Growth, Layout, Limits, MapRequest, Mapping, Object,
    Randomness, Space,
};

pub(super) type P = TestPlatform;

/// Where tests map things: far from each other, aligned to a table.
pub(super) const BASE: u64 = 0x1000_0000;
pub(super) const PAGE: u64 = PAGE_SIZE as u64;

/// A machine of its own for each test. `check` audits and finds leaks.
pub(super) struct World {
    pub(super) phys: Arc<Phys<P>>,
    pub(super) env: Arc<Env<P>>,
}

impl World {
    pub(super) fn new(frames: u64) -> Self {
        Self::with_cpus(frames, 1)
    }

    pub(super) fn with_cpus(frames: u64, cpus: u32) -> Self {
        let phys = testing::boot_with(frames, cpus, BootOptions::test());
        let env = Env::new(phys.clone()).expect("a frame of zeroes");
        Self { phys, env }
    }

    pub(super) fn space(&self) -> Arc<Space<P>> {
        let layout = Layout::new(8 << 20, Growth::TopDown, Randomness::None);
        Space::new(&self.env, layout, Limits::default()).expect("a space")
    }

    /// Everything that was made is gone: nothing may be left but the frame of zeroes.
    pub(super) fn check(self) {
        assert_eq!(testing::audit(&self.phys).allocated, 1, "frames leaked");
        drop(self.env);
        testing::assert_all_free(&self.phys);
    }
}

/// Maps `pages` at `BASE + at * PAGE`.
pub(super) fn map(
    space: &Space<P>,
    at: u64,
    pages: u64,
    prot: Prot,
    how: MapFlags,
    file: Option<&Arc<Mapping<P>>>,
) {
    try_map(space, at, pages, prot, how, file).expect("mmap");
}

pub(super) fn try_map(
    space: &Space<P>,
    at: u64,
    pages: u64,
    prot: Prot,
    how: MapFlags,
    file: Option<&Arc<Mapping<P>>>,
) -> Result<VirtAddr, Errno> {
    let anonymous = if file.is_none() {
        MapFlags::ANONYMOUS
    } else {
        MapFlags::empty()
    };
    space.mmap(&MapRequest {
        addr: addr(at),
        len: pages * PAGE,
        prot,
        flags: how | MapFlags::FIXED | anonymous,
        offset: 0,
        file: file.map(|mapping| FileMap {
            mapping: mapping.clone(),
            readable: true,
            writable: true,
            noexec: false,
            append_only: false,
            mappable: true,
            refuses_sync: true,
            placement: FilePlacement::Ordinary,
            max_bytes: i64::MAX as u64,
            seals: Seals::empty(),
        }),
    })
}

pub(super) const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Byte address of a page of the test's area.
pub(super) const fn addr(at: u64) -> VirtAddr {
    VirtAddr::new(BASE + at * PAGE)
}

pub(super) fn vpn(at: u64) -> Vpn {
    addr(at).page()
}

/// What a program does: tries, and faults until it succeeds. Returns the
/// outcomes of its faults.
pub(super) fn touch(space: &Space<P>, at: VirtAddr, access: Access) -> Result<Vec<Outcome>, FaultError> {
    let mut outcomes = Vec::new();
    while !allowed(space, at, access) {
        let resolved = space.fault(Fault {
            addr: at,
            access,
            user: true,
        })?;
        outcomes.push(resolved.outcome);
        assert!(outcomes.len() < 4, "it faults for ever: {outcomes:?}");
    }
    Ok(outcomes)
}

fn allowed(space: &Space<P>, at: VirtAddr, access: Access) -> bool {
    let entry = space.tables().get(at.page());
    entry.is_present()
        && match access {
            Access::Read => true,
            Access::Write => entry.is_writable(),
            Access::Execute => entry.is_executable(),
        }
}

/// Stores a byte at the start of a page, with the faults that takes.
pub(super) fn write(space: &Space<P>, at: u64, byte: u8) -> Vec<Outcome> {
    let outcomes = touch(space, addr(at), Access::Write).expect("writable");
    space.copy_out(addr(at), &[byte]).expect("it was there");
    outcomes
}

/// Loads the byte at the start of a page, with the faults that takes.
pub(super) fn read(space: &Space<P>, at: u64) -> (u8, Vec<Outcome>) {
    let outcomes = touch(space, addr(at), Access::Read).expect("readable");
    (peek(space, at), outcomes)
}

/// The byte at the start of a page.
pub(super) fn peek(space: &Space<P>, at: u64) -> u8 {
    let mut byte = [0];
    space.copy_in(addr(at), &mut byte).expect("readable");
    byte[0]
}

/// The resident counts, after an audit.
pub(super) fn rss(space: &Space<P>) -> (u64, u64, u64) {
    space.audit(&mut |violation| panic!("{violation:?}"));
    let rss = space.count().rss;
    (rss.anon, rss.file, rss.shmem)
}

/// A file in the test's own memory.
#[derive(Default)]
pub(super) struct TestFile {
    bytes: Mutex<Vec<u8>>,
}

impl TestFile {
    /// A file of `pages`, each filled with its number plus one.
    pub(super) fn of_pages(pages: u8) -> Arc<Self> {
        let bytes = (1..=pages).flat_map(|number| [number; PAGE_SIZE]).collect();
        Arc::new(Self {
            bytes: Mutex::new(bytes),
        })
    }

    pub(super) fn byte(&self, offset: u64) -> u8 {
        self.bytes.lock().expect("sane")[offset as usize]
    }

    /// A change that the machine does not see.
    pub(super) fn poke(&self, offset: u64, byte: u8) {
        self.bytes.lock().expect("sane")[offset as usize] = byte;
    }
}

impl FileBacking for TestFile {
    fn size(&self) -> u64 {
        self.bytes.lock().expect("sane").len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.bytes.lock().expect("sane");
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut bytes = self.bytes.lock().expect("sane");
        let end = offset as usize + from.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(from);
        Ok(from.len())
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.bytes.lock().expect("sane").resize(size as usize, 0);
        Ok(())
    }

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        Ok(())
    }
}

struct Name;

impl FileLabel for Name {
    fn device(&self) -> (u32, u32) {
        (8, 1)
    }
    fn inode(&self) -> u64 {
        42
    }
    fn write_path(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        out.write_str("/file")
    }
}

/// An open file over an object.
pub(super) fn open(object: &Arc<Object<P>>) -> Arc<Mapping<P>> {
    Arc::new(Mapping {
        object: object.clone(),
        label: Arc::new(Name),
    })
}
