//! What a process maps, and its memory itself.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use foliant_mm::{PageView, Resident, Space};
use foliant_uapi::open::OpenFlags;
use foliant_uapi::pagemap::{PagemapFlags, PagemapWord};
use foliant_uapi::stat::{Mode, Statfs};
use foliant_uapi::text::Text;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, Vpn, VpnRange};

use super::{Subject, gate};
use crate::creds::Capability;
use crate::fs::pseudo::Place;
use crate::fs::{
    File, FileRef, FileStat, FileType, Node, NodeRef, OpenHow, Positioning, Sink, Source, Splices,
    pseudo_statfs,
};
use crate::machine::UserMachine;

/// One past the last page of user memory.
const LAST_PAGE: u64 = 0x7_ffff_ffff;

/// `maps`.
pub(super) fn maps<M: UserMachine>(space: &Space<M>) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in space.maps() {
        entry.write(&mut text);
    }
    gate::entry().write(&mut text);
    text
}

/// `smaps`.
pub(super) fn smaps<M: UserMachine>(space: &Space<M>) -> Vec<u8> {
    let layout = space.layout();
    let mut text = Vec::new();
    for vma in space.vmas().iter() {
        space.smaps(vma, &layout).write(&mut text);
    }
    gate::record().write(&mut text);
    text
}

/// Which of the two files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Memory,
    Pagemap,
}

/// `mem`: the bytes of the process by address.
pub(super) fn mem<M: UserMachine>(place: Place, subject: Subject<M>) -> NodeRef<M> {
    Arc::new(Window {
        place,
        subject,
        what: What::Memory,
    })
}

/// `pagemap`: one word per page, by address.
pub(super) fn pagemap<M: UserMachine>(place: Place, subject: Subject<M>) -> NodeRef<M> {
    Arc::new(Window {
        place,
        subject,
        what: What::Pagemap,
    })
}

#[derive(Clone)]
struct Window<M: UserMachine> {
    place: Place,
    subject: Subject<M>,
    what: What,
}

impl<M: UserMachine> Node<M> for Window<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(self.place.stat(Mode::REGULAR))
    }

    fn path(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.place.path.clone())
    }

    fn open(&self, how: OpenHow) -> Result<FileRef<M>, Errno> {
        if how.flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        if self.what == What::Pagemap && how.flags.writable() {
            return Err(Errno::ACCES);
        }
        // The memory of this image: another one that the process executes
        // later is not shown.
        let task = self.subject.task()?;
        let space = task.space();
        let frames = task.creds().has(Capability::SysAdmin);
        Ok(Arc::new(OpenWindow {
            node: self.clone(),
            space,
            frames,
        }))
    }

    fn statfs(&self) -> Result<Statfs, Errno> {
        Ok(pseudo_statfs(self.place.magic))
    }
}

struct OpenWindow<M: UserMachine> {
    node: Window<M>,
    space: Option<Arc<Space<M>>>,
    /// Whether the reader may know frame numbers.
    frames: bool,
}

/// Bytes that are copied at once.
const STEP: usize = 16 * PAGE_SIZE;

impl<M: UserMachine> OpenWindow<M> {
    fn read_memory(&self, offset: u64, to: &mut dyn Sink) -> Result<usize, Errno> {
        let Some(space) = &self.space else { return Ok(0) };
        let mut buffer = vec![0; to.room().min(STEP)];
        let mut total = 0;
        while to.room() > 0 {
            let part = to.room().min(buffer.len());
            let at = VirtAddr::new(offset.wrapping_add(total as u64));
            let got = space
                .copy_in(at, &mut buffer[..part])
                .map_or_else(|error| error.done, |()| part);
            if got == 0 {
                break;
            }
            total += to.put(&buffer[..got])?;
            if got < part {
                break;
            }
        }
        if total == 0 && to.room() > 0 {
            Err(Errno::IO)
        } else {
            Ok(total)
        }
    }

    fn read_pagemap(&self, offset: u64, to: &mut dyn Sink) -> Result<usize, Errno> {
        if !offset.is_multiple_of(8) || !to.room().is_multiple_of(8) {
            return Err(Errno::INVAL);
        }
        let Some(space) = &self.space else { return Ok(0) };
        let first = offset / 8;
        let count = (to.room() as u64 / 8).min(LAST_PAGE.saturating_sub(first));
        let mut total = 0;
        while total < count {
            let start = first + total;
            let pages = (count - total).min(4096);
            let words = words(
                space,
                VpnRange::new(Vpn::new(start), Vpn::new(start + pages)),
                self.frames,
            );
            to.put(&words)?;
            total += pages;
        }
        Ok(total as usize * 8)
    }
}

/// The words of a range of pages.
fn words<M: UserMachine>(space: &Space<M>, range: VpnRange, frames: bool) -> Vec<u8> {
    let mut words = vec![0; range.len() as usize * 8];
    for vma in space.vmas().iter() {
        let part = vma.range.intersect(range);
        if part.is_empty() {
            continue;
        }
        space.view(vma, part, |view| {
            let word = word(&view);
            let word = if frames { word } else { word.without_frame() };
            let at = (view.page - range.start) as usize * 8;
            words[at..at + 8].copy_from_slice(&word.0.to_le_bytes());
        });
    }
    words
}

fn word(view: &PageView) -> PagemapWord {
    let mut flags = PagemapFlags::empty();
    flags.set(PagemapFlags::GUARD_REGION, view.guard);
    flags.set(PagemapFlags::UFFD_WP, view.entry.is_uffd_wp());
    match view.frame {
        Some(frame) => {
            flags.set(PagemapFlags::MMAP_EXCLUSIVE, view.exclusive);
            flags.set(
                PagemapFlags::FILE,
                matches!(view.sort, Some(Resident::File | Resident::Shmem)),
            );
            PagemapWord::present(frame, flags)
        }
        None if view.guard => PagemapWord(flags.bits() | PagemapFlags::SWAP.bits()),
        None => PagemapWord(flags.bits()),
    }
}

impl<M: UserMachine> File<M> for OpenWindow<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn positioning(&self) -> Positioning {
        Positioning::Counted
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        match self.node.what {
            What::Memory => self.read_memory(offset, to),
            What::Pagemap => self.read_pagemap(offset, to),
        }
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        if self.node.what == What::Pagemap {
            return Err(Errno::INVAL);
        }
        let Some(space) = &self.space else {
            return Ok((0, offset));
        };
        let done = from.hand_over(STEP, &mut |bytes| {
            let put = space.copy_out(VirtAddr::new(offset), bytes);
            let done = put.map_or_else(|error| error.done, |()| bytes.len());
            if done == 0 && !bytes.is_empty() {
                Err(Errno::IO)
            } else {
                Ok(done)
            }
        })?;
        Ok((done, offset + done as u64))
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        self.node.stat()
    }

    fn node(&self) -> Option<NodeRef<M>> {
        Some(Arc::new(self.node.clone()))
    }
}
