//! Coming back from a handler.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_uapi::FromBytes;
use foliant_uapi::signal::{
    AltStack, AltStackFlags, FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FP_XSTATE_MAGIC2_SIZE, FpxSwBytes, FxSave,
    RtSigFrame, SigContext,
};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::{UserCpu, UserMachine, UserRegs, XFormat};
use crate::task::Task;
use crate::user::Copier;

use super::frame::{initial_xstate, on_stack};

const LEGACY: usize = size_of::<FxSave>();
/// Flags that user code may set this way: carry, parity, adjust, zero, sign,
/// trap, direction, overflow, resume, alignment check.
const SETTABLE_FLAGS: u64 = 0x5_0dd5;

/// Puts back what the frame on the stack says.
///
/// # Errors
/// `FAULT` if the frame cannot be read or holds extended state that no
/// processor could have; the task gets `SIGSEGV` then.
///
/// # Linux source concept
/// `sys_rt_sigreturn()`.
pub(crate) fn sigreturn<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    cpu: &mut M::Cpu,
) -> Result<(), Errno> {
    let space = task.space().ok_or(Errno::FAULT)?;
    let memory = Copier {
        kernel,
        task,
        space: &space,
    };
    let at = cpu.regs().rsp.wrapping_sub(8);
    // Copied once: user code may change it meanwhile.
    let frame: RtSigFrame = memory.read(at)?;

    task.set_blocked(frame.uc.sigmask);
    let format = kernel.machine().xformat();
    let image = match frame.uc.mcontext.fpstate {
        0 => initial_xstate(&format),
        at => read_xstate(&memory, at, &format)?,
    };
    restore_regs(cpu.regs(), &frame.uc.mcontext);
    cpu.xstate().copy_from_slice(&image);

    // Linux passes over a stack that it would refuse from `sigaltstack`.
    let _ = set_stack(task, &frame.uc.stack, cpu.regs().rsp);
    Ok(())
}

fn restore_regs(regs: &mut UserRegs, from: &SigContext) {
    *regs = UserRegs {
        r8: from.r8,
        r9: from.r9,
        r10: from.r10,
        r11: from.r11,
        r12: from.r12,
        r13: from.r13,
        r14: from.r14,
        r15: from.r15,
        rdi: from.rdi,
        rsi: from.rsi,
        rbp: from.rbp,
        rbx: from.rbx,
        rdx: from.rdx,
        rax: from.rax,
        rcx: from.rcx,
        rsp: from.rsp,
        rip: from.rip,
        rflags: (regs.rflags & !SETTABLE_FLAGS) | (from.eflags & SETTABLE_FLAGS),
        fs_base: regs.fs_base,
        gs_base: regs.gs_base,
    };
}

/// Sets the alternate stack.
///
/// # Errors
/// `PERM` while it is in use, `INVAL` for unknown flags, `NOMEM` if it is too small.
pub(crate) fn set_stack<M: UserMachine>(task: &Task<M>, new: &AltStack, sp: u64) -> Result<(), Errno> {
    let mut signals = task.signals.lock();
    if on_stack(&signals.stack, sp) {
        return Err(Errno::PERM);
    }
    let autodisarm = AltStackFlags::AUTODISARM.bits();
    let mode = new.flags & !autodisarm;
    if mode != AltStackFlags::DISABLE.bits() && mode != AltStackFlags::ONSTACK.bits() && mode != 0 {
        return Err(Errno::INVAL);
    }
    if mode == AltStackFlags::DISABLE.bits() {
        signals.stack = AltStack {
            sp: 0,
            flags: new.flags,
            pad: 0,
            size: 0,
        };
        return Ok(());
    }
    if new.size < AltStack::MIN_SIZE {
        return Err(Errno::NOMEM);
    }
    signals.stack = AltStack { pad: 0, ..*new };
    Ok(())
}

/// Reads the extended state that `at` holds, in the machine's format: the
/// whole image where its marks are right, else the legacy part.
fn read_xstate<M: UserMachine>(memory: &Copier<'_, M>, at: u64, format: &XFormat) -> Result<Vec<u8>, Errno> {
    let mut image = initial_xstate(format);
    memory.read_bytes(VirtAddr::new(at), &mut image[..LEGACY])?;
    let legacy = FxSave::read_from_bytes(&image[..LEGACY]).map_err(|_| Errno::FAULT)?;
    let whole = format.size > LEGACY && has_marks(memory, at, &legacy.sw, format);
    if whole {
        memory.read_bytes(VirtAddr::new(at), &mut image)?;
        check_header(&image, legacy.sw.xfeatures, format)?;
    } else if format.size > LEGACY {
        // Only x87 and SSE are in use.
        image[LEGACY] = 3;
    }
    check_legacy(&image[..LEGACY])?;
    image[LEGACY - size_of::<FpxSwBytes>()..LEGACY].fill(0);
    Ok(image)
}

/// # Linux source concept
/// `check_xstate_in_sigframe()`.
fn has_marks<M: UserMachine>(memory: &Copier<'_, M>, at: u64, sw: &FpxSwBytes, format: &XFormat) -> bool {
    if sw.magic1 != FP_XSTATE_MAGIC1
        || sw.xstate_size < (LEGACY + 64) as u32
        || sw.xstate_size > format.size as u32
        || sw.extended_size < sw.xstate_size + FP_XSTATE_MAGIC2_SIZE as u32
    {
        return false;
    }
    let end = at.wrapping_add(u64::from(sw.xstate_size));
    memory
        .read::<u32>(end)
        .is_ok_and(|magic| magic == FP_XSTATE_MAGIC2)
}

/// What XRSTOR would refuse.
fn check_header(image: &[u8], claimed: u64, format: &XFormat) -> Result<(), Errno> {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&image[LEGACY + at..LEGACY + at + 8]);
        u64::from_le_bytes(bytes)
    };
    let in_use = word(0);
    let rest_is_zero = (8..64).step_by(8).all(|at| word(at) == 0);
    let possible = in_use & !format.features == 0 && claimed & !format.features == 0;
    if rest_is_zero && possible {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

/// MXCSR bits that no processor has.
fn check_legacy(image: &[u8]) -> Result<(), Errno> {
    let mut mxcsr = [0; 4];
    mxcsr.copy_from_slice(&image[24..28]);
    if u32::from_le_bytes(mxcsr) & !0xffff == 0 {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

const _: () = assert!(size_of::<RtSigFrame>() == 440);
