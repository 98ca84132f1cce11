//! Finding and unpacking the page of a frame.

use std::ops::Range;
use std::sync::Mutex;

use foliant_units::PhysAddr;

use super::codec::unpack;
use super::flattened::{self, Pieces};
use super::header::{Header, MAGIC, OLD_MAGIC};
use super::source::Source;
use crate::image::Opened;
use crate::image::elf::read_notes;
use crate::image::error::ImageError;
use crate::image::extents::RamRange;
use crate::image::fields::Fields;
use crate::vmcoreinfo::Vmcoreinfo;

/// Bytes of a descriptor: offset, size, flags, page flags.
const DESCRIPTOR: u64 = 24;
/// Unpacked pages that are kept, by the low bits of their frame.
const KEPT: usize = 256;
/// Frames whose kept ones are counted together.
const GROUP: u64 = 4096;
/// VMCOREINFO and notes longer than this are nonsense.
const MOST_NOTES: u64 = 1 << 24;

/// A frame and its page.
type Unpacked = (u64, Box<[u8]>);

/// The pages of a dump file.
pub(crate) struct Pages {
    source: Source,
    block: u64,
    descriptors: u64,
    frames: u64,
    /// The frames whose pages are here; the bitmap is that of all parts.
    part: Option<Range<u64>>,
    /// A bit per frame that is kept.
    bitmap: Vec<u8>,
    /// Frames kept before each group.
    before: Vec<u64>,
    kept: Mutex<Vec<Option<Unpacked>>>,
}

/// Whether a file begins like a dump file.
pub(crate) fn is_kdump(bytes: &[u8]) -> bool {
    [MAGIC, OLD_MAGIC, flattened::MAGIC]
        .iter()
        .any(|magic| bytes.starts_with(magic))
}

/// Opens a dump file.
pub(crate) fn open(bytes: &[u8]) -> Result<(Pages, Opened), ImageError> {
    let source = if bytes.starts_with(flattened::MAGIC) {
        Source::Flattened(Pieces::index(bytes)?)
    } else {
        Source::Straight
    };
    let magic = source.copy(bytes, 0, 8, "kdump header")?;
    if magic != MAGIC && magic != OLD_MAGIC {
        return Err(ImageError::Nonsense("kdump headers"));
    }
    let header = Header::read(&source, bytes)?;
    let (at, len) = header.bitmap;
    let bitmap = source.copy(bytes, at, len, "bitmap")?;
    let mut opened = Opened {
        extents: None,
        machine: header.machine,
        cpus: Vec::new(),
        vmcoreinfo: None,
    };
    let text = |(at, len)| {
        if len > MOST_NOTES {
            return Err(ImageError::Nonsense("kdump headers"));
        }
        source.copy(bytes, at, len, "notes")
    };
    if header.vmcoreinfo.1 != 0 {
        opened.vmcoreinfo = Some(Vmcoreinfo::parse(&text(header.vmcoreinfo)?));
    }
    read_notes(&text(header.notes)?, &mut opened)?;
    let pages = Pages {
        before: count(&bitmap),
        source,
        block: header.block,
        descriptors: header.descriptors,
        frames: header.frames,
        part: header.part,
        bitmap,
        kept: Mutex::new(vec![None; KEPT]),
    };
    Ok((pages, opened))
}

