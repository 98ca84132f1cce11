//! Taking sections of RAM out of use, and back.

use core::fmt;

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Errno, Order, Pfn, PfnRange};

use crate::alloc::{ContigError, block_of};
use crate::migrate::Migrator;
use crate::phys::Phys;
use crate::record::{FrameFlags, Owner};

/// Frames of a section: 128 MiB, the unit in which memory goes offline.
pub const SECTION: u64 = 1 << 15;

/// Whether the allocator has the frames of a section.
///
/// # Linux source concept
/// `/sys/devices/system/memory/memoryN/state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionState {
    /// There is no RAM.
    Absent,
    /// It has them.
    Online,
    /// It has none of them: the RAM may be taken out.
    Offline,
}

/// Why a section does not go offline, or online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionError {
    /// There is no RAM.
    Absent,
    /// It is in that state already.
    Already,
    /// The memory manager's own tables, the firmware or the kernel image are in
    /// it: this is the first such frame.
    Reserved(Pfn),
    /// What is in it does not go away.
    Contig(ContigError),
}

impl SectionError {
    /// What writing to the section's `state` returns.
    pub const fn errno(self) -> Errno {
        match self {
            SectionError::Absent => Errno::NODEV,
            SectionError::Already => Errno::INVAL,
            SectionError::Reserved(_) => Errno::BUSY,
            SectionError::Contig(error) => error.errno(),
        }
    }
}

impl fmt::Display for SectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SectionError::Absent => write!(f, "there is no RAM in the section"),
            SectionError::Already => write!(f, "the section is in that state already"),
            SectionError::Reserved(pfn) => write!(f, "{pfn:?} is reserved and stays"),
            SectionError::Contig(error) => error.fmt(f),
        }
    }
}

impl<P: Platform> Phys<P> {
    /// The state of the section that `pfn` is in: online while any of its
    /// frames is.
    pub fn section_state(&self, pfn: Pfn) -> SectionState {
        let mut present = false;
        for range in self.section_ranges(pfn) {
            present = true;
            let offline = |pfn| self.record(pfn).has(FrameFlags::OFFLINE);
            if !range.iter().all(offline) {
                return SectionState::Online;
            }
        }
        match present {
            true => SectionState::Offline,
            false => SectionState::Absent,
        }
    }

    /// Takes the section that `pfn` is in out of use: closes its blocks, has
    /// everything in it moved away, and takes the frames from the allocator.
    ///
    /// # Errors
    /// [`SectionError`]; the section is as online as before then.
    ///
    /// # Linux source concept
    /// `offline_pages()`. Watermarks stay what they were computed to be at boot.
    pub fn offline_section(&self, pfn: Pfn, migrator: &dyn Migrator) -> Result<(), SectionError> {
        match self.section_state(pfn) {
            SectionState::Absent => return Err(SectionError::Absent),
            SectionState::Offline => return Err(SectionError::Already),
            SectionState::Online => {}
        }
        let frames = || self.section_ranges(pfn).flat_map(|range| range.iter());
        let reserved = |&pfn: &Pfn| self.record(pfn).has(FrameFlags::RESERVED);
        if let Some(stays) = frames().find(reserved) {
            return Err(SectionError::Reserved(stays));
        }
        let mut done = 0;
        for range in self.pieces(pfn) {
            match self.alloc_contig_range(range, Owner::Kernel, migrator) {
                Ok(run) => {
                    self.set_offline(run.into_frames());
                    done += 1;
                }
                Err(error) => {
                    // The section goes as a whole or not at all.
                    self.pieces(pfn)
                        .take(done)
                        .for_each(|range| self.set_online(range));
                    return Err(SectionError::Contig(error));
                }
            }
        }
        Ok(())
    }

    /// Gives the section that `pfn` is in back to the allocator.
    ///
    /// # Errors
    /// [`SectionError::Absent`] or [`SectionError::Already`].
    ///
    /// # Linux source concept
    /// `online_pages()`.
    pub fn online_section(&self, pfn: Pfn) -> Result<(), SectionError> {
        match self.section_state(pfn) {
            SectionState::Absent => Err(SectionError::Absent),
            SectionState::Online => Err(SectionError::Already),
            SectionState::Offline => {
                self.pieces(pfn).for_each(|range| self.set_online(range));
                Ok(())
            }
        }
    }

    /// RAM of a section.
    fn section_ranges(&self, pfn: Pfn) -> impl Iterator<Item = PfnRange> {
        let start = pfn.align_down(SECTION);
        let section = PfnRange::new(start, start + SECTION);
        let parts = self.present.ranges().map(move |range| range.intersect(section));
        parts.filter(|range| !range.is_empty())
    }

    /// The same cut where zones change, at the borders of blocks.
    fn pieces(&self, pfn: Pfn) -> impl Iterator<Item = PfnRange> {
        const BLOCK: u64 = 512;
        self.section_ranges(pfn).flat_map(|range| {
            let mut at = range.start;
            core::iter::from_fn(move || {
                let end = (at + 1).align_up(BLOCK).min(range.end);
                let piece = PfnRange::new(at, end);
                at = end;
                (!piece.is_empty()).then_some(piece)
            })
        })
    }

    /// Frames of one block that were just allocated leave for good.
    fn set_offline(&self, frames: PfnRange) {
        for pfn in frames.iter() {
            let record = self.record(pfn);
            let left = record.refs.put();
            debug_assert_eq!(left, crate::record::Left::None, "{pfn:?} is shared");
            record.end(FrameFlags::RESERVED | FrameFlags::OFFLINE);
        }
        self.manage(frames, |managed, len| managed.wrapping_sub(len));
    }

    fn set_online(&self, frames: PfnRange) {
        self.manage(frames, u64::wrapping_add);
        for pfn in frames.iter() {
            let record = self.record(pfn);
            record.clear(FrameFlags::RESERVED | FrameFlags::OFFLINE);
            record.begin(Order::ZERO, Owner::Kernel);
            self.put(pfn);
        }
    }

    fn manage(&self, frames: PfnRange, change: impl Fn(u64, u64) -> u64) {
        if let Some(id) = self.blocks.tags[block_of(frames.start)].zone() {
            let managed = &self.zones.get(id).managed;
            let change = |now| Some(change(now, frames.len()));
            let _ = managed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        }
    }
}
