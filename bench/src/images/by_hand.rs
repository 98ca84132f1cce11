//! What one would write for this image alone: memory copied into one piece,
//! four nested loops, nothing checked but presence.

use foliant_inspect::{Image, ImageError};
use foliant_units::PhysAddr;

const ADDRESS: u64 = 0xf_ffff_ffff_f000;

pub(super) struct ByHand(Vec<u8>);

impl ByHand {
    /// Memory from address zero to its first hole.
    pub(super) fn copy(image: &Image) -> Result<Self, ImageError> {
        let first = image.ram().first().copied();
        let len = first.map_or(0, |range| range.len as usize);
        let mut memory = vec![0; len];
        image.read(PhysAddr::ZERO, &mut memory)?;
        Ok(Self(memory))
    }

    fn word(&self, at: u64) -> u64 {
        let at = at as usize;
        let word = self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    }

    pub(super) fn leaves(&self, root: u64, mut each: impl FnMut(u64, u64)) {
        self.level(root, 39, 0, &mut each);
    }

    fn level(&self, table: u64, shift: u32, base: u64, each: &mut impl FnMut(u64, u64)) {
        for index in 0..512 {
            let entry = self.word(table + index * 8);
            if entry & 1 == 0 {
                continue;
            }
            let mut page = base | index << shift;
            if shift == 39 && index > 255 {
                page |= 0xffff << 48;
            }
            if shift == 12 || shift < 39 && entry & 0x80 != 0 {
                each(page, entry & ADDRESS);
            } else {
                self.level(entry & ADDRESS, shift - 9, page, each);
            }
        }
    }

    pub(super) fn translate(&self, root: u64, at: u64) -> Option<u64> {
        let (mut table, mut shift) = (root, 39);
        loop {
            let entry = self.word(table + (at >> shift & 511) * 8);
            if entry & 1 == 0 {
                return None;
            }
            if shift == 12 || shift < 39 && entry & 0x80 != 0 {
                return Some(entry & ADDRESS & (!0 << shift) | at & ((1 << shift) - 1));
            }
            (table, shift) = (entry & ADDRESS, shift - 9);
        }
    }
}
