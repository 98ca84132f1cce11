//! Telling files apart, and reading memory from them.

use std::ops::ControlFlow;
use std::path::Path;

use foliant_arch::EntryMemory;
use foliant_units::PhysAddr;

use super::bytes::Bytes;
use super::cpu::Cpu;
use super::error::ImageError;
use super::extents::{Extent, Extents, RamRange};
use super::fields::slice;
use super::kdump::{self, Parts};
use super::{elf, lime};
use crate::vmcoreinfo::Vmcoreinfo;

/// Bytes that are looked at together.
const PAGE: usize = 4096;

/// What a file turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An ELF core.
    ElfCore,
    /// A kdump compressed file.
    Kdump,
    /// The same, flattened.
    FlattenedKdump,
    /// LiME.
    Lime,
    /// Nothing but memory, from address zero.
    Raw,
}

/// The processor of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// 32 bits.
    X86,
    /// 64 bits.
    X86_64,
    /// 64 bits.
    Arm64,
    /// The file does not say.
    Unknown,
}

/// What the readers of the formats find.
pub(crate) struct Opened {
    pub(crate) extents: Option<Extents>,
    pub(crate) machine: Machine,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) vmcoreinfo: Option<Vmcoreinfo>,
}

enum Memory {
    /// As it is, somewhere in the file.
    Plain(Extents),
    /// Page by page, packed.
    Packed(Box<Parts>),
}

/// An image of a machine's memory.
pub struct Image {
    bytes: Bytes,
    memory: Memory,
    kind: Kind,
    machine: Machine,
    cpus: Vec<Cpu>,
    vmcoreinfo: Option<Vmcoreinfo>,
}

