//! The headers of a dump file.

use std::ops::Range;

use super::source::Source;
use crate::image::Machine;
use crate::image::error::ImageError;
use crate::image::fields::Fields;

pub(super) const MAGIC: &[u8] = b"KDUMP   ";
pub(super) const OLD_MAGIC: &[u8] = b"DISKDUMP";

/// Where `uname -m` stands: fifth of six names of 65 bytes.
const MACHINE_AT: usize = 12 + 4 * 65;
/// The first header fits into this.
const HEAD: u64 = 444;
/// The sub-header as far as it is read.
const SUB: u64 = 104;

/// What the headers say.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) machine: Machine,
    pub(super) block: u64,
    /// Where the bitmap of kept frames begins, and its bytes.
    pub(super) bitmap: (u64, u64),
    /// Where the descriptors begin.
    pub(super) descriptors: u64,
    /// One past the highest frame.
    pub(super) frames: u64,
    /// Where VMCOREINFO stands, and its length.
    pub(super) vmcoreinfo: (u64, u64),
    /// Where notes stand, and their length.
    pub(super) notes: (u64, u64),
    /// The frames of this file, if it is a part of a dump.
    pub(super) part: Option<Range<u64>>,
}

/// Places of fields that differ between 32 and 64 bits.
struct Places {
    block: u64,
    sub_blocks: u64,
    bitmap_blocks: u64,
    frames: u64,
    split: u64,
    /// First frame of a part, and one past its last; again with 64 bits.
    start: u64,
    end: u64,
    wide_start: u64,
    wide_end: u64,
    vmcoreinfo: u64,
    vmcoreinfo_len: u64,
    notes: u64,
    notes_len: u64,
    wide_frames: u64,
    wide: bool,
}

const PLACES_64: Places = Places {
    block: 428,
    sub_blocks: 432,
    bitmap_blocks: 436,
    frames: 440,
    split: 12,
    start: 16,
    end: 24,
    wide_start: 80,
    wide_end: 88,
    vmcoreinfo: 32,
    vmcoreinfo_len: 40,
    notes: 48,
    notes_len: 56,
    wide_frames: 96,
    wide: true,
};

const PLACES_32: Places = Places {
    block: 416,
    sub_blocks: 420,
    bitmap_blocks: 424,
    frames: 428,
    split: 8,
    start: 12,
    end: 16,
    wide_start: 56,
    wide_end: 64,
    vmcoreinfo: 20,
    vmcoreinfo_len: 28,
    notes: 32,
    notes_len: 40,
    wide_frames: 72,
    wide: false,
};

impl Header {
    pub(super) fn read(source: &Source, bytes: &[u8]) -> Result<Self, ImageError> {
        let head = source.copy(bytes, 0, HEAD, "kdump header")?;
        let head = Fields {
            bytes: &head,
            what: "kdump header",
        };
        let machine = machine(head.bytes)?;
        let places = if machine == Machine::X86 {
            PLACES_32
        } else {
            PLACES_64
        };
        let nonsense = || ImageError::Nonsense("kdump headers");
        let block = u64::from(head.u32(places.block)?);
        if !block.is_power_of_two() || !(4096..=65536).contains(&block) {
            return Err(nonsense());
        }
        let sub_blocks = u64::from(head.u32(places.sub_blocks)?);
        let bitmap_blocks = u64::from(head.u32(places.bitmap_blocks)?);
        let version = head.u32(8)?;

        let sub = source.copy(bytes, block, SUB, "kdump sub-header")?;
        let sub = Fields {
            bytes: &sub,
            what: "kdump sub-header",
        };
        let length = |at| {
            if places.wide {
                sub.u64(at)
            } else {
                sub.u32(at).map(u64::from)
            }
        };
        let text = |since, at, len| {
            if version < since {
                return Ok((0, 0));
            }
            Ok::<_, ImageError>((sub.u64(at)?, length(len)?))
        };
        let part = if version >= 2 && sub.u32(places.split)? != 0 {
            Some(if version >= 6 {
                sub.u64(places.wide_start)?..sub.u64(places.wide_end)?
            } else {
                length(places.start)?..length(places.end)?
            })
        } else {
            None
        };
        let bitmap_at = (1 + sub_blocks) * block;
        let half = bitmap_blocks * block / 2;
        let frames = if version >= 6 {
            sub.u64(places.wide_frames)?
        } else {
            head.u32(places.frames)?.into()
        };
        if frames > half * 8 {
            return Err(nonsense());
        }
        Ok(Self {
            machine,
            block,
            // The first bitmap says what memory there is, the second what is kept.
            bitmap: (bitmap_at + half, half),
            descriptors: bitmap_at + bitmap_blocks * block,
            frames,
            vmcoreinfo: text(3, places.vmcoreinfo, places.vmcoreinfo_len)?,
            notes: text(4, places.notes, places.notes_len)?,
            part,
        })
    }
}

fn machine(head: &[u8]) -> Result<Machine, ImageError> {
    let name = head.get(MACHINE_AT..MACHINE_AT + 65).unwrap_or_default();
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    match name {
        b"x86_64" => Ok(Machine::X86_64),
        b"aarch64" => Ok(Machine::Arm64),
        [b'i', b'3'..=b'6', b'8', b'6'] => Ok(Machine::X86),
        _ => Err(ImageError::Unsupported("kdump files of other processors")),
    }
}
