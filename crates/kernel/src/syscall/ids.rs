//! Users, groups and capabilities.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::Sysno;
use foliant_uapi::sched::{CapData, CapHeader};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::creds::{Capability, Credentials, Ids};
use crate::machine::UserMachine;
use crate::pid::Pid;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::GETUID => |ctx| Ok(u64::from(ctx.task.creds().uid.real)),
        Sysno::GETEUID => |ctx| Ok(u64::from(ctx.task.creds().uid.effective)),
        Sysno::GETGID => |ctx| Ok(u64::from(ctx.task.creds().gid.real)),
        Sysno::GETEGID => |ctx| Ok(u64::from(ctx.task.creds().gid.effective)),
        Sysno::GETRESUID => |ctx| get_three(ctx, |creds| creds.uid),
        Sysno::GETRESGID => |ctx| get_three(ctx, |creds| creds.gid),
        Sysno::SETUID => |ctx| set_one(ctx, USER),
        Sysno::SETGID => |ctx| set_one(ctx, GROUP),
        Sysno::SETREUID => |ctx| set_two(ctx, USER),
        Sysno::SETREGID => |ctx| set_two(ctx, GROUP),
        Sysno::SETRESUID => |ctx| set_three(ctx, USER),
        Sysno::SETRESGID => |ctx| set_three(ctx, GROUP),
        Sysno::SETFSUID => |ctx| set_files(ctx, USER),
        Sysno::SETFSGID => |ctx| set_files(ctx, GROUP),
        Sysno::GETGROUPS => getgroups,
        Sysno::SETGROUPS => setgroups,
        Sysno::CAPGET => capget,
        Sysno::CAPSET => capset,
        _ => return None,
    })
}

/// The difference between the calls for users and those for groups.
#[derive(Clone, Copy)]
struct Kind {
    capability: Capability,
    ids: fn(&mut Credentials) -> &mut Ids,
}

const USER: Kind = Kind {
    capability: Capability::SetUid,
    ids: |creds| &mut creds.uid,
};
const GROUP: Kind = Kind {
    capability: Capability::SetGid,
    ids: |creds| &mut creds.gid,
};

/// "Leave it as it is."
const SAME: u32 = u32::MAX;

fn get_three<M: UserMachine>(ctx: &mut Ctx<'_, M>, which: fn(&Credentials) -> Ids) -> Answer<M> {
    let ids = which(&ctx.task.creds());
    for (at, id) in ctx.args.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        ctx.write(at, &id)?;
    }
    Ok(0)
}

/// Puts changed ids in force; capabilities follow the change of users.
///
/// # Linux source concept
/// `cap_emulate_setxuid()`.
fn commit<M: UserMachine>(ctx: &Ctx<'_, M>, old: &Credentials, mut new: Credentials) -> Answer<M> {
    let root = |ids: Ids| ids.real == 0 || ids.effective == 0 || ids.saved == 0;
    let keeps = new.secure_bits & 1 << 4 != 0;
    if root(old.uid) && !root(new.uid) && !keeps {
        new.caps.permitted = 0;
        new.caps.effective = 0;
        new.caps.ambient = 0;
    }
    if old.uid.effective == 0 && new.uid.effective != 0 {
        new.caps.effective = 0;
    }
    if old.uid.effective != 0 && new.uid.effective == 0 {
        new.caps.effective = new.caps.permitted;
    }
    ctx.task.set_creds(new);
    Ok(0)
}

fn set_one<M: UserMachine>(ctx: &mut Ctx<'_, M>, kind: Kind) -> Answer<M> {
    let id = ctx.uint(0);
    if id == SAME {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let old = ctx.task.creds();
    let mut new = (*old).clone();
    let privileged = old.has(kind.capability);
    let ids = (kind.ids)(&mut new);
    if privileged {
        *ids = Ids::all(id);
    } else if id == ids.real || id == ids.saved {
        ids.effective = id;
        ids.files = id;
    } else {
        return Err(Fail::Errno(Errno::PERM));
    }
    commit(ctx, &old, new)
}

fn set_two<M: UserMachine>(ctx: &mut Ctx<'_, M>, kind: Kind) -> Answer<M> {
    let (real, effective) = (ctx.uint(0), ctx.uint(1));
    let old = ctx.task.creds();
    let mut new = (*old).clone();
    let privileged = old.has(kind.capability);
    let ids = (kind.ids)(&mut new);
    let before = *ids;
    if real != SAME {
        if !privileged && real != before.real && real != before.effective {
            return Err(Fail::Errno(Errno::PERM));
        }
        ids.real = real;
    }
    if effective != SAME {
        if !privileged && !before.holds(effective) {
            return Err(Fail::Errno(Errno::PERM));
        }
        ids.effective = effective;
    }
    if real != SAME || effective != SAME && effective != before.real {
        ids.saved = ids.effective;
    }
    ids.files = ids.effective;
    commit(ctx, &old, new)
}

fn set_three<M: UserMachine>(ctx: &mut Ctx<'_, M>, kind: Kind) -> Answer<M> {
    let wanted = [ctx.uint(0), ctx.uint(1), ctx.uint(2)];
    let old = ctx.task.creds();
    let mut new = (*old).clone();
    let privileged = old.has(kind.capability);
    let ids = (kind.ids)(&mut new);
    let before = *ids;
    if !privileged && wanted.iter().any(|id| *id != SAME && !before.holds(*id)) {
        return Err(Fail::Errno(Errno::PERM));
    }
    let keep = |wanted: u32, now: u32| if wanted == SAME { now } else { wanted };
    ids.real = keep(wanted[0], ids.real);
    ids.effective = keep(wanted[1], ids.effective);
    ids.saved = keep(wanted[2], ids.saved);
    ids.files = ids.effective;
    commit(ctx, &old, new)
}

/// Answers the old id, whether or not it could be changed.
fn set_files<M: UserMachine>(ctx: &mut Ctx<'_, M>, kind: Kind) -> Answer<M> {
    let id = ctx.uint(0);
    let old = ctx.task.creds();
    let mut new = (*old).clone();
    let privileged = old.has(kind.capability);
    let ids = (kind.ids)(&mut new);
    let before = ids.files;
    if id != SAME && (privileged || ids.holds(id) || id == before) {
        ids.files = id;
        ctx.task.set_creds(new);
    }
    Ok(u64::from(before))
}

/// `getgroups(size, list)`
fn getgroups<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let groups = ctx.task.creds().groups.clone();
    let size = ctx.int(0);
    if size < 0 || size != 0 && (size as usize) < groups.len() {
        return Err(Fail::Errno(Errno::INVAL));
    }
    if size != 0 {
        let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_le_bytes()).collect();
        ctx.write_bytes(ctx.args[1], &bytes)?;
    }
    Ok(groups.len() as u64)
}

