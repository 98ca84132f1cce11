//! Which function handles which number.

use crate::machine::UserMachine;

use super::answer::Answer;
use super::ctx::Ctx;

/// A handler of one system call.
pub type Handler<M> = fn(&mut Ctx<'_, M>) -> Answer<M>;

/// The handler of call `nr`; `None` is `ENOSYS`, and counted.
pub fn handler<M: UserMachine>(nr: u64) -> Option<Handler<M>> {
    super::process::handler(nr)
}
