//! What a task does about signals before it returns to user mode.

use alloc::sync::Arc;

use foliant_uapi::signal::{SigAction, SigActionFlags, Signal};
use foliant_units::Errno;

use crate::kernel::Kernel;
use crate::machine::{UserCpu, UserMachine};
use crate::syscall::Restart;
use crate::task::Task;

use super::frame;
use super::take::{self, Next};

/// A system call whose wait was ended.
pub(crate) struct Interrupted<M: UserMachine> {
    /// Its number.
    pub(crate) nr: u64,
    /// What becomes of it.
    pub(crate) restart: Restart<M>,
}

/// What comes after signals were seen to.
pub(crate) enum Flow<M: UserMachine> {
    /// User mode.
    Resume,
    /// The interrupted call once more, or the rest of it: no handler ran.
    Repeat(Restart<M>),
    /// The task's end.
    End,
}

/// Delivers what is pending.
///
/// # Linux source concept
/// `arch_do_signal_or_restart()`.
pub(crate) fn deliver<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    cpu: &mut M::Cpu,
    mut interrupted: Option<Interrupted<M>>,
) -> Flow<M> {
    loop {
        match take::next(kernel, task) {
            Next::End => return Flow::End,
            Next::Nothing => break,
            Next::Handle(signal, info, action) => {
                if let Some(call) = interrupted.take() {
                    finish_call(cpu, call, &action);
                }
                if frame::push(kernel, task, cpu, signal, info, &action).is_err() {
                    match signal {
                        Signal::SEGV => task.force_default(Signal::SEGV),
                        _ => task.force(foliant_uapi::SigInfo::kernel(Signal::SEGV)),
                    }
                }
            }
        }
    }

    // No handler ran since the mask was changed for a while.
    task.parker().reminded();
    let saved = task.signals.lock().saved_mask.take();
    if let Some(saved) = saved {
        task.set_blocked(saved);
    }
    match interrupted {
        Some(call) => Flow::Repeat(call.restart),
        None => Flow::Resume,
    }
}

/// What a call that a handler interrupts looks like to user code.
fn finish_call<C: UserCpu, M: UserMachine<Cpu = C>>(cpu: &mut C, call: Interrupted<M>, action: &SigAction) {
    let again = match call.restart {
        Restart::NoIntr => true,
        Restart::Sys => action.flags().contains(SigActionFlags::RESTART),
        Restart::NoHand | Restart::Block(_) => false,
    };
    if again {
        let regs = cpu.regs();
        regs.rax = call.nr;
        regs.rip = regs.rip.wrapping_sub(2);
    } else {
        cpu.set_result(Errno::INTR.to_return() as u64);
    }
}
