//! Calls about the caller itself.

use super::{Answer, Ctx, Handler};
use crate::machine::UserMachine;

pub(super) fn handler<M: UserMachine>(nr: u64) -> Option<Handler<M>> {
    Some(match nr {
        39 => getpid,
        186 => gettid,
        _ => return None,
    })
}

fn getpid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Ok(ctx.task.process().id().raw() as u64)
}

fn gettid<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    Ok(ctx.task.tid().raw() as u64)
}
