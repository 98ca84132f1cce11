//! Files that all CPUs map, and that their owners store to, write, cut, extend
//! and sync.

use std::fmt;
use std::sync::{Arc, Mutex};

use foliant_mm::{Env, FileBacking, FileLabel, FileMap, FilePlacement, MapRequest, Mapping, Object};
use foliant_soft::{Running, SoftMachine};
use foliant_uapi::mman::Seals;
use foliant_uapi::{MapFlags, MsyncFlags, Prot};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, Vpn};

use crate::model::{Expected, Region, Rights};
use crate::program::{Doing, Outcome, Program, check_load, check_store, during, persist};
use crate::world::Soft;

/// Pages of a file that has its full size.
pub(crate) const PAGES: usize = 24;
const BASE: u64 = 0x40_0000;
/// From a shared mapping to the private one of the same file.
const PRIVATE: u64 = 0x1_0000;
const PAGE: u64 = PAGE_SIZE as u64;

/// A file's bytes, outside of the machine.
#[derive(Default)]
struct Disk(Mutex<Vec<u8>>);

impl FileBacking for Disk {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.0.lock().unwrap();
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut bytes = self.0.lock().unwrap();
        let end = offset as usize + from.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(from);
        Ok(from.len())
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.0.lock().unwrap().resize(size as usize, 0);
        Ok(())
    }

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        Ok(())
    }
}

struct Name(u64);

impl FileLabel for Name {
    fn device(&self) -> (u32, u32) {
        (8, 1)
    }

    fn inode(&self) -> u64 {
        self.0
    }

    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "/file{}", self.0)
    }
}

/// One CPU's file.
pub(crate) struct File {
    disk: Arc<Disk>,
    object: Arc<Object<SoftMachine>>,
    /// What its pages must show.
    pub(crate) region: Region,
}

fn place(file: usize, page: usize, private: bool) -> VirtAddr {
    let view = if private { PRIVATE } else { 0 };
    Vpn::new(BASE + view + (file * PAGES + page) as u64).base()
}

impl File {
    /// A full file of zeroes, mapped twice in `space`.
    pub(crate) fn new(env: &Arc<Env<SoftMachine>>, space: &Soft, number: usize) -> Self {
        let disk = Arc::new(Disk(Mutex::new(vec![0; PAGES * PAGE_SIZE])));
        let object = Object::file(env, disk.clone());
        let label = Arc::new(Name(number as u64));
        let mapping = Arc::new(Mapping {
            object: object.clone(),
            label,
        });
        let shared = request(
            &mapping,
            place(number, 0, false),
            Prot::READ_WRITE,
            MapFlags::SHARED,
        );
        space.mmap(&shared).unwrap();
        let private = request(&mapping, place(number, 0, true), Prot::READ, MapFlags::PRIVATE);
        space.mmap(&private).unwrap();
        let region = Region::new(PAGES);
        region.change(0..PAGES, |_| Expected::fresh(Rights::ReadWrite), || ());
        Self { disk, object, region }
    }

    /// Every page of the file below must be as the model says.
    fn check_disk(&self) -> Outcome {
        let bytes = self.disk.0.lock().unwrap();
        for (page, on_disk) in bytes.chunks(PAGE_SIZE).enumerate() {
            let word = u64::from_ne_bytes(on_disk[..8].try_into().unwrap());
            let expected = self.region.get(page);
            if word != expected.value() {
                return Err(format!(
                    "page {page} was synced as {word:x}, expected {expected:x?}"
                ));
            }
        }
        Ok(())
    }
}

fn request(
    mapping: &Arc<Mapping<SoftMachine>>,
    addr: VirtAddr,
    prot: Prot,
    flags: MapFlags,
) -> MapRequest<SoftMachine> {
    let file = FileMap {
        mapping: mapping.clone(),
        readable: true,
        writable: true,
        noexec: false,
        append_only: false,
        mappable: true,
        refuses_sync: false,
        placement: FilePlacement::Ordinary,
        max_bytes: u64::MAX >> 1,
        seals: Seals::empty(),
    };
    let len = PAGES as u64 * PAGE;
    MapRequest {
        addr,
        len,
        prot,
        flags: flags | MapFlags::FIXED,
        offset: 0,
        file: Some(file),
    }
}

impl Program<'_> {
    /// Does something with a file.
    pub(crate) fn use_file(&mut self, running: &Running<'_, Soft>) -> Outcome {
        match self.numbers.below(16) {
            0..5 => self.store_to_file(running),
            5..7 => self.write_file(),
            7 => self.resize(),
            8..10 => self.sync(),
            _ => self.peek_at_file(running),
        }
    }

    fn store_to_file(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let file = &self.world.files[self.me];
        let page = self.numbers.below(PAGES);
        let (expected, value) = (file.region.get(page), self.fresh_value());
        let at = place(self.me, page, false);
        let after = |page: Expected| {
            if page.is_writable() {
                page.with_value(value)
            } else {
                page
            }
        };
        let store = || during(Doing::Storing, || persist(|| running.write_u64(at, value)));
        let result = file.region.change(page..page + 1, after, store);
        check_store(result, expected).map_err(|why| format!("store to page {page} of a file: {why}"))
    }

    /// `write(2)`, of pages that the file has.
    fn write_file(&mut self) -> Outcome {
        let file = &self.world.files[self.me];
        let (page, value) = (self.numbers.below(PAGES), self.fresh_value());
        if !file.region.get(page).is_mapped() {
            return Ok(());
        }
        let write = || persist(|| file.object.write(page as u64 * PAGE, &value.to_ne_bytes()));
        let result = file
            .region
            .change(page..page + 1, |page| page.with_value(value), write);
        result.map(drop).map_err(|errno| format!("write: {errno:?}"))
    }

    fn resize(&mut self) -> Outcome {
        let file = &self.world.files[self.me];
        let size = self.numbers.below(PAGES + 1);
        let old = file.region.mapped(0..PAGES).end;
        let resize = || {
            during(Doing::Resizing, || {
                persist(|| file.object.set_size(size as u64 * PAGE))
            })
        };
        let result = if size < old {
            file.region.change(size..old, |_| Expected::NOTHING, resize)
        } else {
            file.region
                .change(old..size, |_| Expected::fresh(Rights::ReadWrite), resize)
        };
        result.map_err(|errno| format!("ftruncate: {errno:?}"))
    }

    /// `msync(2)`: afterwards the file below has what was stored.
    fn sync(&mut self) -> Outcome {
        let (at, len) = (place(self.me, 0, false), PAGES as u64 * PAGE);
        let space = &self.world.space;
        during(Doing::Syncing, || {
            persist(|| space.msync(at, len, MsyncFlags::SYNC))
        })
        .map_err(|errno| format!("msync: {errno:?}"))?;
        self.world.files[self.me].check_disk()
    }

    /// Looks at somebody's file, which may be changing, through one of its mappings.
    pub(crate) fn peek_at_file(&mut self, running: &Running<'_, Soft>) -> Outcome {
        let (number, page) = (
            self.numbers.below(self.world.files.len()),
            self.numbers.below(PAGES),
        );
        let private = self.numbers.below(2) == 0;
        let region = &self.world.files[number].region;
        let before = region.look(page);
        let found = persist(|| running.read_u64(place(number, page, private)));
        match (before, region.look(page)) {
            (Some(before), Some(after)) if before == after => check_load(found, after)
                .map_err(|why| format!("page {page} of file {number}, private: {private}: {why}")),
            _ => Ok(()),
        }
    }
}
