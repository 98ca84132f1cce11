//! inotify.

use foliant_uapi::open::{AT_FDCWD, OpenFlags};
use foliant_units::Errno;

use crate::fs::Last;
use crate::machine::UserMachine;
use crate::syscall::{Answer, Ctx};

/// Bits that a mask may have, and must have one of.
///
/// # Linux source concept
/// `ALL_INOTIFY_BITS`.
const KNOWN: u32 = 0xf700_efff;
/// `IN_MASK_CREATE` and `IN_MASK_ADD`.
const ONLY_NEW: u32 = 0x1000_0000;
const ADD_TO: u32 = 0x2000_0000;
/// `IN_DONT_FOLLOW`.
const DONT_FOLLOW: u32 = 0x0200_0000;

pub(super) fn inotify_init<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let file = ctx.kernel.files().new_watches()?;
    Ok(ctx.install(file, OpenFlags::empty())?)
}

pub(super) fn inotify_init1<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = OpenFlags::from_bits_retain(ctx.uint(0));
    if !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC).contains(flags) {
        return Err(Errno::INVAL.into());
    }
    let file = ctx.kernel.files().new_watches()?;
    Ok(ctx.install(file, flags)?)
}

pub(super) fn inotify_add_watch<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let mask = ctx.uint(2);
    if mask & !KNOWN != 0 || mask & KNOWN == 0 {
        return Err(Errno::INVAL.into());
    }
    let open = ctx.open(0)?;
    if mask & ONLY_NEW != 0 && mask & ADD_TO != 0 {
        return Err(Errno::INVAL.into());
    }
    let watches = open.file().watches().ok_or(Errno::INVAL)?;
    let last = if mask & DONT_FOLLOW != 0 {
        Last::Keep
    } else {
        Last::Follow
    };
    let node = ctx.node_at(AT_FDCWD, 1, last, false)?;
    Ok(watches.add(&node, mask)? as u64)
}

pub(super) fn inotify_rm_watch<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let watches = open.file().watches().ok_or(Errno::INVAL)?;
    watches.remove(ctx.int(1))?;
    Ok(0)
}
