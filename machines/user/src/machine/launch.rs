//! New tasks, and tasks that become other programs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foliant_kernel::{CpuTimes, Origin, Space, Start, Task, UserCpu, UserRegs};
use foliant_platform::Nanos;
use foliant_uapi::signal::{SigInfo, Signal};
use foliant_units::Errno;

use super::User;
use super::cpu::{Cpu, Form, to_words};
use super::lane::{Birth, Lane, State};
use super::space::SpaceState;
use super::tlb::Stale;
use crate::host::{self, Op, blank, thread_ops};

/// Ended threads that one new thread clears away.
const ENDED_MAX: usize = 16;

/// The machine's part of a task: its host thread of the moment.
pub struct UserThread {
    machine: User,
    lane: Mutex<Arc<Lane>>,
    /// Nanoseconds that handling its traps took.
    system: AtomicU64,
}

impl UserThread {
    pub(super) fn new(machine: &User) -> Result<Self, Errno> {
        Ok(Self {
            machine: machine.clone(),
            lane: Mutex::new(machine.new_lane()?),
            system: AtomicU64::new(0),
        })
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        self.lane
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clone()
    }

    /// Handling a trap of it took so many nanoseconds.
    pub(super) fn count_system(&self, nanos: u64) {
        self.system.fetch_add(nanos, Ordering::Relaxed);
    }

