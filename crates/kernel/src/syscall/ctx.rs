//! What a handler gets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::{FromBytes, Immutable, IntoBytes};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::pid::Pid;
use crate::space::Space;
use crate::task::Task;
use crate::user::Copier;

/// One system call of one task.
pub struct Ctx<'a, M: UserMachine> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel<M>>,
    /// The calling task.
    pub task: &'a Arc<Task<M>>,
    /// Its registers; leave them alone unless the call is about them.
    pub cpu: &'a mut M::Cpu,
    /// The number.
    pub nr: u64,
    /// RDI, RSI, RDX, R10, R8, R9.
    pub args: [u64; 6],
}

impl<M: UserMachine> Ctx<'_, M> {
    /// The caller's address space.
    ///
    /// # Errors
    /// `FAULT` if the task has given it up (it is ending).
    pub fn space(&self) -> Result<Arc<Space<M>>, Errno> {
        self.task.space().ok_or(Errno::FAULT)
    }

    /// The caller, as one who copies from and to `space`.
    pub(crate) fn copier<'s>(&'s self, space: &'s Space<M>) -> Copier<'s, M> {
        Copier {
            kernel: self.kernel,
            task: self.task,
            space,
        }
    }

    /// Argument `at` as an `int`.
    pub fn int(&self, at: usize) -> i32 {
        self.args[at] as i32
    }

    /// Argument `at` as an `unsigned int`.
    pub fn uint(&self, at: usize) -> u32 {
        self.args[at] as u32
    }

    /// Argument `at` as an address.
    pub fn addr(&self, at: usize) -> VirtAddr {
        VirtAddr::new(self.args[at])
    }

    /// Argument `at` as a process number.
    pub fn pid(&self, at: usize) -> Pid {
        Pid::new(self.int(at))
    }

    /// Reads a structure of the ABI from user memory.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn read<T: FromBytes + IntoBytes>(&self, at: u64) -> Result<T, Errno> {
        self.copier(&*self.space()?).read(at)
    }

    /// Reads a structure where `at` is not null.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn read_opt<T: FromBytes + IntoBytes>(&self, at: u64) -> Result<Option<T>, Errno> {
        if at == 0 {
            Ok(None)
        } else {
            self.read(at).map(Some)
        }
    }

    /// Writes a structure of the ABI to user memory.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn write<T: IntoBytes + Immutable>(&self, at: u64, value: &T) -> Result<(), Errno> {
        self.copier(&*self.space()?).write(at, value)
    }

    /// Writes a structure where `at` is not null.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn write_opt<T: IntoBytes + Immutable>(&self, at: u64, value: &T) -> Result<(), Errno> {
        if at == 0 { Ok(()) } else { self.write(at, value) }
    }

    /// Fills `to` from user memory.
    ///
    /// # Errors
    /// `FAULT`.
    pub fn read_bytes(&self, at: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.copier(&*self.space()?).read_bytes(VirtAddr::new(at), to)
    }

    /// Writes all of `from` to user memory.
    ///
    /// # Errors
    /// `FAULT`; some bytes may have been written.
    pub fn write_bytes(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        self.copier(&*self.space()?).write_bytes(VirtAddr::new(at), from)
    }

    /// Reads a string without its zero byte.
    ///
    /// # Errors
    /// `FAULT`; `TOOBIG` if no zero byte is among the first `most`.
    pub fn read_string(&self, at: u64, most: usize) -> Result<Vec<u8>, Errno> {
        self.copier(&*self.space()?).read_string(at, most)
    }
}

/// Reads a structure whose size the caller tells: a shorter one is filled up
/// with zeros, and a longer one must have zeros where this kernel knows nothing.
///
/// # Errors
/// `FAULT`; `TOOBIG` if something unknown is asked for.
pub(super) fn read_sized<T: FromBytes + IntoBytes, M: UserMachine>(
    ctx: &Ctx<'_, M>,
    at: u64,
    size: usize,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    let known = value.as_mut_bytes();
    let len = known.len().min(size);
    ctx.read_bytes(at, &mut known[..len])?;
    let mut offset = known.len();
    while offset < size {
        let mut piece = [0; 64];
        let len = piece.len().min(size - offset);
        ctx.read_bytes(at.wrapping_add(offset as u64), &mut piece[..len])?;
        if piece.iter().any(|byte| *byte != 0) {
            return Err(Errno::TOOBIG);
        }
        offset += len;
    }
    Ok(value)
}

/// The task `tid`, or the caller where that is 0.
///
/// # Errors
/// `SRCH`.
pub(super) fn task_or_self<M: UserMachine>(ctx: &Ctx<'_, M>, tid: Pid) -> Result<Arc<Task<M>>, Errno> {
    if tid == Pid::NONE {
        return Ok(ctx.task.clone());
    }
    ctx.kernel.tree().task(tid).cloned().ok_or(Errno::SRCH)
}
