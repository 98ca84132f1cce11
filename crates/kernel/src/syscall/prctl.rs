//! Odds and ends of a process.

use foliant_mm::ThpMode;
use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::Sysno;
use foliant_uapi::prctl::*;
use foliant_uapi::signal::Signal;
use foliant_units::{Errno, VirtAddr};

use super::{Answer, Ctx, Fail, Handler};
use crate::creds::{Capability, Credentials};
use crate::machine::{UserCpu, UserMachine};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::PRCTL => prctl,
        Sysno::ARCH_PRCTL => arch_prctl,
        Sysno::PERSONALITY => personality,
        _ => return None,
    })
}

/// `prctl(option, ...)`
fn prctl<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let one = ctx.args[1];
    let task = ctx.task;
    let process = task.process();
    match ctx.uint(0) {
        PR_SET_NAME => {
            let mut name = [0; 16];
            read_name(ctx, one, &mut name)?;
            task.set_name(&name);
            Ok(0)
        }
        PR_GET_NAME => ctx.write(one, &task.name()).map(|()| 0).map_err(Fail::Errno),
        PR_SET_PDEATHSIG if one == 0 || Signal::from_raw(one as i32).is_some() && one <= 64 => {
            task.death_signal.store(one as u8, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => {
            let signal = i32::from(task.death_signal.load(Ordering::Relaxed));
            ctx.write(one, &signal).map(|()| 0).map_err(Fail::Errno)
        }
        PR_SET_DUMPABLE if one <= 1 => {
            process.dumpable.store(one as u8, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_DUMPABLE => Ok(u64::from(process.dumpable.load(Ordering::Relaxed))),
        PR_SET_TIMERSLACK => {
            let slack = if one == 0 { 50_000 } else { one };
            task.timer_slack.store(slack, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_TIMERSLACK => Ok(task.timer_slack.load(Ordering::Relaxed)),
        PR_SET_CHILD_SUBREAPER => {
            if let Some(node) = ctx.kernel.tree().node_mut(process.id()) {
                node.subreaper = one != 0;
            }
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => {
            let subreaper = ctx
                .kernel
                .tree()
                .node(process.id())
                .is_some_and(|node| node.subreaper);
            ctx.write(one, &i32::from(subreaper))
                .map(|()| 0)
                .map_err(Fail::Errno)
        }
        _ => habits(ctx),
    }
}

/// The options that are about memory, time and whom one lets look.
fn habits<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let [_, one, two, three, four, _] = ctx.args;
    let rest_is_zero = two == 0 && three == 0 && four == 0;
    let task = ctx.task;
    match ctx.uint(0) {
        PR_SET_THP_DISABLE if three == 0 && four == 0 => {
            ctx.space()?.set_thp_mode(thp_mode(one, two)?);
            Ok(0)
        }
        PR_GET_THP_DISABLE if one == 0 && rest_is_zero => Ok(match ctx.space()?.thp_mode() {
            ThpMode::Usual => 0,
            ThpMode::Off => 1,
            ThpMode::Advised => 1 | PR_THP_DISABLE_EXCEPT_ADVISED,
        }),
        PR_GET_TID_ADDRESS => {
            let at = task.words.lock().clear_child_tid.map_or(0, VirtAddr::raw);
            ctx.write(one, &at).map(|()| 0).map_err(Fail::Errno)
        }
        PR_GET_TSC => ctx.write(one, &1u32).map(|()| 0).map_err(Fail::Errno),
        PR_SET_TSC if one == 1 => Ok(0),
        PR_GET_SECCOMP => Ok(0),
        PR_MCE_KILL_GET if one == 0 && rest_is_zero => Ok(2),
        PR_SET_PTRACER => Ok(0),
        PR_SET_VMA => set_vma(ctx),
        // Neither is there to be turned on.
        PR_SET_MDWE | PR_GET_MDWE | PR_GET_MEMORY_MERGE if one == 0 && rest_is_zero => Ok(0),
        _ => rights(ctx),
    }
}

/// What `PR_SET_THP_DISABLE` asks for.
///
/// # Linux source concept
/// `prctl_set_thp_disable()`.
fn thp_mode(disable: u64, flags: u64) -> Result<ThpMode, Errno> {
    match (disable != 0, flags) {
        (false, 0) => Ok(ThpMode::Usual),
        (true, 0) => Ok(ThpMode::Off),
        (true, PR_THP_DISABLE_EXCEPT_ADVISED) => Ok(ThpMode::Advised),
        _ => Err(Errno::INVAL),
    }
}

/// The options that are about rights.
fn rights<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let [_, one, two, three, four, _] = ctx.args;
    let rest_is_zero = two == 0 && three == 0 && four == 0;
    let creds = ctx.task.creds();
    const KEEP_CAPS: u32 = 1 << 4;
    match ctx.uint(0) {
        PR_SET_NO_NEW_PRIVS if one == 1 && rest_is_zero => {
            ctx.task.set_creds(Credentials {
                no_new_privs: true,
                ..(*creds).clone()
            });
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS if one == 0 && rest_is_zero => Ok(u64::from(creds.no_new_privs)),
        PR_GET_KEEPCAPS => Ok(u64::from(creds.secure_bits & KEEP_CAPS != 0)),
        PR_SET_KEEPCAPS if one <= 1 => {
            let bits = creds.secure_bits & !KEEP_CAPS | if one == 1 { KEEP_CAPS } else { 0 };
            ctx.task.set_creds(Credentials {
                secure_bits: bits,
                ..(*creds).clone()
            });
            Ok(0)
        }
        PR_CAPBSET_READ if one <= LAST_CAPABILITY => Ok(creds.caps.bounding >> one & 1),
        PR_CAPBSET_DROP if one <= LAST_CAPABILITY => {
            if !creds.has(Capability::SetPcap) {
                return Err(Fail::Errno(Errno::PERM));
            }
            let mut new = (*creds).clone();
            new.caps.bounding &= !(1 << one);
            ctx.task.set_creds(new);
            Ok(0)
        }
        PR_CAP_AMBIENT => ambient(ctx, &creds),
        _ => Err(Fail::Errno(Errno::INVAL)),
    }
}

/// `CAP_CHECKPOINT_RESTORE`.
const LAST_CAPABILITY: u64 = 40;

fn ambient<M: UserMachine>(ctx: &Ctx<'_, M>, creds: &Credentials) -> Answer<M> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    let [_, what, capability, ..] = ctx.args;
    let mut new = creds.clone();
    match what {
        CLEAR_ALL if capability == 0 => new.caps.ambient = 0,
        IS_SET if capability <= LAST_CAPABILITY => return Ok(creds.caps.ambient >> capability & 1),
        LOWER if capability <= LAST_CAPABILITY => new.caps.ambient &= !(1 << capability),
        RAISE if capability <= LAST_CAPABILITY => {
            let bit = 1 << capability;
            if creds.caps.permitted & creds.caps.inheritable & bit == 0 {
                return Err(Fail::Errno(Errno::PERM));
            }
            new.caps.ambient |= bit;
        }
        _ => return Err(Fail::Errno(Errno::INVAL)),
    }
    ctx.task.set_creds(new);
    Ok(0)
}

/// Reads up to 15 bytes of a name, but never past its zero byte.
fn read_name<M: UserMachine>(ctx: &Ctx<'_, M>, at: u64, name: &mut [u8; 16]) -> Result<(), Errno> {
    match ctx.read_string(at, 15) {
        Ok(text) => name[..text.len()].copy_from_slice(&text),
        Err(Errno::TOOBIG) => ctx.read_bytes(at, &mut name[..15])?,
        Err(errno) => return Err(errno),
    }
    Ok(())
}

/// Names for anonymous memory are an option of Linux that is off by default.
fn set_vma<M: UserMachine>(_ctx: &Ctx<'_, M>) -> Answer<M> {
    Err(Fail::Errno(Errno::INVAL))
}

/// `arch_prctl(option, address)`
fn arch_prctl<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let value = ctx.args[1];
    // The first address that is not the user's.
    const END: u64 = 0x7fff_ffff_f000;
    match ctx.uint(0) {
        ARCH_SET_FS | ARCH_SET_GS if value >= END => return Err(Fail::Errno(Errno::PERM)),
        ARCH_SET_FS => ctx.cpu.regs().fs_base = value,
        ARCH_SET_GS => ctx.cpu.regs().gs_base = value,
        ARCH_GET_FS => {
            let base = ctx.cpu.regs().fs_base;
            ctx.write(value, &base)?;
        }
        ARCH_GET_GS => {
            let base = ctx.cpu.regs().gs_base;
            ctx.write(value, &base)?;
        }
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID if value != 0 => {}
        ARCH_SET_CPUID => return Err(Fail::Errno(Errno::NODEV)),
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => {
            ctx.write(value, &ctx.kernel.machine().xformat().features)?;
        }
        ARCH_SHSTK_ENABLE | ARCH_SHSTK_DISABLE | ARCH_SHSTK_LOCK => {
            return Err(Fail::Errno(Errno::OPNOTSUPP));
        }
        _ => return Err(Fail::Errno(Errno::INVAL)),
    }
    Ok(0)
}

/// `personality` bit: what may be read may be executed.
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

/// `personality(bits)`: answers the old ones.
fn personality<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let process = ctx.task.process();
    let old = process.personality();
    if ctx.uint(0) != u32::MAX {
        process.personality.store(ctx.uint(0), Ordering::Relaxed);
        let implied = ctx.uint(0) & READ_IMPLIES_EXEC != 0;
        ctx.space()?
            .set_layout(|layout| layout.read_implies_exec = implied);
    }
    Ok(u64::from(old))
}