    /// CPU time of the host thread, which is the guest's own, and the time that
    /// its traps were handled, sleep left out. That is measured by the clock:
    /// asking for the worker's CPU time would cost more than many a call.
    pub(super) fn times(&self) -> CpuTimes {
        let lane = self.lane();
        let (process, thread) = (
            lane.process.load(Ordering::SeqCst),
            lane.thread.load(Ordering::SeqCst),
        );
        let alone = process == thread && lane.space().is_some_and(|space| !space.was_shared());
        let user = if alone {
            host::cpu_time(process)
        } else {
            let text = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat"));
            text.ok().and_then(|text| text.split(' ').next()?.parse().ok())
        };
        let user = user.unwrap_or(0);
        CpuTimes {
            user: Nanos(user),
            system: Nanos(self.system.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for UserThread {
    fn drop(&mut self) {
        let lane = self.lane();
        // A lane whose host thread was never asked for is nobody's business.
        if lane.space().is_none() {
            self.machine.lanes().remove(lane.slot);
        }
    }
}

impl User {
    fn new_lane(&self) -> Result<Arc<Lane>, Errno> {
        let slot = self.stubs().control().take().ok_or(Errno::AGAIN)?;
        let lane = Lane::new(self, slot);
        self.lanes().add(&lane);
        Ok(lane)
    }

    /// See [`UserMachine::start`](foliant_kernel::UserMachine::start).
    pub(super) fn start_task(&self, start: Start<'_, Self>) -> Result<(), Errno> {
        let lane = start.task.thread().lane();
        let space = start.task.space().ok_or(Errno::SRCH)?;
        lane.set_task(Some(start.task.clone()));
        match start.origin {
            Origin::Fresh => {
                self.spawn(&lane, &space, &start.regs, None);
                // The first worker: no trap has been received yet.
                self.pool().ensure_receiver(self);
                Ok(())
            }
            Origin::Fork(parent) => {
                let state = parent.xstate().to_vec();
                self.spawn(&lane, &space, &start.regs, Some(&state));
                Ok(())
            }
            Origin::Thread(parent) => self.start_thread(&lane, &space, parent, &start.regs),
        }
    }

    /// Asks the zygote for a process that runs in `space`.
    fn spawn(&self, lane: &Arc<Lane>, space: &Space<Self>, regs: &UserRegs, state: Option<&[u8]>) {
        let context = space.context().0.clone();
        let frame = self.first_frame(lane, regs, state);
        self.announce(lane, frame, regs, true);
        lane.set_space(Some(context.clone()));
        context.join(lane);
        // The zygote's own next call, and the child's first.
        self.pool().expect();
        self.pool().expect();
        self.stubs().spawn(lane.slot);
    }

    fn start_thread(
        &self,
        lane: &Arc<Lane>,
        space: &Space<Self>,
        parent: &mut Cpu,
        regs: &UserRegs,
    ) -> Result<(), Errno> {
        let context = space.context().0.clone();
        let state = parent.xstate().to_vec();
        let frame = self.first_frame(lane, regs, Some(&state));
        self.announce(lane, frame, regs, false);
        lane.process
            .store(parent.lane.process.load(Ordering::SeqCst), Ordering::SeqCst);
        lane.set_space(Some(context.clone()));
        context.join(lane);
        self.pool().expect();
        let (mut ops, ended) = self.ended_lanes(&context);
        ops.extend(thread_ops(lane.slot));
        let made = self.errand(parent, ops).and_then(|()| {
            // A process that ends takes its threads along, born or not.
            self.lanes().enlist(lane).then_some(()).ok_or(Errno::AGAIN)
        });
        if made.is_ok() {
            self.lanes().retire(&ended);
            // It reads its first operations in the parent's page, which the
            // parent's next order replaces.
            self.pool().ensure_receiver(self);
            lane.await_birth();
        }
        if made.is_err() {
            if matches!(lane.die(), State::Unborn | State::Running) {
                self.pool().came();
            }
            context.leave(lane);
            lane.set_space(None);
            lane.set_task(None);
        }
        made.map_err(|_| Errno::AGAIN)
    }

    /// Lanes of the space whose host threads have ended, and what takes their
    /// slots out of it.
    fn ended_lanes(&self, context: &SpaceState) -> (Vec<Op>, Vec<Arc<Lane>>) {
        let ended = context.take_ended(ENDED_MAX);
        (
            ended.iter().map(|lane| Op::unmap_slot(lane.slot)).collect(),
            ended,
        )
    }

    /// Writes the first frame of a thread.
    fn first_frame(&self, lane: &Lane, regs: &UserRegs, state: Option<&[u8]>) -> u64 {
        let (control, frames) = (self.stubs().control(), self.stubs().frames());
        match state {
            None => blank(control, lane.slot, &to_words(regs)),
            Some(state) => {
                frames.set_registers(control, lane.slot, &to_words(regs));
                frames.set_xstate(control, lane.slot, state);
                frames.seal(control, lane.slot);
                frames.address(lane.slot)
            }
        }
    }

    fn announce(&self, lane: &Lane, frame: u64, regs: &UserRegs, from_zygote: bool) {
        let bases = (regs.fs_base, regs.gs_base);
        *lane.bases.lock().unwrap_or_else(|poison| poison.into_inner()) = bases;
        *lane.birth.lock().unwrap_or_else(|poison| poison.into_inner()) = Some(Birth {
            frame,
            bases,
            from_zygote,
        });
    }

    /// See [`UserMachine::exec`](foliant_kernel::UserMachine::exec).
    pub(super) fn exec_task(
        &self,
        task: &Arc<Task<Self>>,
        cpu: &mut Cpu,
        space: &Arc<Space<Self>>,
        regs: UserRegs,
    ) -> Result<(), Errno> {
        cpu.materialise();
        let old = cpu.lane.space().ok_or(Errno::SRCH)?;
        cpu.xstate = None;
        if matches!(cpu.form, Form::Framed { .. }) && !old.was_shared() {
            self.reuse(cpu, space, regs);
            return Ok(());
        }
        // Others live, or lived, in the old host process: leave it to them.
        let lane = self.new_lane()?;
        self.part(&cpu.lane, cpu.call, cpu.form);
        cpu.lane.set_task(None);
        lane.set_task(Some(task.clone()));
        lane.set_space(Some(space.context().0.clone()));
        task.thread().replace(lane.clone());
        cpu.lane = lane;
        cpu.form = Form::Nascent;
        cpu.regs = regs;
        Ok(())
    }

    /// Moves a host process with one thread to another space.
    fn reuse(&self, cpu: &mut Cpu, space: &Space<Self>, regs: UserRegs) {
        let context = space.context().0.clone();
        if let Some(old) = cpu.lane.space() {
            old.leave(&cpu.lane);
        }
        cpu.lane.sent.store(0, Ordering::SeqCst);
        cpu.lane.proof.store(0, Ordering::SeqCst);
        {
            let mut inner = context.lock();
            context.note(&mut inner, Stale::All);
        }
        context.join(&cpu.lane);
        cpu.lane.set_space(Some(context));
        let frame = blank(self.stubs().control(), cpu.lane.slot, &to_words(&regs));
        cpu.form = Form::Framed { frame };
        let bases = (cpu.loaded.fs_base, cpu.loaded.gs_base);
        cpu.regs = regs;
        cpu.loaded = UserRegs {
            fs_base: bases.0,
            gs_base: bases.1,
            ..regs
        };
    }

    /// Starts the host thread of a task that left a shared one by `execve`.
    pub(super) fn launch(&self, cpu: &mut Cpu) {
        let Some(task) = cpu.lane.task() else { return };
        let Some(space) = task.space() else { return };
        let state = cpu.xstate.take();
        let regs = cpu.regs;
        self.spawn(&cpu.lane, &space, &regs, state.as_deref());
    }

    /// Tells the kernel that a task's host thread is gone, which was in `state`.
    pub(super) fn mourn(&self, lane: &Arc<Lane>, state: State) {
        let (Some(task), Some(kernel)) = (lane.task(), self.kernel()) else {
            return;
        };
        match state {
            State::Running | State::Unborn => {
                self.pool().came();
                if let Some(space) = lane.space() {
                    space.leave(lane);
                }
                kernel.lost(&task);
                lane.set_task(None);
            }
            // Its handler is to find an end.
            State::Inside => task.process().send(SigInfo::kernel(Signal::KILL)),
            State::Dead => {}
        }
    }
}

impl UserThread {
    fn replace(&self, lane: Arc<Lane>) {
        *self.lane.lock().unwrap_or_else(|poison| poison.into_inner()) = lane;
    }
}

/// Operations are small values; the launch of a thread sends a handful.
const _: () = assert!(size_of::<Op>() == 64, "one line of operations");