/// `setgroups(size, list)`
fn setgroups<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let old = ctx.task.creds();
    if !old.has(Capability::SetGid) {
        return Err(Fail::Errno(Errno::PERM));
    }
    let count = ctx.uint(0) as usize;
    if count > 65536 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let mut bytes = alloc::vec![0; count * 4];
    ctx.read_bytes(ctx.args[1], &mut bytes)?;
    let group = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let mut groups: Vec<u32> = bytes.chunks(4).map(group).collect();
    groups.sort_unstable();
    ctx.task.set_creds(Credentials {
        groups: Arc::new(groups),
        ..(*old).clone()
    });
    Ok(0)
}

/// The number of [`CapData`] that go with a version; an unknown version is
/// answered with the right one.
fn cap_pieces<M: UserMachine>(ctx: &Ctx<'_, M>) -> Result<(CapHeader, u64), Fail<M>> {
    let header: CapHeader = ctx.read(ctx.args[0])?;
    match header.version {
        CapHeader::VERSION_1 => Ok((header, 1)),
        CapHeader::VERSION_2 | CapHeader::VERSION_3 => Ok((header, 2)),
        _ => {
            ctx.write(ctx.args[0], &CapHeader::VERSION_3)?;
            Err(Fail::Errno(Errno::INVAL))
        }
    }
}

/// `capget(header, data)`
fn capget<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let pieces = cap_pieces(ctx);
    if ctx.args[1] == 0 {
        // Only the version is asked for.
        return match pieces {
            Ok(_) | Err(Fail::Errno(Errno::INVAL)) => Ok(0),
            Err(fail) => Err(fail),
        };
    }
    let (header, pieces) = pieces?;
    if header.pid < 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let caps = super::ctx::task_or_self(ctx, Pid::new(header.pid))?.creds().caps;
    for piece in 0..pieces {
        let shift = 32 * piece;
        let data = CapData {
            effective: (caps.effective >> shift) as u32,
            permitted: (caps.permitted >> shift) as u32,
            inheritable: (caps.inheritable >> shift) as u32,
        };
        ctx.write(
            ctx.args[1].wrapping_add(piece * size_of::<CapData>() as u64),
            &data,
        )?;
    }
    Ok(0)
}

/// `capset(header, data)`
fn capset<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (header, pieces) = cap_pieces(ctx)?;
    if header.pid != 0 && Pid::new(header.pid) != ctx.task.tid() {
        return Err(Fail::Errno(Errno::PERM));
    }
    let old = ctx.task.creds();
    let mut new = (*old).clone();
    (new.caps.effective, new.caps.permitted, new.caps.inheritable) = (0, 0, 0);
    for piece in 0..pieces {
        let data: CapData = ctx.read(ctx.args[1].wrapping_add(piece * size_of::<CapData>() as u64))?;
        let shift = 32 * piece;
        new.caps.effective |= u64::from(data.effective) << shift;
        new.caps.permitted |= u64::from(data.permitted) << shift;
        new.caps.inheritable |= u64::from(data.inheritable) << shift;
    }
    let (was, is) = (&old.caps, &new.caps);
    let may_inherit = was.inheritable
        | if old.has(Capability::SetPcap) {
            was.bounding
        } else {
            was.permitted
        };
    if is.permitted & !was.permitted != 0
        || is.effective & !is.permitted != 0
        || is.inheritable & !may_inherit != 0
    {
        return Err(Fail::Errno(Errno::PERM));
    }
    new.caps.ambient &= new.caps.permitted & new.caps.inheritable;
    ctx.task.set_creds(new);
    Ok(0)
}
