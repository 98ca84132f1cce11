//! A dump in one file, or split into several.

use foliant_units::PhysAddr;

use super::pages::Pages;
use crate::image::bytes::Bytes;
use crate::image::error::ImageError;
use crate::image::extents::RamRange;

/// The parts of a dump, each with its file, in ascending order.
pub(crate) struct Parts {
    parts: Vec<(Bytes, Pages)>,
    block: u64,
}

impl Parts {
    /// Puts parts together.
    ///
    /// # Errors
    /// If some are missing, or they are of different dumps.
    pub(crate) fn new(mut parts: Vec<(Bytes, Pages)>) -> Result<Self, ImageError> {
        parts.sort_by_key(|(_, pages)| pages.part().map_or(0, |part| part.start));
        let Some((_, first)) = parts.first() else {
            return Err(ImageError::Nonsense("parts"));
        };
        let (block, frames) = (first.block(), first.frames());
        let mut next = first.part().map_or(0, |part| part.start);
        for (_, pages) in &parts {
            if (pages.block(), pages.frames()) != (block, frames) {
                return Err(ImageError::Nonsense("parts"));
            }
            let part = pages.part().cloned().unwrap_or(0..frames);
            if part.start != next || part.end < part.start {
                return Err(ImageError::Unsupported("split dumps without all their parts"));
            }
            next = part.end;
        }
        if next < frames || first.part().is_some_and(|part| part.start != 0) {
            return Err(ImageError::Unsupported("split dumps without all their parts"));
        }
        Ok(Self { parts, block })
    }

    pub(crate) fn is_flattened(&self) -> bool {
        self.parts.iter().any(|(_, pages)| pages.is_flattened())
    }

    /// The part that has a frame.
    fn of(&self, frame: u64) -> Option<&(Bytes, Pages)> {
        let start = |pages: &Pages| pages.part().map_or(0, |part| part.start);
        let after = self.parts.partition_point(|(_, pages)| start(pages) <= frame);
        self.parts.get(after.checked_sub(1)?)
    }

    pub(crate) fn read(&self, at: PhysAddr, mut into: &mut [u8]) -> Result<(), ImageError> {
        let mut at = at.raw();
        while !into.is_empty() {
            let here = PhysAddr::new(at);
            let len = (self.block - at % self.block).min(into.len() as u64);
            let (now, rest) = into.split_at_mut(len as usize);
            let (bytes, pages) = self.of(at / self.block).ok_or(ImageError::NoMemory(here))?;
            pages.read(bytes, here, now)?;
            into = rest;
            at = at.wrapping_add(len);
        }
        Ok(())
    }

    /// Whether all of it is kept and unpacks.
    pub(crate) fn has(&self, at: PhysAddr, len: u64) -> bool {
        let first = at.raw() / self.block;
        let last = at.raw().saturating_add(len.max(1) - 1) / self.block;
        (first..=last).all(|frame| {
            let place = PhysAddr::new(frame.wrapping_mul(self.block));
            let part = self.of(frame);
            part.is_some_and(|(bytes, pages)| pages.has(bytes, place, 1))
        })
    }

    pub(crate) fn ranges(&self) -> Vec<RamRange> {
        self.parts.iter().flat_map(|(_, pages)| pages.ranges()).collect()
    }
}
