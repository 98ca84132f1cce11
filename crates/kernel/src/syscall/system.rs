//! What the machine is.

use foliant_uapi::Sysno;
use foliant_uapi::resource::{Sysinfo, Utsname};
use foliant_units::Errno;

use super::{Answer, Ctx, Fail, Handler};
use crate::machine::UserMachine;

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::UNAME => uname,
        Sysno::SYSINFO => sysinfo,
        Sysno::GETRANDOM => getrandom,
        Sysno::SETHOSTNAME | Sysno::SETDOMAINNAME => |_| Err(Fail::Errno(Errno::PERM)),
        _ => return None,
    })
}

/// `personality` bit: claim to be an old release.
const UNAME26: u32 = 0x0002_0000;

/// `uname(buffer)`
fn uname<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let identity = &ctx.kernel.settings().identity;
    let old = ctx.task.process().personality() & UNAME26 != 0;
    let name = Utsname {
        sysname: Utsname::field("Linux"),
        nodename: Utsname::field(&identity.node),
        release: Utsname::field(if old { "2.6.78" } else { &identity.release }),
        version: Utsname::field(&identity.version),
        machine: Utsname::field("x86_64"),
        domainname: Utsname::field(&identity.domain),
    };
    ctx.write(ctx.args[0], &name)?;
    Ok(0)
}

/// `sysinfo(info)`
fn sysinfo<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let memory = ctx.kernel.memory_totals();
    let info = Sysinfo {
        uptime: (ctx.kernel.uptime().0 / 1_000_000_000) as i64,
        totalram: memory.total,
        freeram: memory.free,
        sharedram: memory.shared,
        procs: ctx.kernel.tree().task_count().min(usize::from(u16::MAX)) as u16,
        mem_unit: 1,
        ..Sysinfo::default()
    };
    ctx.write(ctx.args[0], &info)?;
    Ok(0)
}

/// `getrandom(buffer, size, flags)`
fn getrandom<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const NONBLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    let [at, size, ..] = ctx.args;
    let flags = ctx.uint(2);
    let both = RANDOM | INSECURE;
    if flags & !(NONBLOCK | both) != 0 || flags & both == both {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let size = size.min(i32::MAX as u64);
    let mut piece = [0; 256];
    let mut done = 0;
    while done < size {
        let len = (size - done).min(256) as usize;
        ctx.kernel.machine().random(&mut piece[..len]);
        if let Err(errno) = ctx.write_bytes(at.wrapping_add(done), &piece[..len]) {
            return if done == 0 {
                Err(Fail::Errno(errno))
            } else {
                Ok(done)
            };
        }
        done += len as u64;
    }
    Ok(done)
}
