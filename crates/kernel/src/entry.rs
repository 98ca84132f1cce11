//! Where traps come in.

use alloc::sync::Arc;

use foliant_uapi::signal::Signal;
use foliant_units::Errno;

use crate::exit::{end_process, end_task, status_of};
use crate::kernel::Kernel;
use crate::machine::{Next, Trap, UserCpu, UserMachine};
use crate::signal::{Flow, Interrupted, deliver};
use crate::syscall::{Ctx, Fail, Restart, handler};
use crate::task::Task;
use crate::{fault, wait::WaitStatus};

/// What a system call came to.
enum Done<M: UserMachine> {
    /// The result is in the registers.
    Result,
    /// A signal ended its wait.
    Interrupted(Restart<M>),
    /// The task ends.
    Exit(WaitStatus),
}

impl<M: UserMachine> Kernel<M> {
    /// Handles one trap of `task`. Called on any thread of the machine, by one
    /// at a time per task; blocks until the task may go on.
    pub fn handle(self: &Arc<Self>, task: &Arc<Task<M>>, cpu: &mut M::Cpu, trap: Trap) -> Next {
        match trap {
            Trap::Syscall { nr, args } => return self.system_call(task, cpu, nr, args),
            Trap::PageFault { addr, error_code } => fault::page_fault(self, task, addr, error_code),
            Trap::Exception { vector, error_code } => fault::exception(task, cpu, vector, error_code),
            Trap::Kicked => {}
        }
        if !task.parker().attention() {
            return Next::Resume;
        }
        match deliver(self, task, cpu, None) {
            Flow::Resume | Flow::Repeat(_) => Next::Resume,
            Flow::End => self.end(task, status_of(task)),
        }
    }

    /// Runs a call, and again as long as nothing but stops and ignored signals
    /// come between.
    fn system_call(self: &Arc<Self>, task: &Arc<Task<M>>, cpu: &mut M::Cpu, nr: u64, args: [u64; 6]) -> Next {
        self.counts().called(nr);
        let mut done = self.dispatch(task, cpu, nr, args);
        loop {
            let interrupted = match done {
                Done::Exit(status) => return self.end(task, status),
                Done::Result if !task.parker().attention() => return Next::Resume,
                Done::Result => None,
                Done::Interrupted(restart) => Some(Interrupted { nr, restart }),
            };
            done = match deliver(self, task, cpu, interrupted) {
                Flow::Resume => return Next::Resume,
                Flow::End => return self.end(task, status_of(task)),
                Flow::Repeat(Restart::Block(rest)) => {
                    let answer = rest(&mut Ctx {
                        kernel: self,
                        task,
                        cpu,
                        nr,
                        args,
                    });
                    self.settle(cpu, answer)
                }
                Flow::Repeat(_) => self.dispatch(task, cpu, nr, args),
            };
        }
    }

    fn dispatch(self: &Arc<Self>, task: &Arc<Task<M>>, cpu: &mut M::Cpu, nr: u64, args: [u64; 6]) -> Done<M> {
        if let Some(observer) = self.observer() {
            observer.call_begins(task, nr, args);
        }
        let answer = match handler::<M>(nr) {
            Some(handle) => handle(&mut Ctx {
                kernel: self,
                task,
                cpu,
                nr,
                args,
            }),
            None => {
                self.counts().missing(nr);
                Err(Fail::Errno(Errno::NOSYS))
            }
        };
        self.observe_call(task, nr, args, &answer);
        self.settle(cpu, answer)
    }

    fn settle(&self, cpu: &mut M::Cpu, answer: Result<u64, Fail<M>>) -> Done<M> {
        match answer {
            Ok(value) => cpu.set_result(value),
            Err(Fail::Errno(errno)) => cpu.set_result(errno.to_return() as u64),
            Err(Fail::Restart(restart)) => return Done::Interrupted(restart),
            Err(Fail::Exit(status)) => return Done::Exit(status),
        }
        Done::Result
    }

    /// The machine has lost a task: its host thread was killed from outside.
    /// The process ends as if by `SIGKILL`. No other trap of the task may come.
    pub fn lost(self: &Arc<Self>, task: &Arc<Task<M>>) {
        let killed = WaitStatus::Killed(Signal::KILL, false);
        end_process(task, killed);
        end_task(self, task, killed);
    }

    fn end(self: &Arc<Self>, task: &Arc<Task<M>>, status: WaitStatus) -> Next {
        end_task(self, task, status);
        Next::Gone
    }
}
