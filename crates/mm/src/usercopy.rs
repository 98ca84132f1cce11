//! The kernel's own access to a program's memory.
//!
//! The bytes are reached through the program's tables with the program's
//! rights, page by page and under the lock of the page's leaf table: so a copy
//! sees a fork, an unmapping or a copy-on-write before it or after it, never
//! in its middle.

use alloc::vec::Vec;

use foliant_arch::x86_64::PteFlags;
use foliant_paging::Missing;
use foliant_phys::Content;
use foliant_platform::Mmu;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, Vpn};

use crate::fault::{Access, Fault, FaultError};
use crate::layout::task_end;
use crate::space::Space;

/// A copy that met memory it could not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyError {
    /// Bytes that were copied before.
    pub done: usize,
    /// What was met.
    pub fault: FaultError,
}

impl CopyError {
    /// What a system call that got nothing done returns.
    pub const fn errno(self) -> Errno {
        self.fault.errno()
    }
}

/// Why a string could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringError {
    /// It runs into memory that cannot be read.
    Fault(FaultError),
    /// It has no end within the limit.
    TooLong,
}

/// What nothing is mapped at looks like.
const NOTHING: FaultError = FaultError::Segv(crate::fault::Segv::MapErr);

impl<P: Mmu> Space<P> {
    /// Copies bytes of the program out of `from`.
    ///
    /// # Errors
    /// How many bytes are in `into`, exactly, when the next cannot be read.
    pub fn copy_in(&self, from: VirtAddr, into: &mut [u8]) -> Result<(), CopyError> {
        self.each_page(from, into.len(), Access::Read, |content, offset, done, len| {
            content.read(offset, &mut into[done..done + len]);
        })
    }

    /// Copies bytes to `to` in the program.
    ///
    /// # Errors
    /// How many bytes were written, exactly, when the next cannot be.
    pub fn copy_out(&self, to: VirtAddr, from: &[u8]) -> Result<(), CopyError> {
        self.each_page(to, from.len(), Access::Write, |content, offset, done, len| {
            content.write(offset, &from[done..done + len]);
        })
    }

    /// Sets `len` bytes at `to` to zero.
    ///
    /// # Errors
    /// How many were, when the next cannot be.
    pub fn clear(&self, to: VirtAddr, len: usize) -> Result<(), CopyError> {
        self.each_page(to, len, Access::Write, |content, offset, _, len| {
            content.fill(offset, len, 0)
        })
    }

    /// Reads a 32-bit word, atomically.
    ///
    /// # Errors
    /// `FAULT` if it cannot be read, `INVAL` if it is not aligned.
    pub fn read_u32(&self, at: VirtAddr) -> Result<u32, Errno> {
        self.word(at, Access::Read, |content, offset| content.load_u32(offset))
    }

    /// Writes a 32-bit word, atomically.
    ///
    /// # Errors
    /// As [`read_u32`](Self::read_u32).
    pub fn write_u32(&self, at: VirtAddr, value: u32) -> Result<(), Errno> {
        self.word(at, Access::Write, |content, offset| {
            content.store_u32(offset, value)
        })
    }

    /// Replaces a 32-bit word if it is `expected`; what it was, either way.
    ///
    /// # Errors
    /// As [`read_u32`](Self::read_u32); the page must be writable.
    pub fn cmpxchg_u32(&self, at: VirtAddr, expected: u32, new: u32) -> Result<u32, Errno> {
        self.word(at, Access::Write, |content, offset| {
            match content.cmpxchg_u32(offset, expected, new) {
                Ok(was) | Err(was) => was,
            }
        })
    }

    /// Reads the string at `from`, without its final zero.
    ///
    /// # Errors
    /// If no zero comes within `limit` bytes, or before memory ends.
    pub fn read_cstr(&self, from: VirtAddr, limit: usize) -> Result<Vec<u8>, StringError> {
        let mut string = Vec::new();
        while string.len() < limit {
            let at = from
                .checked_add(string.len() as u64)
                .ok_or(StringError::Fault(NOTHING))?;
            let mut chunk = [0; 256];
            let room = (PAGE_SIZE - at.offset())
                .min(chunk.len())
                .min(limit - string.len());
            let part = &mut chunk[..room];
            self.copy_in(at, part)
                .map_err(|error| StringError::Fault(error.fault))?;
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&part[..end]);
                return Ok(string);
            }
            string.extend_from_slice(part);
        }
        Err(StringError::TooLong)
    }

    fn word<R>(
        &self,
        at: VirtAddr,
        access: Access,
        mut work: impl FnMut(Content<'_>, usize) -> R,
    ) -> Result<R, Errno> {
        if !at.is_aligned_to(4) {
            return Err(Errno::INVAL);
        }
        if at >= task_end::<P>() {
            return Err(Errno::FAULT);
        }
        self.with_page(at.page(), access, |content| work(content, at.offset()))
            .map_err(FaultError::errno)
    }

    /// Cuts a transfer at page borders: `work(content, offset in the page,
    /// bytes done before, bytes now)`.
    fn each_page(
        &self,
        at: VirtAddr,
        len: usize,
        access: Access,
        mut work: impl FnMut(Content<'_>, usize, usize, usize),
    ) -> Result<(), CopyError> {
        let fits = at
            .checked_add(len as u64)
            .is_some_and(|end| end <= task_end::<P>());
        if !fits {
            return Err(CopyError {
                done: 0,
                fault: NOTHING,
            });
        }
        let mut done = 0;
        while done < len {
            let here = at + done as u64;
            let now = (PAGE_SIZE - here.offset()).min(len - done);
            self.with_page(here.page(), access, |content| {
                work(content, here.offset(), done, now)
            })
            .map_err(|fault| CopyError { done, fault })?;
            done += now;
        }
        Ok(())
    }

    /// Calls `work` once with the bytes of `page`, faulting it in if need be.
    fn with_page<R>(
        &self,
        page: Vpn,
        access: Access,
        mut work: impl FnMut(Content<'_>) -> R,
    ) -> Result<R, FaultError> {
        loop {
            if let Some(result) = self.try_page(page, access, &mut work) {
                return Ok(result);
            }
            self.fault(Fault {
                addr: page.base(),
                access,
                user: false,
            })?;
        }
    }

    /// Calls `work` with the bytes of `page` if the tables allow the access,
    /// and notes it there as a processor would.
    fn try_page<R>(&self, page: Vpn, access: Access, work: &mut impl FnMut(Content<'_>) -> R) -> Option<R> {
        // Skipping allocates nothing.
        let mut leaf = self.tables().lock_leaf(page, Missing::Skip).ok()??;
        let entry = leaf.get(page);
        let write = access == Access::Write;
        if !entry.is_present() || (write && !entry.is_writable()) {
            return None;
        }
        let noted = if write {
            PteFlags::ACCESSED | PteFlags::DIRTY
        } else {
            PteFlags::ACCESSED
        };
        if !entry.flags().contains(noted) {
            leaf.update(page, |entry| entry.with(noted));
        }
        Some(work(self.env().phys().content(entry.frame())))
    }
}
