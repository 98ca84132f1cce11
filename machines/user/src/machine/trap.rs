//! From a host thread's call to the kernel and back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use foliant_arch::AccessKind;
use foliant_kernel::{Next, Trap};
use foliant_units::{Errno, VirtAddr};

use super::cpu::{Cpu, Form};
use super::events::MachineEvent;
use super::guard::{blocks_all_signals, hears_kicks};
use super::lane::{Errand, Lane, State};
use super::space::{SpaceState, kick};
use super::tlb::Stale;
use super::{User, clock};
use crate::host::{
    Answered, Call, CallId, Cause, Event, Interrupted, KICK, OPS_MAX, Op, Reason, Slot, is_machine_address,
    kill,
};

/// An access that faulted.
#[derive(Clone, Copy)]
struct Miss {
    at: VirtAddr,
    kind: AccessKind,
}

/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// Numbers from here on are x32's.
const X32: u32 = 0x4000_0000;

impl User {
    /// Handles one event of the listener to its end.
    pub(crate) fn dispatch(&self, event: Event) {
        match event {
            Event::Zygote(failed) => {
                self.pool().came();
                if let Some(slot) = failed {
                    self.stillborn(slot);
                }
            }
            Event::Guest(call) => self.notified(&call),
            Event::Stub(call, cause) => self.stub(&call, cause),
        }
    }

    /// The lane of a host thread that is in guest code as far as anybody knows.
    fn arrival(&self, call: &Call) -> Option<Arc<Lane>> {
        let lane = self.lanes().by_thread(call.thread)?;
        if let Some(space) = lane.space() {
            space.came_in(&lane);
        }
        lane.kicked.store(false, Ordering::SeqCst);
        if !lane.arrive(State::Running) {
            return None;
        }
        self.pool().came();
        Some(lane)
    }

    fn notified(&self, call: &Call) {
        let Some(lane) = self.arrival(call) else {
            return self.stranger(call);
        };
        let mut cpu = Cpu::notified(self, lane, call.id);
        if call.nr >= X32 {
            cpu.set_result_errno(Errno::NOSYS);
            return self.resume(cpu, None);
        }
        self.enter(
            cpu,
            Trap::Syscall {
                nr: u64::from(call.nr),
                args: call.args,
            },
            None,
        );
    }

    fn stub(&self, call: &Call, cause: Cause) {
        match cause {
            Cause::Born(slot) => self.born(call, slot),
            Cause::Signal(signal) => self.signalled(call, signal),
            Cause::Ready => self.back(call, Errand::Back(call.id, None)),
            Cause::Failed { errno, .. } => self.back(call, Errand::Failed(call.id, errno)),
            Cause::Nonsense => self.stranger(call),
        }
    }

    /// A thread's first call.
    fn born(&self, call: &Call, slot: u64) {
        if self.lanes().by_thread(call.thread).is_some() {
            return self.stranger(call);
        }
        let lane = u16::try_from(slot)
            .ok()
            .and_then(|slot| self.lanes().by_slot(Slot(slot)));
        let birth = lane.as_ref().and_then(|lane| lane.birth.lock().ok()?.take());
        let (Some(lane), Some(birth)) = (lane, birth) else {
            return self.stranger(call);
        };
        self.lanes().born(&lane, call.thread);
        self.stubs().child_made(lane.slot);
        if !lane.arrive(State::Unborn) {
            return self.misbehaved(&lane);
        }
        self.pool().came();
        self.let_answer(&lane);
        let mut ops = Vec::new();
        if birth.from_zygote {
            ops.push(Op::unmap_slot(Slot::ZYGOTE));
        }
        let (fs, gs) = birth.bases;
        ops.extend([Op::set_fs(fs), Op::set_gs(gs)]);
        self.send(&lane, call.id, ops, birth.frame, None);
    }

