//! Where bytes come from and go to: user memory or the kernel's own.

use alloc::vec;
use alloc::vec::Vec;

use foliant_units::{Errno, VirtAddr};

/// The memory of the calling process.
pub trait UserMemory {
    /// Copies `bytes` to `at`; returns how many arrived before a page that
    /// cannot be written.
    fn copy_to(&self, at: VirtAddr, bytes: &[u8]) -> usize;

    /// Fills `bytes` from `at`; returns how many arrived before a page that
    /// cannot be read.
    fn copy_from(&self, at: VirtAddr, bytes: &mut [u8]) -> usize;
}

impl dyn UserMemory + '_ {
    /// Copies all of `bytes` to `at`.
    ///
    /// # Errors
    /// `FAULT`; some bytes may have been written.
    pub fn put(&self, at: VirtAddr, bytes: &[u8]) -> Result<(), Errno> {
        if self.copy_to(at, bytes) == bytes.len() {
            Ok(())
        } else {
            Err(Errno::FAULT)
        }
    }

    /// Reads `N` bytes at `at`.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn get<const N: usize>(&self, at: VirtAddr) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads all of `bytes` at `at`.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn fill(&self, at: VirtAddr, bytes: &mut [u8]) -> Result<(), Errno> {
        if self.copy_from(at, bytes) == bytes.len() {
            Ok(())
        } else {
            Err(Errno::FAULT)
        }
    }

    /// Reads a string up to its zero byte, which is not part of it.
    ///
    /// # Errors
    /// `FAULT`; `NAMETOOLONG` if no zero byte is among the first `most`.
    pub fn string(&self, at: VirtAddr, most: usize) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        while text.len() < most {
            // Up to the end of the page, so that a string before a hole is whole.
            let from = at.raw().wrapping_add(text.len() as u64);
            let in_page = 4096 - (from as usize & 4095);
            let len = in_page.min(256).min(most - text.len());
            let mut piece = [0; 256];
            let got = self.copy_from(VirtAddr::new(from), &mut piece[..len]);
            if let Some(end) = piece[..got].iter().position(|&byte| byte == 0) {
                text.extend_from_slice(&piece[..end]);
                return Ok(text);
            }
            if got < len {
                return Err(Errno::FAULT);
            }
            text.extend_from_slice(&piece[..len]);
        }
        Err(Errno::NAMETOOLONG)
    }
}

/// Takes bytes that were read.
pub trait Sink {
    /// Bytes that still fit.
    fn room(&self) -> usize;

    /// Takes as many of `bytes` as fit and returns how many those were.
    ///
    /// # Errors
    /// `FAULT` if not even the first could be stored.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno>;
}

/// Gives bytes that are to be written.
pub trait Source {
    /// Bytes that are left.
    fn left(&self) -> usize;

    /// Fills as much of `bytes` as is left and returns how much that was.
    ///
    /// # Errors
    /// `FAULT` if not even the first could be fetched.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Errno>;

    /// Gives back the `count` bytes that were taken last and could not be used.
    fn give_back(&mut self, count: usize);

    /// Takes up to `most` bytes and hands them to `to`, which says how many of
    /// them it used; the others are left.
    ///
    /// # Errors
    /// `FAULT` as for [`take`](Self::take), or what `to` returns: nothing is used then.
    fn hand_over(
        &mut self,
        most: usize,
        to: &mut dyn FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut bytes = vec![0; self.left().min(most)];
        let taken = self.take(&mut bytes)?;
        let used = to(&bytes[..taken]);
        self.give_back(taken - used.unwrap_or(0));
        used
    }
}

/// One piece of a scattered buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoVec {
    /// First byte.
    pub base: VirtAddr,
    /// Bytes.
    pub len: usize,
}

/// A position in a scattered user buffer.
#[derive(Clone)]
struct Cursor {
    pieces: Vec<IoVec>,
    piece: usize,
    offset: usize,
    left: usize,
}

impl Cursor {
    fn new(pieces: Vec<IoVec>) -> Self {
        let left = pieces.iter().map(|piece| piece.len).sum();
        Self {
            pieces,
            piece: 0,
            offset: 0,
            left,
        }
    }

    /// The next contiguous run, at most `most` bytes.
    fn run(&mut self, most: usize) -> Option<(VirtAddr, usize)> {
        while let Some(piece) = self.pieces.get(self.piece) {
            if self.offset < piece.len {
                let len = (piece.len - self.offset).min(most);
                return Some((
                    VirtAddr::new(piece.base.raw().wrapping_add(self.offset as u64)),
                    len,
                ));
            }
            self.piece += 1;
            self.offset = 0;
        }
        None
    }

    fn advance(&mut self, count: usize) {
        self.offset += count;
        self.left -= count;
    }

    fn retreat(&mut self, mut count: usize) {
        self.left += count;
        while count > self.offset {
            count -= self.offset;
            self.piece -= 1;
            self.offset = self.pieces[self.piece].len;
        }
        self.offset -= count;
    }

