//! The supervisor's hold on all stub processes.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};

use super::answers::Interrupted;
use super::control::Control;
use super::error::{HostError, StartError};
use super::filter::Secret;
use super::frame::{self, FrameLayout, REGISTER_COUNT, RIP};
use super::layout::{OPS_MAX, Slot};
use super::notify::{Answered, Call, CallId, Listener};
use super::op::{Cause, Op};
use super::stub::Entries;
use super::{sys, zygote};

/// Zygote, listener, control area and the secret.
pub struct Stubs {
    control: Control,
    listener: Listener,
    secret: Secret,
    entries: Entries,
    zygote: i32,
    frames: FrameLayout,
    reads_bases: bool,
    idle: Mutex<Zygote>,
}

/// What the zygote is at.
struct Zygote {
    /// Its trap call, while it waits for an order.
    waiting: Option<CallId>,
    /// Slots for which a process is to be made.
    wanted: Vec<Slot>,
    /// The slot of the process that it makes, until that has read its operations.
    making: Option<Slot>,
}

/// Calls of the zygote until the first process is made: that it is there, and
/// that it is ready again.
const FIRST_ZYGOTE_CALLS: u32 = 2;

/// What a call means to the machine.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Guest code made a notified call.
    Guest(Call),
    /// A thread's stub asks.
    Stub(Call, Cause),
    /// The zygote; dealt with already. If it could not make a process, the
    /// slot that gets none.
    Zygote(Option<Slot>),
}

impl Stubs {
    /// Starts the zygote for a machine whose RAM is the file `ram`.
    ///
    /// # Errors
    /// Where the host does not allow it.
    pub fn start(ram: &OwnedFd) -> Result<Self, StartError> {
        let mut this = Self::unlearnt(ram)?;
        this.frames = this.first_frame(|| this.next_event())?;
        Ok(this)
    }

    /// Stubs that do not know yet where the host puts their frames.
    fn unlearnt(ram: &OwnedFd) -> Result<Self, StartError> {
        let control = Control::new()?;
        let mut random = [0; 8];
        sys::random(&mut random)?;
        let (secret, entries) = (Secret::new(random), Entries::new());
        let reads_bases = bases_are_readable();
        let (zygote, listener) = zygote::start(ram, &control, secret, &entries, reads_bases)?;
        let listener = Listener::new(listener);
        let idle = Mutex::new(Zygote {
            waiting: None,
            wanted: Vec::new(),
            making: None,
        });
        // A layout that fits nothing; the first frame replaces it.
        let frames = FrameLayout::unknown();
        Ok(Self {
            control,
            listener,
            secret,
            entries,
            zygote,
            frames,
            reads_bases,
            idle,
        })
    }