    /// The host has no process for a lane.
    pub(crate) fn stillborn(&self, slot: Slot) {
        let Some(lane) = self.lanes().by_slot(slot) else {
            return;
        };
        if let Some(task) = lane.task() {
            self.tell(MachineEvent::Stillborn(task.process().id()));
        }
        let state = lane.die();
        self.lanes().remove(slot);
        self.mourn(&lane, state);
    }

    /// A thread that did what it was sent for, or could not.
    fn back(&self, call: &Call, errand: Errand) {
        let Some(lane) = self.lanes().by_thread(call.thread) else {
            return self.stranger(call);
        };
        if lane.deliver(errand) {
            return;
        }
        let Errand::Failed(..) = errand else {
            return self.stranger(call);
        };
        // An operation on the way to guest code failed: the host has no room
        // for another mapping. Start over with none.
        if self.arrival(call).is_none() {
            return self.stranger(call);
        }
        if let Some(space) = lane.space() {
            let mut inner = space.lock();
            inner.tlb.clear();
            space.note(&mut inner, Stale::All);
        }
        let frame = lane.frame.load(Ordering::SeqCst);
        self.send(&lane, call.id, Vec::new(), frame, None);
    }

    /// A signal brought a thread in.
    fn signalled(&self, call: &Call, signal: i32) {
        let Some(lane) = self.lanes().by_thread(call.thread) else {
            return self.stranger(call);
        };
        let interrupted = self.stubs().interrupted(lane.slot, call.args[2]);
        let usual = call.args[2] == self.stubs().frames().ucontext(lane.slot);
        // On the way back from an answer only a kick can meet a thread.
        if !usual && (interrupted.is_none() || signal != KICK) {
            return self.stranger(call);
        }
        if lane.deliver(Errand::Back(call.id, self.stubs().bases(call))) {
            return;
        }
        if self.arrival(call).is_none() {
            return self.stranger(call);
        }
        // Threads end by calls that come this way.
        self.count_answered(&lane);
        let mut cpu = Cpu::framed(self, lane, call.id, self.stubs().bases(call));
        if interrupted == Some(Interrupted::Leaving) {
            cpu.regs.rip = cpu.regs.rcx;
        }
        // No other genuine frame was taken inside the stub: all signals are
        // blocked there. What such a frame holds may include the secret.
        if is_machine_address(cpu.regs.rip) {
            return self.stranger(call);
        }
        let reason = self
            .stubs()
            .frames()
            .reason(self.stubs().control(), cpu.lane.slot);
        self.classify(cpu, signal, &reason);
    }

    fn classify(&self, mut cpu: Cpu, signal: i32, reason: &Reason) {
        let exception = |vector| Trap::Exception {
            vector,
            error_code: reason.error_code,
        };
        let trap = match signal {
            KICK => Trap::Kicked,
            libc::SIGSYS => {
                let (nr, arch) = reason.call;
                if arch != ARCH || nr >= X32 {
                    // Other ways into the kernel than Linux's own 64-bit one.
                    cpu.set_result_errno(Errno::NOSYS);
                    return self.resume(cpu, None);
                }
                let r = &cpu.loaded;
                Trap::Syscall {
                    nr: u64::from(nr),
                    args: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
                }
            }
            libc::SIGSEGV if reason.vector == 14 => return self.missed(cpu, reason),
            // The host has no memory left for RAM that it promised.
            libc::SIGBUS if reason.vector == 14 => return self.misbehaved(&cpu.lane),
            libc::SIGSEGV => exception(13),
            libc::SIGBUS => exception(17),
            libc::SIGILL => exception(6),
            libc::SIGTRAP => exception(if reason.vector == 1 { 1 } else { 3 }),
            _ => exception(u8::try_from(reason.vector).unwrap_or(0)),
        };
        self.enter(cpu, trap, None);
    }