    /// Moves up to `total` bytes by `copy(address, done, len) -> moved`.
    fn each(
        &mut self,
        total: usize,
        mut copy: impl FnMut(VirtAddr, usize, usize) -> usize,
    ) -> Result<usize, Errno> {
        let total = total.min(self.left);
        let mut done = 0;
        while done < total {
            let Some((at, len)) = self.run(total - done) else {
                break;
            };
            let moved = copy(at, done, len);
            self.advance(moved);
            done += moved;
            if moved < len {
                return if done == 0 { Err(Errno::FAULT) } else { Ok(done) };
            }
        }
        Ok(done)
    }
}

/// User memory that a read fills.
pub struct UserSink<'a> {
    memory: &'a dyn UserMemory,
    cursor: Cursor,
}

impl<'a> UserSink<'a> {
    /// The pieces in order.
    pub fn new(memory: &'a dyn UserMemory, pieces: Vec<IoVec>) -> Self {
        Self {
            memory,
            cursor: Cursor::new(pieces),
        }
    }
}

impl Sink for UserSink<'_> {
    fn room(&self) -> usize {
        self.cursor.left
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let memory = self.memory;
        self.cursor.each(bytes.len(), |at, done, len| {
            memory.copy_to(at, &bytes[done..done + len])
        })
    }
}

/// User memory that a write empties.
pub struct UserSource<'a> {
    memory: &'a dyn UserMemory,
    cursor: Cursor,
}

impl<'a> UserSource<'a> {
    /// The pieces in order.
    pub fn new(memory: &'a dyn UserMemory, pieces: Vec<IoVec>) -> Self {
        Self {
            memory,
            cursor: Cursor::new(pieces),
        }
    }
}

impl Source for UserSource<'_> {
    fn left(&self) -> usize {
        self.cursor.left
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let memory = self.memory;
        self.cursor.each(bytes.len(), |at, done, len| {
            memory.copy_from(at, &mut bytes[done..done + len])
        })
    }

    fn give_back(&mut self, count: usize) {
        self.cursor.retreat(count);
    }
}

/// Kernel memory that a read fills.
#[derive(Debug)]
pub struct SliceSink<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> SliceSink<'a> {
    /// Fills from the front.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Sink for SliceSink<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = bytes.len().min(self.room());
        self.bytes[self.at..self.at + count].copy_from_slice(&bytes[..count]);
        self.at += count;
        Ok(count)
    }
}

/// Kernel memory that a write empties.
#[derive(Debug)]
pub struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    /// Empties from the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Source for SliceSource<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let count = bytes.len().min(self.left());
        bytes[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    fn give_back(&mut self, count: usize) {
        self.at -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::cell::RefCell;

    /// Sixteen bytes at address zero.
    struct Little(RefCell<[u8; 16]>);

    impl UserMemory for Little {
        fn copy_to(&self, at: VirtAddr, bytes: &[u8]) -> usize {
            let at = at.raw() as usize;
            let count = bytes.len().min(16usize.saturating_sub(at));
            self.0.borrow_mut()[at..at + count].copy_from_slice(&bytes[..count]);
            count
        }
        fn copy_from(&self, at: VirtAddr, bytes: &mut [u8]) -> usize {
            let at = at.raw() as usize;
            let count = bytes.len().min(16usize.saturating_sub(at));
            bytes[..count].copy_from_slice(&self.0.borrow()[at..at + count]);
            count
        }
    }

    fn piece(base: u64, len: usize) -> IoVec {
        IoVec {
            base: VirtAddr::new(base),
            len,
        }
    }

    #[test]
    fn scattered_pieces_are_filled_in_order() {
        let memory = Little(RefCell::new([b'.'; 16]));
        let mut sink = UserSink::new(&memory, vec![piece(8, 2), piece(0, 0), piece(1, 3)]);
        assert_eq!(sink.room(), 5);
        assert_eq!(sink.put(b"abc"), Ok(3));
        assert_eq!(sink.put(b"defg"), Ok(2));
        assert_eq!(&memory.0.borrow()[..10], b".cde....ab");
    }

    #[test]
    fn a_fault_after_some_bytes_is_a_short_copy_and_then_an_error() {
        let memory = Little(RefCell::new([b'.'; 16]));
        let mut sink = UserSink::new(&memory, vec![piece(14, 5)]);
        assert_eq!(sink.put(b"abcde"), Ok(2));
        assert_eq!(sink.put(b"cde"), Err(Errno::FAULT));
    }

    #[test]
    fn what_was_given_back_is_taken_again() {
        let memory = Little(RefCell::new(*b"0123456789abcdef"));
        let mut source = UserSource::new(&memory, vec![piece(0, 2), piece(4, 2), piece(8, 2)]);
        let mut bytes = [0; 5];
        assert_eq!(source.take(&mut bytes), Ok(5));
        assert_eq!(&bytes, b"01458");
        source.give_back(4);
        let mut bytes = [0; 8];
        assert_eq!(source.take(&mut bytes), Ok(5));
        assert_eq!(&bytes[..5], b"14589");
    }
}