    /// Has a process fault, to see where the host puts its frame. Afterwards
    /// nobody owes a call: the machine, which counts on whom it waits for,
    /// would take one that is left over for somebody else's.
    fn first_frame(
        &self,
        mut next: impl FnMut() -> Result<Option<Event>, HostError>,
    ) -> Result<FrameLayout, StartError> {
        let died = |what: &str| StartError::StubDied(what.to_owned());
        let slot = self.control.take().ok_or_else(|| died("no slot"))?;
        self.spawn(slot);
        let mut process = None;
        let mut layout = None;
        let mut zygote_calls = 0;
        // The zygote may be slower than the process that it made.
        while layout.is_none() || zygote_calls < FIRST_ZYGOTE_CALLS {
            match next()? {
                Some(Event::Stub(call, Cause::Born(_))) => {
                    process = Some(call.thread);
                    self.child_made(slot);
                    let frame = frame::blank(&self.control, slot, &[0; REGISTER_COUNT]);
                    self.resume(slot, call.id, &[Op::unmap_slot(Slot::ZYGOTE)], frame);
                }
                Some(Event::Stub(call, Cause::Signal(_))) => {
                    layout = Some(FrameLayout::learn(&self.control, slot, call.args[2]));
                }
                Some(Event::Zygote(None)) => zygote_calls += 1,
                None => {}
                Some(other) => return Err(died(&format!("unexpected {other:?}"))),
            }
        }
        if let Some(process) = process {
            sys::kill(process);
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(process, core::ptr::null_mut(), 0) };
        }
        self.control.give_back(slot);
        layout
            .flatten()
            .ok_or_else(|| died("a signal frame of unknown shape"))
    }

    /// The control area.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Whether the frame at `ucontext` was taken on the way back from an answer.
    pub fn interrupted(&self, slot: Slot, ucontext: u64) -> Option<Interrupted> {
        self.entries
            .interrupted(&self.control, &self.frames, slot, ucontext)
    }

    /// Where frames lie.
    pub fn frames(&self) -> &FrameLayout {
        &self.frames
    }

    /// Process number, and process group, of the zygote.
    pub fn zygote(&self) -> i32 {
        self.zygote
    }

    /// The bases of FS and GS in a signal's trap call, if the processor lets
    /// user code read them.
    pub fn bases(&self, call: &Call) -> Option<(u64, u64)> {
        self.reads_bases.then_some((call.args[3], call.args[4]))
    }

    /// Waits for the next call.
    ///
    /// # Errors
    /// The host's, for good.
    pub fn next_event(&self) -> Result<Option<Event>, HostError> {
        let Some(call) = self.listener.receive()? else {
            return Ok(None);
        };
        if call.ip != self.entries.trap {
            return Ok(Some(Event::Guest(call)));
        }
        if call.thread == self.zygote {
            return Ok(Some(Event::Zygote(self.zygote_waits(call))));
        }
        Ok(Some(Event::Stub(call, Cause::of(&call.args))))
    }

    /// Whether a call waits, so that [`next_event`](Self::next_event) would not.
    pub fn is_waiting(&self) -> bool {
        self.listener.is_waiting()
    }

    /// Answers a guest's notified call.
    pub fn answer(&self, id: CallId, value: u64) -> Answered {
        self.listener.answer(id, value)
    }

    /// Answers a trap call: `ops`, then the registers of the frame at `frame`.
    /// The answer carries the secret: see `stub.rs` for who may have it.
    pub fn resume(&self, slot: Slot, id: CallId, ops: &[Op], frame: u64) -> Answered {
        debug_assert!(ops.len() <= OPS_MAX, "one page of operations");
        self.control.order(slot, ops, frame);
        self.listener.answer(id, self.secret.answer(slot.0))
    }

    /// Asks for a process whose one thread has `slot`; its first call is
    /// [`Cause::Born`].
    pub fn spawn(&self, slot: Slot) {
        let mut idle = self.lock_zygote();
        idle.wanted.push(slot);
        self.order_zygote(&mut idle);
    }

    /// Addresses in the stub, for those who try to abuse them.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Kills all stub processes.
    pub fn end(&self) {
        // The zygote leads the group that all of them are in.
        // SAFETY: no memory is involved.
        unsafe { libc::kill(-self.zygote, libc::SIGKILL) };
    }

    /// Takes the zygote's call. Returns the slot of a process that it could not make.
    fn zygote_waits(&self, call: Call) -> Option<Slot> {
        let mut idle = self.lock_zygote();
        idle.waiting = Some(call.id);
        let failed = matches!(Cause::of(&call.args), Cause::Failed { .. });
        let unmade = if failed { idle.making.take() } else { None };
        self.order_zygote(&mut idle);
        unmade
    }

    /// The process that the zygote made has read its operations, which lie in
    /// the zygote's page: the next order may replace them. To be called when its
    /// number is known, so that its death is not taken for the next one's.
    pub fn child_made(&self, slot: Slot) {
        let mut idle = self.lock_zygote();
        if idle.making == Some(slot) {
            idle.making = None;
            self.order_zygote(&mut idle);
        }
    }

    /// A process died before its first call. Returns its slot.
    pub fn child_died(&self) -> Option<Slot> {
        let mut idle = self.lock_zygote();
        let slot = idle.making.take();
        self.order_zygote(&mut idle);
        slot
    }

    fn lock_zygote(&self) -> MutexGuard<'_, Zygote> {
        self.idle.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn order_zygote(&self, idle: &mut Zygote) {
        if idle.wanted.is_empty() || idle.making.is_some() {
            return;
        }
        let Some(call) = idle.waiting.take() else { return };
        let Some(slot) = idle.wanted.pop() else { return };
        idle.making = Some(slot);
        let mut ops = fork_ops(slot).to_vec();
        ops.push(Op::ready());
        self.resume(Slot::ZYGOTE, call, &ops, 0);
    }
}

/// Operations by which a stub makes a process whose one thread has `slot`.
/// The child still shows the slots of its maker; it gives them up in the answer
/// to its first call, when it no longer reads its operations there.
pub fn fork_ops(slot: Slot) -> [Op; 6] {
    let child = [
        Op::map_ops(slot),
        Op::map_stack(slot),
        Op::signal_stack(slot),
        Op::die_with_parent(),
    ];
    let [ops, stack, signal_stack, die] = child;
    [
        Op::fork(child.len() as u64 + 1),
        ops,
        stack,
        signal_stack,
        die,
        Op::born(slot),
    ]
}

/// Operations by which a stub makes a thread that has `slot`.
pub fn thread_ops(slot: Slot) -> [Op; 5] {
    [
        Op::map_ops(slot),
        Op::map_stack(slot),
        Op::thread(2),
        Op::signal_stack(slot),
        Op::born(slot),
    ]
}

/// Whether user code may use RDFSBASE: bit 1 of AT_HWCAP2.
fn bases_are_readable() -> bool {
    // SAFETY: reads a word that the host's kernel gave the process.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        self.end();
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(-self.zygote, core::ptr::null_mut(), libc::__WALL) } > 0 {}
    }
}

const _: () = assert!(
    RIP < REGISTER_COUNT,
    "the instruction pointer is a register of the frame"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zygote_that_is_slower_than_its_child_owes_no_call() {
        let ram = sys::memfd(c"ram", 1 << 20, 0).expect("memory");
        let stubs = Stubs::unlearnt(&ram).expect("stubs");
        let (mut zygote_calls, mut faulted, mut late) = (0, false, None);
        let next = || {
            loop {
                if faulted && late.is_some() {
                    return Ok(late.take());
                }
                let event = stubs.next_event()?;
                if let Some(Event::Zygote(_)) = event {
                    zygote_calls += 1;
                    if zygote_calls == FIRST_ZYGOTE_CALLS && !faulted {
                        late = event;
                        continue;
                    }
                }
                faulted |= matches!(event, Some(Event::Stub(_, Cause::Signal(_))));
                return Ok(event);
            }
        };
        stubs.first_frame(next).expect("a frame");
        assert_eq!(zygote_calls, FIRST_ZYGOTE_CALLS);
        assert!(late.is_none(), "a call was left over");
    }
}