    /// A page fault of the host: a TLB miss, or a fault of the guest.
    fn missed(&self, cpu: Cpu, reason: &Reason) {
        let kind = match reason.error_code {
            code if code & 2 != 0 => AccessKind::Write,
            code if code & 16 != 0 => AccessKind::Execute,
            _ => AccessKind::Read,
        };
        let miss = Miss {
            at: VirtAddr::new(reason.cr2),
            kind,
        };
        let Some(space) = cpu.lane.space() else { return };
        match self.probe(space.root, miss.at, kind) {
            Ok(()) => self.resume(cpu, Some(miss)),
            Err(code) => {
                // A key that forbids the access is not in the tables.
                let error_code = u64::from(code.bits()) | reason.error_code & 32;
                self.enter(
                    cpu,
                    Trap::PageFault {
                        addr: miss.at,
                        error_code,
                    },
                    Some(miss),
                );
            }
        }
    }

    /// Has the kernel handle a trap.
    fn enter(&self, mut cpu: Cpu, trap: Trap, miss: Option<Miss>) {
        self.pool().ensure_receiver(self);
        let Some(task) = cpu.lane.task() else { return };
        let Some(kernel) = self.kernel() else { return };
        let time = || clock::monotonic().0.saturating_sub(task.parker().slept().0);
        let before = time();
        let entered = self.errands().enter(&task, &trap);
        let next = kernel.handle(&task, &mut cpu, trap);
        drop(entered);
        task.thread().count_system(time().saturating_sub(before));
        match next {
            Next::Resume => self.resume(cpu, miss),
            Next::Gone => self.gone(cpu),
        }
    }

    /// Lets a task go on in guest code.
    fn resume(&self, mut cpu: Cpu, miss: Option<Miss>) {
        if let Form::Notified { result } = cpu.form {
            if self.answer(&cpu, result) {
                return;
            }
            // What the host shows must change first, and that takes a thread
            // whose registers are in a frame.
            cpu.materialise();
        }
        let frame = match cpu.form {
            Form::Framed { frame } => frame,
            Form::Nascent => return self.launch(&mut cpu),
            Form::Lost => return self.abandon(&cpu.lane),
            Form::Notified { .. } => return,
        };
        let bases = cpu.store();
        let mut ops = Vec::new();
        ops.extend(bases[0].map(Op::set_fs));
        ops.extend(bases[1].map(Op::set_gs));
        if frame == self.stubs().frames().address(cpu.lane.slot) {
            self.stubs().frames().seal(self.stubs().control(), cpu.lane.slot);
        }
        self.send(&cpu.lane, cpu.call, ops, frame, miss);
    }

    /// Answers a notified call. False if the thread must not run guest code yet.
    fn answer(&self, cpu: &Cpu, result: u64) -> bool {
        let Some(space) = cpu.lane.space() else {
            return true;
        };
        self.pool().expect();
        let removed = space.removed();
        cpu.lane.proof.store(removed, Ordering::SeqCst);
        cpu.lane.sent.store(removed, Ordering::SeqCst);
        if !cpu.lane.depart() {
            self.pool().came();
            self.abandon(&cpu.lane);
            return true;
        }
        // Whoever notes staleness after this sees the thread run.
        if space.is_stale() {
            if cpu.lane.arrive(State::Running) {
                self.pool().came();
            }
            return false;
        }
        self.kick_if_wanted(&cpu.lane);
        if self.stubs().answer(cpu.call, result) == Answered::Lost {
            self.lost(&cpu.lane);
        }
        true
    }

