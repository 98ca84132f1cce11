//! Reading and writing an object by system call.

use foliant_phys::FrameFlags;
use foliant_platform::Mmu;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Errno, PAGE_SIZE};

use super::backing::FileBacking;
use super::object::{Kind, Object};

/// The part of a transfer that lies in one page.
struct Piece {
    page: u64,
    offset: usize,
    len: usize,
}

/// Cuts `len` bytes from `offset` at page borders.
fn piece(offset: u64, len: usize) -> Piece {
    let inside = (offset % PAGE_SIZE as u64) as usize;
    Piece {
        page: offset / PAGE_SIZE as u64,
        offset: inside,
        len: len.min(PAGE_SIZE - inside),
    }
}

impl<P: Mmu> Object<P> {
    /// Copies bytes from `offset` out, fewer than asked for only at the end of
    /// the object. Bytes that a mapping writes meanwhile are seen or not.
    ///
    /// # Errors
    /// Those of the file below, and `NOMEM`, if not a single byte could be had.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < into.len() {
            let at = offset + done as u64;
            let left = self.size().saturating_sub(at);
            let piece = piece(
                at,
                (into.len() - done).min(usize::try_from(left).unwrap_or(usize::MAX)),
            );
            if piece.len == 0 {
                break;
            }
            let part = &mut into[done..done + piece.len];
            match self.read_piece(&piece, part) {
                Ok(()) => done += piece.len,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    fn read_piece(&self, piece: &Piece, into: &mut [u8]) -> Result<(), Errno> {
        let frame = match &self.kind {
            // A hole of shared memory reads as zeroes and stays a hole.
            Kind::Shmem(_) | Kind::Special => self.lookup(piece.page),
            Kind::File(_) => match self.frame(piece.page) {
                Ok((frame, _)) => Some(frame),
                // Truncated under our hands.
                Err(super::fill::FillError::BeyondEnd) => None,
                Err(error) => return Err(error.errno()),
            },
        };
        match frame {
            Some(frame) => self.phys().content(frame.pfn()).read(piece.offset, into),
            None => into.fill(0),
        }
        Ok(())
    }

    /// Writes bytes at `offset`, extending the object if need be.
    ///
    /// A file is written through: the bytes are the host's when this returns,
    /// and frames that the cache holds show them. Only stores through mappings
    /// wait for [`write_back`](Self::write_back).
    ///
    /// # Errors
    /// Those of the file below, and `NOMEM`, if not a single byte was written.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let _one_writer = self.writes.lock();
        self.write_locked(offset, from)
    }

    /// Writes at the end, wherever that is by then; returns that offset too.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append(&self, from: &[u8]) -> Result<(u64, usize), Errno> {
        let _one_writer = self.writes.lock();
        let end = self.size();
        self.write_locked(end, from).map(|count| (end, count))
    }

    fn write_locked(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        if from.is_empty() {
            return Ok(0);
        }
        offset.checked_add(from.len() as u64).ok_or(Errno::FBIG)?;
        let old_size = self.size();
        if offset > old_size {
            self.zero_tail(old_size);
        }
        let count = match &self.kind {
            Kind::Shmem(_) | Kind::Special => self.write_frames(offset, from)?,
            Kind::File(file) => self.write_through(&**file, offset, from)?,
        };
        self.size.fetch_max(offset + count as u64, Ordering::AcqRel);
        Ok(count)
    }

    fn write_through(&self, file: &dyn FileBacking, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let count = file.write_at(offset, from)?.min(from.len());
        // Who read the file below before this may have the old bytes.
        self.cache.changed();
        self.each_piece(offset, &from[..count], |object, piece, bytes| {
            if let Some(frame) = object.lookup(piece.page) {
                object.phys().content(frame.pfn()).write(piece.offset, bytes);
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn write_frames(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        let result = self.each_piece(offset, from, |object, piece, bytes| {
            object.allocate_page(piece.page)?;
            let frame = object.lookup(piece.page).ok_or(Errno::AGAIN)?;
            object.phys().content(frame.pfn()).write(piece.offset, bytes);
            if object.is_shmem() {
                object.phys().record(frame.pfn()).set(FrameFlags::DIRTY);
            }
            done += bytes.len();
            Ok(())
        });
        match result {
            Err(errno) if done == 0 => Err(errno),
            Ok(()) | Err(_) => Ok(done),
        }
    }

    /// Gives a page of shared memory a frame of zeroes, unless it has one.
    pub(super) fn allocate_page(&self, page: u64) -> Result<(), Errno> {
        if self.cache.get(page, |_| ()).is_none() {
            let fresh = self.phys().alloc(self.request().zeroed())?;
            self.offer(page, fresh, self.cache.version());
        }
        Ok(())
    }

    fn each_piece(
        &self,
        offset: u64,
        mut bytes: &[u8],
        mut each: impl FnMut(&Self, &Piece, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut at = offset;
        while !bytes.is_empty() {
            let piece = piece(at, bytes.len());
            let (part, rest) = bytes.split_at(piece.len);
            each(self, &piece, part)?;
            at += piece.len as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Clears the bytes of the last page that lie past `size`: a mapping may
    /// have written there, and the object is about to grow over it or to end there.
    pub(super) fn zero_tail(&self, size: u64) {
        let inside = (size % PAGE_SIZE as u64) as usize;
        if inside != 0
            && let Some(frame) = self.lookup(size / PAGE_SIZE as u64)
        {
            let content = self.phys().content(frame.pfn());
            content.fill(inside, PAGE_SIZE - inside, 0);
        }
    }
}
