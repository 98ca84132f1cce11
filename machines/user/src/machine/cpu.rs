//! A task's registers while it is in the kernel.

use std::sync::Arc;

use foliant_kernel::{UserCpu, UserRegs};

use super::User;
use super::lane::Lane;
use crate::host::{CallId, REGISTER_COUNT};

/// How the registers of a thread can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// It waits in a system call that was notified; only the result can be set.
    Notified {
        /// The result so far.
        result: u64,
    },
    /// It waits in its signal handler; its frame lies in its slot.
    Framed {
        /// Address of the frame in the guest.
        frame: u64,
    },
    /// Its host thread is still to be made, by an `execve` of one of many.
    Nascent,
    /// Its host thread is gone; nobody will see the registers.
    Lost,
}

/// The registers of a task that is in the kernel; see [`UserCpu`].
pub struct Cpu {
    pub(crate) machine: User,
    pub(crate) lane: Arc<Lane>,
    pub(crate) call: CallId,
    pub(crate) form: Form,
    pub(crate) regs: UserRegs,
    /// The registers as the thread has them.
    pub(crate) loaded: UserRegs,
    /// The extended state, once asked for.
    pub(crate) xstate: Option<Vec<u8>>,
}

impl UserCpu for Cpu {
    fn set_result(&mut self, value: u64) {
        match &mut self.form {
            Form::Notified { result } => *result = value,
            Form::Framed { .. } | Form::Nascent | Form::Lost => self.regs.rax = value,
        }
    }

    fn regs(&mut self) -> &mut UserRegs {
        self.materialise();
        &mut self.regs
    }

    fn xstate(&mut self) -> &mut [u8] {
        self.materialise();
        let (control, frames) = (self.machine.stubs().control(), self.machine.stubs().frames());
        let slot = self.lane.slot;
        let has_frame = matches!(self.form, Form::Framed { frame } if frame == frames.address(slot));
        self.xstate.get_or_insert_with(|| {
            let mut image = reset_state(frames.xformat().0);
            if has_frame {
                frames.xstate(control, slot, &mut image);
            }
            image
        })
    }
}

impl Cpu {
    /// A thread that made a notified call.
    pub(crate) fn notified(machine: &User, lane: Arc<Lane>, call: CallId) -> Self {
        let form = Form::Notified { result: 0 };
        let (regs, loaded) = (UserRegs::default(), UserRegs::default());
        Self {
            machine: machine.clone(),
            lane,
            call,
            form,
            regs,
            loaded,
            xstate: None,
        }
    }

    /// A thread that a signal brought in.
    pub(crate) fn framed(machine: &User, lane: Arc<Lane>, call: CallId, bases: Option<(u64, u64)>) -> Self {
        let mut cpu = Self::notified(machine, lane, call);
        cpu.load(call, bases);
        cpu
    }

    /// Takes the registers from the thread's frame.
    fn load(&mut self, call: CallId, bases: Option<(u64, u64)>) {
        let stubs = self.machine.stubs();
        let words = stubs.frames().registers(stubs.control(), self.lane.slot);
        let known = &mut *self
            .lane
            .bases
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        *known = bases.unwrap_or(*known);
        self.loaded = from_words(&words, *known);
        self.regs = self.loaded;
        self.call = call;
        self.form = Form::Framed {
            frame: stubs.frames().address(self.lane.slot),
        };
    }

    /// Has a thread that waits in a notified call come in with its registers:
    /// the kick is pending when the call returns, so no guest code runs between.
    pub(crate) fn materialise(&mut self) {
        let Form::Notified { result } = self.form else {
            return;
        };
        match self.machine.fetch(self, result) {
            Some((call, bases)) => self.load(call, bases),
            None => {
                self.form = Form::Lost;
                self.regs.rax = result;
            }
        }
    }

    /// Writes what changed to the thread's frame. Returns new bases of FS and GS.
    pub(crate) fn store(&mut self) -> [Option<u64>; 2] {
        let stubs = self.machine.stubs();
        let slot = self.lane.slot;
        if self.regs != self.loaded {
            stubs
                .frames()
                .set_registers(stubs.control(), slot, &to_words(&self.regs));
        }
        if let Some(image) = &self.xstate {
            stubs.frames().set_xstate(stubs.control(), slot, image);
        }
        let known = &mut *self
            .lane
            .bases
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        *known = (self.regs.fs_base, self.regs.gs_base);
        let changed = |new: u64, old: u64| (new != old).then_some(new);
        [
            changed(self.regs.fs_base, self.loaded.fs_base),
            changed(self.regs.gs_base, self.loaded.gs_base),
        ]
    }
}

/// The extended state after reset: every component in its initial form.
fn reset_state(size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    image[..2].copy_from_slice(&0x37fu16.to_le_bytes());
    image[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    image
}

/// The registers in the order of a signal frame.
pub(crate) fn to_words(r: &UserRegs) -> [u64; REGISTER_COUNT] {
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax,
        r.rcx, r.rsp, r.rip, r.rflags,
    ]
}

fn from_words(words: &[u64; REGISTER_COUNT], (fs_base, gs_base): (u64, u64)) -> UserRegs {
    let &[
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip,
        rflags,
    ] = words;
    UserRegs {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        rip,
        rflags,
        rsp,
        fs_base,
        gs_base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_its_own_place_in_a_frame() {
        let words: [u64; REGISTER_COUNT] = core::array::from_fn(|i| i as u64 + 1);
        let regs = from_words(&words, (100, 200));
        assert_eq!(to_words(&regs), words);
        assert_eq!(
            (regs.fs_base, regs.gs_base, regs.rip),
            (100, 200, words[crate::host::RIP])
        );
    }
}