    /// Sends a thread on its way to guest code: what is stale goes, what it
    /// missed comes, then the registers of `frame`.
    fn send(&self, lane: &Arc<Lane>, call: CallId, mut ops: Vec<Op>, frame: u64, miss: Option<Miss>) {
        let Some(space) = lane.space() else { return };
        let alone = {
            let mut inner = space.lock();
            if inner.tlb.len() >= self.run_limit() {
                space.shed(&mut inner);
            }
            inner.tlb.pending(space.removed(), &mut ops);
            let latest = inner.tlb.latest();
            if let Some(miss) = miss
                && let Some(run) = self.fill(space.root, &mut inner, miss.at, miss.kind)
            {
                ops.push(run.op());
            }
            lane.proof.store(space.settled(&inner), Ordering::SeqCst);
            lane.sent.store(latest, Ordering::SeqCst);
            lane.frame.store(frame, Ordering::SeqCst);
            self.pool().expect();
            lane.depart().then_some(inner.lanes.len() == 1)
        };
        let Some(alone) = alone else {
            self.pool().came();
            return self.abandon(lane);
        };
        debug_assert!(ops.len() <= OPS_MAX, "a reply's operations fit in their page");
        self.kick_if_wanted(lane);
        if !self.may_hold_secret(&space, lane) {
            return self.misbehaved(lane);
        }
        if alone && space.was_shared() && frame == self.stubs().frames().address(lane.slot) {
            // This return sets mask and signal stack, and nobody else is left
            // who could have changed them.
            self.stubs().frames().seal(self.stubs().control(), lane.slot);
            space.unshare();
        }
        if self.stubs().resume(lane.slot, call, &ops, frame) == Answered::Lost {
            self.lost(lane);
        }
    }

    /// The kernel asked for the thread while it was inside and still wants it.
    fn kick_if_wanted(&self, lane: &Lane) {
        if lane.kicked.load(Ordering::SeqCst) && lane.task().is_some_and(|task| task.parker().attention()) {
            kick(lane);
        }
    }

    /// Sends a thread on an errand inside its stub and waits for it.
    pub(crate) fn errand(&self, cpu: &mut Cpu, mut ops: Vec<Op>) -> Result<(), Errno> {
        let Form::Framed { .. } = cpu.form else {
            return Err(Errno::AGAIN);
        };
        let Some(space) = cpu.lane.space() else {
            return Err(Errno::AGAIN);
        };
        if !self.may_hold_secret(&space, &cpu.lane) {
            self.end_forger(&cpu.lane);
            cpu.form = Form::Lost;
            return Err(Errno::AGAIN);
        }
        ops.push(Op::ready());
        cpu.lane.expect();
        self.pool().expect();
        if self.stubs().resume(cpu.lane.slot, cpu.call, &ops, 0) == Answered::Lost {
            cpu.lane.deliver(Errand::Lost);
        }
        self.pool().ensure_receiver(self);
        let errand = cpu.lane.await_errand();
        self.pool().came();
        match errand {
            Errand::Back(call, _) => {
                cpu.call = call;
                Ok(())
            }
            Errand::Failed(call, errno) => {
                cpu.call = call;
                Err(Errno::from_raw(errno).unwrap_or(Errno::AGAIN))
            }
            Errand::None | Errand::Awaited | Errand::Lost => {
                cpu.form = Form::Lost;
                Err(Errno::AGAIN)
            }
        }
    }

    /// Brings a thread that waits in a notified call in with its registers.
    /// `None` if it is gone.
    pub(crate) fn fetch(&self, cpu: &Cpu, result: u64) -> Option<(CallId, Option<(u64, u64)>)> {
        if cpu.lane.space().is_some_and(|space| space.was_shared()) && !hears_kicks(&cpu.lane) {
            self.end_forger(&cpu.lane);
            return None;
        }
        cpu.lane.expect();
        self.pool().expect();
        kick(&cpu.lane);
        if self.stubs().answer(cpu.call, result) == Answered::Lost {
            cpu.lane.deliver(Errand::Lost);
        }
        self.pool().ensure_receiver(self);
        let errand = cpu.lane.await_errand();
        self.pool().came();
        match errand {
            Errand::Back(call, bases) => Some((call, bases)),
            _ => None,
        }
    }

