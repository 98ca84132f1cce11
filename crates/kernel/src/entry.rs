//! Where traps come in.

use alloc::sync::Arc;

use foliant_units::Errno;

use crate::kernel::Kernel;
use crate::machine::{Next, Trap, UserCpu, UserMachine};
use crate::syscall::{Ctx, Fail, handler};
use crate::task::Task;

impl<M: UserMachine> Kernel<M> {
    /// Handles one trap of `task`. Called on any thread of the machine, by one
    /// at a time per task; blocks until the task may go on.
    pub fn handle(self: &Arc<Self>, task: &Arc<Task<M>>, cpu: &mut M::Cpu, trap: Trap) -> Next {
        match trap {
            Trap::Syscall { nr, args } => self.system_call(task, cpu, nr, args),
            Trap::PageFault { .. } | Trap::Exception { .. } | Trap::Kicked => {}
        }
        Next::Resume
    }

    fn system_call(self: &Arc<Self>, task: &Arc<Task<M>>, cpu: &mut M::Cpu, nr: u64, args: [u64; 6]) {
        self.counts().called(nr);
        let Some(handle) = handler::<M>(nr) else {
            self.counts().missing(nr);
            return cpu.set_result(Errno::NOSYS.to_return() as u64);
        };
        let mut ctx = Ctx {
            kernel: self,
            task,
            cpu,
            nr,
            args,
        };
        match handle(&mut ctx) {
            Ok(value) => cpu.set_result(value),
            Err(Fail::Errno(errno)) => cpu.set_result(errno.to_return() as u64),
            Err(Fail::Restart(_)) => cpu.set_result(Errno::INTR.to_return() as u64),
        }
    }
}
