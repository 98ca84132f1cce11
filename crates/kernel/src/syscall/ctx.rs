//! What a handler gets.

use alloc::sync::Arc;

use crate::space::Space;
use foliant_units::Errno;

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::task::Task;

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

    /// Argument `at` as an `int`.
    pub fn int(&self, at: usize) -> i32 {
        self.args[at] as i32
    }

    /// Argument `at` as an `unsigned int`.
    pub fn uint(&self, at: usize) -> u32 {
        self.args[at] as u32
    }
}