    /// A task has ended: its host thread ends too, and the process with the last.
    fn gone(&self, mut cpu: Cpu) {
        if cpu.lane.space().is_some_and(|space| space.was_shared()) {
            // Only from its handler can one thread of several end.
            cpu.materialise();
        }
        self.part(&cpu.lane, cpu.call, cpu.form);
        cpu.lane.set_task(None);
    }

    /// Lets a thread that is born answer calls for its own numbers, unless
    /// somebody watches every call.
    fn let_answer(&self, lane: &Lane) {
        let (Some(kernel), Some(task)) = (self.kernel(), lane.task()) else {
            return;
        };
        if !kernel.calls_are_watched() {
            let (process, thread) = (task.process().id().raw(), task.tid().raw());
            self.stubs().control().enable_answers(lane.slot, process, thread);
        }
    }

    /// Counts the calls that a thread answered by itself.
    fn count_answered(&self, lane: &Lane) {
        let answered = self.stubs().control().take_answered(lane.slot);
        if answered == [0, 0] {
            return;
        }
        let Some(kernel) = self.kernel() else { return };
        for (nr, count) in [libc::SYS_getpid, libc::SYS_gettid].into_iter().zip(answered) {
            kernel.counts().called_many(nr as u64, count);
        }
    }

    /// Ends a host thread that is inside.
    pub(crate) fn part(&self, lane: &Arc<Lane>, call: CallId, form: Form) {
        let (process, _) = lane.numbers();
        let space = lane.space();
        let was_last = space.as_ref().is_none_or(|space| space.leave(lane));
        if matches!(lane.die(), State::Unborn | State::Dead) {
            return;
        }
        if was_last {
            return kill(process);
        }
        if form == Form::Lost {
            return;
        }
        if !blocks_all_signals(lane) {
            return self.misbehaved(lane);
        }
        self.lanes().forget_thread(lane);
        if let (Form::Framed { .. }, Some(space)) = (form, space) {
            self.stubs().resume(lane.slot, call, &[Op::exit_thread()], 0);
            space.bury_later(lane);
        }
    }

    /// A call that no thread of this machine can have made in good faith.
    fn stranger(&self, call: &Call) {
        match self.lanes().by_thread(call.thread) {
            Some(lane) => self.misbehaved(&lane),
            None => kill(call.thread),
        }
    }

    /// A guest that tried to pass for its stub: its process ends. Nothing else
    /// may be done with the thread, which the reaper reports.
    fn misbehaved(&self, lane: &Arc<Lane>) {
        if lane.depart() {
            self.pool().expect();
        }
        self.end_forger(lane);
    }

    /// Ends the process of a thread that its handler still has.
    fn end_forger(&self, lane: &Lane) {
        if let Some(task) = lane.task() {
            self.tell(MachineEvent::Misbehaved(task.process().id()));
        }
        kill(lane.numbers().0);
    }

    /// A thread vanished while it was inside; the reaper tells the kernel.
    fn lost(&self, lane: &Arc<Lane>) {
        let state = lane.die();
        self.mourn(lane, state);
    }

    /// A thread vanished while its handler had it. The reaper leaves the task
    /// to the handler, which ends it here.
    fn abandon(&self, lane: &Arc<Lane>) {
        lane.die();
        let (Some(task), Some(kernel)) = (lane.task(), self.kernel()) else {
            return;
        };
        if let Some(space) = lane.space() {
            space.leave(lane);
        }
        kernel.lost(&task);
        lane.set_task(None);
    }

    /// Whether an order with operations may be sent: the thread cannot store the
    /// secret where another thread of its guest would read it.
    fn may_hold_secret(&self, space: &SpaceState, lane: &Lane) -> bool {
        !space.was_shared() || blocks_all_signals(lane)
    }
}

impl Cpu {
    fn set_result_errno(&mut self, errno: Errno) {
        foliant_kernel::UserCpu::set_result(self, errno.to_return() as u64);
    }
}
