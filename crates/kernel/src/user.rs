//! Reading and writing the memory of programs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{CopyError, FaultError, StringError};
use foliant_uapi::{FromBytes, Immutable, IntoBytes};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::oom;
use crate::space::Space;
use crate::task::Task;

/// A task that copies from and to a program's memory, mostly its own.
///
/// Where a page gets no frame, somebody is killed and the copy goes on, as with
/// a fault of user code. So a copy fails for want of a frame only if the task is
/// being killed, and nobody sees the error.
///
/// # Linux source concept
/// `copy_from_user()`, `copy_to_user()`, whose faults allocate as any other and
/// so may invoke the OOM killer.
pub(crate) struct Copier<'a, M: UserMachine> {
    pub(crate) kernel: &'a Kernel<M>,
    pub(crate) task: &'a Arc<Task<M>>,
    pub(crate) space: &'a Space<M>,
}

impl<M: UserMachine> Copier<'_, M> {
    /// Fills `to` from `at`.
    ///
    /// # Errors
    /// `FAULT`, and how much is in `to`.
    pub(crate) fn copy_in(&self, at: VirtAddr, to: &mut [u8]) -> Result<(), CopyError> {
        self.with_frames(|done| self.space.copy_in(at + done as u64, &mut to[done..]))
    }

    /// Writes all of `from` to `at`.
    ///
    /// # Errors
    /// `FAULT`, and how much was written.
    pub(crate) fn copy_out(&self, at: VirtAddr, from: &[u8]) -> Result<(), CopyError> {
        self.with_frames(|done| self.space.copy_out(at + done as u64, &from[done..]))
    }

    /// Fills `to` from `at`.
    ///
    /// # Errors
    /// `FAULT`.
    pub(crate) fn read_bytes(&self, at: VirtAddr, to: &mut [u8]) -> Result<(), Errno> {
        self.copy_in(at, to).map_err(CopyError::errno)
    }

    /// Writes all of `from` to `at`.
    ///
    /// # Errors
    /// `FAULT`; some bytes may have been written.
    pub(crate) fn write_bytes(&self, at: VirtAddr, from: &[u8]) -> Result<(), Errno> {
        self.copy_out(at, from).map_err(CopyError::errno)
    }

    /// Reads a structure of the ABI.
    ///
    /// # Errors
    /// `FAULT`.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self, at: u64) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(VirtAddr::new(at), value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a structure of the ABI.
    ///
    /// # Errors
    /// `FAULT`.
    pub(crate) fn write<T: IntoBytes + Immutable>(&self, at: u64, value: &T) -> Result<(), Errno> {
        self.write_bytes(VirtAddr::new(at), value.as_bytes())
    }

    /// Reads a string up to its zero byte, which is not part of it.
    ///
    /// # Errors
    /// `FAULT`; `TOOBIG` if no zero byte is among the first `most`.
    pub(crate) fn read_string(&self, at: u64, most: usize) -> Result<Vec<u8>, Errno> {
        let mut shortage = oom::Shortage::new(self.kernel, self.task);
        loop {
            match self.space.read_cstr(VirtAddr::new(at), most) {
                Ok(string) => return Ok(string),
                Err(StringError::Fault(FaultError::OutOfMemory)) if shortage.relieve() => {}
                Err(StringError::Fault(fault)) => return Err(fault.errno()),
                Err(StringError::TooLong) => return Err(Errno::TOOBIG),
            }
        }
    }

    /// Calls `copy` with the bytes that are done until it has done the rest.
    fn with_frames(&self, mut copy: impl FnMut(usize) -> Result<(), CopyError>) -> Result<(), CopyError> {
        let mut done = 0;
        let mut shortage = oom::Shortage::new(self.kernel, self.task);
        loop {
            let Err(error) = copy(done) else {
                return Ok(());
            };
            done += error.done;
            if error.fault != FaultError::OutOfMemory || !shortage.relieve() {
                return Err(CopyError { done, ..error });
            }
        }
    }
}