impl Image {
    /// Opens the file at `path` as what it is.
    ///
    /// # Errors
    /// If it cannot be opened, or is damaged.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::read_from(Bytes::map(path)?)
    }

    /// As [`open`](Self::open), from memory.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ImageError> {
        Self::read_from(Bytes::Owned(bytes))
    }

    fn read_from(bytes: Bytes) -> Result<Self, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Truncated("first byte"));
        }
        let (kind, opened, memory) = if bytes.starts_with(b"\x7fELF") {
            let mut opened = elf::open(&bytes)?;
            let extents = opened.extents.take().ok_or(ImageError::Nonsense("ELF headers"))?;
            (Kind::ElfCore, opened, Memory::Plain(extents))
        } else if bytes.starts_with(&lime::MAGIC) {
            (Kind::Lime, Opened::unknown(), Memory::Plain(lime::open(&bytes)?))
        } else if kdump::is_kdump(&bytes) {
            return Self::put_together(vec![bytes]);
        } else {
            let whole = Extent {
                start: 0,
                len: bytes.len() as u64,
                offset: 0,
            };
            let extents = Extents::new(vec![whole], bytes.len() as u64)?;
            (Kind::Raw, Opened::unknown(), Memory::Plain(extents))
        };
        Ok(Self::with(bytes, kind, opened, memory))
    }

    /// Opens the files of a dump that was split.
    ///
    /// # Errors
    /// If one cannot be opened, is damaged, or is no part of one dump with the others.
    pub fn open_parts(paths: &[impl AsRef<Path>]) -> Result<Self, ImageError> {
        if let [path] = paths {
            return Self::open(path.as_ref());
        }
        let files = paths.iter().map(|path| Ok(Bytes::map(path.as_ref())?));
        let files = files.collect::<Result<Vec<_>, ImageError>>()?;
        if !files.iter().all(|bytes| kdump::is_kdump(bytes)) {
            return Err(ImageError::Unsupported("several files that are no split kdump"));
        }
        Self::put_together(files)
    }

    /// The parts of a kdump file, or the only one.
    fn put_together(files: Vec<Bytes>) -> Result<Self, ImageError> {
        let (mut parts, mut all) = (Vec::new(), Vec::new());
        for bytes in files {
            let (pages, opened) = kdump::open(&bytes)?;
            parts.push((bytes, pages));
            all.push(opened);
        }
        // Every part has the headers of the whole, but some may lack its notes.
        all.sort_by_key(|opened| opened.cpus.is_empty());
        let mut all = all.into_iter();
        let Some(mut opened) = all.next() else {
            return Err(ImageError::Nonsense("parts"));
        };
        for other in all {
            if other.machine != opened.machine {
                return Err(ImageError::Nonsense("parts"));
            }
            opened.vmcoreinfo = opened.vmcoreinfo.or(other.vmcoreinfo);
        }
        let parts = Parts::new(parts)?;
        let kind = if parts.is_flattened() {
            Kind::FlattenedKdump
        } else {
            Kind::Kdump
        };
        let none = Bytes::Owned(Vec::new());
        Ok(Self::with(none, kind, opened, Memory::Packed(Box::new(parts))))
    }

    fn with(bytes: Bytes, kind: Kind, opened: Opened, memory: Memory) -> Self {
        let mut image = Self {
            bytes,
            memory,
            kind,
            machine: opened.machine,
            cpus: opened.cpus,
            vmcoreinfo: opened.vmcoreinfo,
        };
        if image.vmcoreinfo.is_none() {
            image.vmcoreinfo = image.search_vmcoreinfo();
        }
        image
    }

    /// What the file is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The processor, as far as the file says.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The registers of the processors, if the file has them.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// What the kernel says of itself, in a note or somewhere in memory.
    pub fn vmcoreinfo(&self) -> Option<&Vmcoreinfo> {
        self.vmcoreinfo.as_ref()
    }

    /// The memory there is, in ascending order.
    pub fn ram(&self) -> Vec<RamRange> {
        match &self.memory {
            Memory::Plain(extents) => extents.ranges().collect(),
            Memory::Packed(pages) => pages.ranges(),
        }
    }

    /// Frames of memory there are; tables cannot be more than that.
    pub fn frames(&self) -> u64 {
        self.ram().iter().map(|range| range.len.div_ceil(4096)).sum()
    }

    /// Copies memory from `at` on.
    ///
    /// # Errors
    /// If there is no memory somewhere, or a page does not unpack.
    pub fn read(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), ImageError> {
        match &self.memory {
            Memory::Plain(extents) => self.read_plain(extents, at, into),
            Memory::Packed(parts) => parts.read(at, into),
        }
    }

    /// Stretches of memory that touch may lie apart in the file.
    fn read_plain(&self, extents: &Extents, at: PhysAddr, mut into: &mut [u8]) -> Result<(), ImageError> {
        let mut at = at.raw();
        while !into.is_empty() {
            let missing = || ImageError::NoMemory(PhysAddr::new(at));
            let (offset, room) = extents.piece(at).ok_or_else(missing)?;
            let len = room.min(into.len() as u64);
            let (now, rest) = into.split_at_mut(len as usize);
            now.copy_from_slice(slice(&self.bytes, offset, len).ok_or_else(missing)?);
            (into, at) = (rest, at.saturating_add(len));
        }
        Ok(())
    }

    /// Shows `visit` all memory in ascending order, in pieces of whole pages
    /// where memory has them, until it finds something.
    pub fn search<R>(&self, mut visit: impl FnMut(PhysAddr, &[u8]) -> Option<R>) -> Option<R> {
        let mut page = Vec::new();
        for range in self.ram() {
            if let Memory::Plain(extents) = &self.memory {
                let offset = extents.find(range.start.raw(), range.len)?;
                let found = visit(range.start, slice(&self.bytes, offset, range.len)?);
                if found.is_some() {
                    return found;
                }
                continue;
            }
            for at in (0..range.len).step_by(PAGE) {
                page.resize(PAGE.min((range.len - at) as usize), 0);
                // A page that does not unpack holds nothing.
                if self.read(range.start + at, &mut page).is_ok() {
                    let found = visit(range.start + at, &page);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    /// The text stands at the beginning of a page that the kernel took for it.
    fn search_vmcoreinfo(&self) -> Option<Vmcoreinfo> {
        const BEGIN: &[u8] = b"OSRELEASE=";
        self.search(|at, memory| {
            let skip = at.raw().wrapping_neg() % PAGE as u64;
            let pages = memory
                .get(usize::try_from(skip).ok()?..)
                .unwrap_or_default()
                .chunks_exact(PAGE);
            let mut infos = pages
                .filter(|page| page.starts_with(BEGIN))
                .map(Vmcoreinfo::parse);
            infos.find(|info| info.symbol("_stext").is_some())
        })
    }
}

impl Opened {
    fn unknown() -> Self {
        Self {
            extents: None,
            machine: Machine::Unknown,
            cpus: Vec::new(),
            vmcoreinfo: None,
        }
    }
}

fn word(bytes: &[u8]) -> u64 {
    match *bytes {
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => !0,
    }
}

/// Words that are not there read as all ones; nothing is ever written.
impl EntryMemory for Image {
    #[inline]
    fn load(&self, at: PhysAddr, bytes: u64) -> u64 {
        if let Memory::Plain(extents) = &self.memory {
            let found = extents.find(at.raw(), bytes);
            let found = found.and_then(|offset| slice(&self.bytes, offset, bytes));
            return found.map_or(!0, word);
        }
        let mut copy = [0; 8];
        let copy = &mut copy[..if bytes == 4 { 4 } else { 8 }];
        self.read(at, copy).map_or(!0, |()| word(copy))
    }

    fn compare_exchange(&self, _at: PhysAddr, _bytes: u64, _old: u64, _new: u64) -> Result<(), u64> {
        Ok(())
    }

    fn has(&self, at: PhysAddr, bytes: u64) -> bool {
        match &self.memory {
            Memory::Plain(extents) => extents.find(at.raw(), bytes).is_some(),
            Memory::Packed(parts) => parts.has(at, bytes),
        }
    }

    fn for_each<B>(
        &self,
        at: PhysAddr,
        bytes: u64,
        count: usize,
        mut each: impl FnMut(usize, u64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let len = bytes * count as u64;
        let mut copy = Vec::new();
        let table = match &self.memory {
            Memory::Plain(extents) => extents
                .find(at.raw(), len)
                .and_then(|offset| slice(&self.bytes, offset, len)),
            Memory::Packed(_) => {
                copy.resize(len as usize, 0);
                self.read(at, &mut copy).ok().map(|()| copy.as_slice())
            }
        };
        let Some(table) = table else {
            return ControlFlow::Continue(());
        };
        if bytes == 4 {
            let (words, _) = table.as_chunks::<4>();
            for (index, &entry) in words.iter().enumerate() {
                each(index, u32::from_le_bytes(entry).into())?;
            }
        } else {
            let (words, _) = table.as_chunks::<8>();
            for (index, &entry) in words.iter().enumerate() {
                each(index, u64::from_le_bytes(entry))?;
            }
        }
        ControlFlow::Continue(())
    }
}