fn ones(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

fn count(bitmap: &[u8]) -> Vec<u64> {
    let mut sum = 0;
    bitmap
        .chunks(GROUP as usize / 8)
        .map(|group| {
            let before = sum;
            sum += ones(group);
            before
        })
        .collect()
}

impl Pages {
    pub(crate) fn is_flattened(&self) -> bool {
        matches!(self.source, Source::Flattened(_))
    }

    fn is_kept(&self, frame: u64) -> bool {
        let byte = self.bitmap.get((frame / 8) as usize);
        let here = self.part.as_ref().is_none_or(|part| part.contains(&frame));
        here && frame < self.frames && byte.is_some_and(|byte| byte >> (frame % 8) & 1 != 0)
    }

    /// The frames of this file, if it is a part of a dump.
    pub(crate) fn part(&self) -> Option<&Range<u64>> {
        self.part.as_ref()
    }

    /// One past the highest frame of the whole dump.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes of a page.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// Which of the kept frames of this file `frame` is.
    fn rank(&self, frame: u64) -> Option<u64> {
        if !self.is_kept(frame) {
            return None;
        }
        let first = self.part.as_ref().map_or(0, |part| self.kept_before(part.start));
        self.kept_before(frame).checked_sub(first)
    }

    /// Kept frames of all parts below one that has a bit.
    fn kept_before(&self, frame: u64) -> u64 {
        let group = frame / GROUP;
        let from = (group * GROUP / 8) as usize;
        let byte = (frame / 8) as usize;
        let in_byte = self.bitmap[byte] & ((1 << (frame % 8)) - 1);
        self.before[group as usize] + ones(&self.bitmap[from..byte]) + u64::from(in_byte.count_ones())
    }

    /// Calls `show` with the unpacked page of `frame`.
    fn with_page<R>(&self, bytes: &[u8], frame: u64, show: impl FnOnce(&[u8]) -> R) -> Result<R, ImageError> {
        // A panic elsewhere leaves pages that are whole or absent.
        let mut kept = self.kept.lock().unwrap_or_else(|poison| poison.into_inner());
        let place = &mut kept[frame as usize % KEPT];
        if let Some((at, page)) = place
            && *at == frame
        {
            return Ok(show(page));
        }
        let page = self.unpack(bytes, frame)?;
        let shown = show(&page);
        *place = Some((frame, page));
        Ok(shown)
    }

    fn unpack(&self, bytes: &[u8], frame: u64) -> Result<Box<[u8]>, ImageError> {
        let at = PhysAddr::new(frame.wrapping_mul(self.block));
        let rank = self.rank(frame).ok_or(ImageError::NoMemory(at))?;
        let place = self.descriptors.saturating_add(rank * DESCRIPTOR);
        let copy = self.source.copy(bytes, place, DESCRIPTOR, "descriptors")?;
        let fields = Fields {
            bytes: &copy,
            what: "descriptors",
        };
        let (offset, size, flags) = (fields.u64(0)?, fields.u32(8)?, fields.u32(12)?);
        // Packing makes no page longer.
        if u64::from(size) > self.block {
            return Err(ImageError::BadPage(at));
        }
        let packed = self.source.copy(bytes, offset, size.into(), "pages")?;
        let mut page = vec![0; self.block as usize];
        unpack(flags, &packed, &mut page).ok_or(ImageError::BadPage(at))?;
        Ok(page.into())
    }

    pub(crate) fn read(&self, bytes: &[u8], at: PhysAddr, mut into: &mut [u8]) -> Result<(), ImageError> {
        let mut at = at.raw();
        while !into.is_empty() {
            let inside = at % self.block;
            let len = (self.block - inside).min(into.len() as u64) as usize;
            let (now, rest) = into.split_at_mut(len);
            let from = inside as usize..inside as usize + len;
            self.with_page(bytes, at / self.block, |page| now.copy_from_slice(&page[from]))?;
            into = rest;
            at = at.wrapping_add(len as u64);
        }
        Ok(())
    }

    /// Whether all of it is kept and unpacks.
    pub(crate) fn has(&self, bytes: &[u8], at: PhysAddr, len: u64) -> bool {
        let first = at.raw() / self.block;
        let last = at.raw().saturating_add(len.max(1) - 1) / self.block;
        (first..=last).all(|frame| self.with_page(bytes, frame, |_| ()).is_ok())
    }

    pub(crate) fn ranges(&self) -> Vec<RamRange> {
        let mut ranges: Vec<RamRange> = Vec::new();
        let all = 0..self.frames;
        let part = self.part.clone().unwrap_or(all.clone());
        let inside = part.start..part.end.min(all.end);
        for frame in inside.filter(|&frame| self.is_kept(frame)) {
            let start = frame * self.block;
            match ranges.last_mut() {
                Some(last) if last.start.raw() + last.len == start => last.len += self.block,
                _ => ranges.push(RamRange {
                    start: PhysAddr::new(start),
                    len: self.block,
                }),
            }
        }
        ranges
    }
}
