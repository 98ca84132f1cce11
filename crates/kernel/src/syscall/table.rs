//! Which function handles which number.

use foliant_uapi::Sysno;

use crate::machine::UserMachine;

use super::answer::Answer;
use super::ctx::Ctx;

/// A handler of one system call.
pub type Handler<M> = fn(&mut Ctx<'_, M>) -> Answer<M>;

/// The handler of call `nr`; `None` is `ENOSYS`, and counted.
pub fn handler<M: UserMachine>(nr: u64) -> Option<Handler<M>> {
    let nr = Sysno::new(u32::try_from(nr).ok()?);
    super::files::handler(nr)
        .or_else(|| super::memory::handler(nr))
        .or_else(|| super::futex::handler(nr))
        .or_else(|| super::signal::handler(nr))
        .or_else(|| super::clone::handler(nr))
        .or_else(|| super::exec::handler(nr))
        .or_else(|| super::wait::handler(nr))
        .or_else(|| super::groups::handler(nr))
        .or_else(|| super::kill::handler(nr))
        .or_else(|| super::pidfd::handler(nr))
        .or_else(|| super::ids::handler(nr))
        .or_else(|| super::limits::handler(nr))
        .or_else(|| super::prctl::handler(nr))
        .or_else(|| super::sched::handler(nr))
        .or_else(|| super::shm::handler(nr))
        .or_else(|| super::sleep::handler(nr))
        .or_else(|| super::system::handler(nr))
        .or_else(|| super::timer::handler(nr))
}
