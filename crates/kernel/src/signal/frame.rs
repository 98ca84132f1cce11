//! The stack of a handler.

use alloc::sync::Arc;

use foliant_uapi::IntoBytes;
use foliant_uapi::signal::{
    AltStack, AltStackFlags, FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FP_XSTATE_MAGIC2_SIZE, FpxSwBytes, FxSave,
    RtSigFrame, SigAction, SigActionFlags, SigContext, SigInfo, SigSet, Signal, UContext, UContextFlags,
};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::{UserCpu, UserMachine, UserRegs, XFormat};
use crate::task::{FaultInfo, Task};
use crate::user::Copier;

/// Selectors of 64-bit user code and data on Linux.
pub(super) const USER_CS: u16 = 0x33;
const USER_SS: u16 = 0x2b;

/// Bytes below the stack pointer that leaf functions use.
const RED_ZONE: u64 = 128;
/// Where software's bytes lie in an FXSAVE image.
const SW_OFFSET: usize = core::mem::offset_of!(FxSave, sw);
/// Bytes of an FXSAVE image.
const LEGACY: usize = size_of::<FxSave>();
/// Flags that a handler does not start with: direction, trap, resume.
const CLEARED_FLAGS: u64 = 1 << 10 | 1 << 8 | 1 << 16;

/// Makes the task run the handler of `signal` next.
///
/// # Errors
/// `FAULT` if the stack cannot be written, or there is no restorer.
///
/// # Linux source concept
/// `x64_setup_rt_frame()`.
pub(super) fn push<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    cpu: &mut M::Cpu,
    signal: Signal,
    info: SigInfo,
    action: &SigAction,
) -> Result<(), Errno> {
    let flags = action.flags();
    if !flags.contains(SigActionFlags::RESTORER) {
        return Err(Errno::FAULT);
    }
    let space = task.space().ok_or(Errno::FAULT)?;
    let memory = Copier {
        kernel,
        task,
        space: &space,
    };
    let format = kernel.machine().xformat();
    let regs = *cpu.regs();
    let (stack, blocked) = {
        let signals = task.signals.lock();
        (signals.stack, signals.saved_mask.unwrap_or(signals.blocked))
    };
    let place = place(&regs, &stack, flags, &format)?;

    write_xstate(&memory, place.xstate, cpu.xstate(), &format)?;
    let frame = RtSigFrame {
        pretcode: action.restorer,
        uc: UContext {
            flags: ucontext_flags(&format).bits(),
            link: 0,
            stack: reported_stack(&stack, regs.rsp),
            mcontext: context(&regs, place.xstate, blocked, *task.fault.lock()),
            sigmask: blocked,
        },
        info: if flags.contains(SigActionFlags::SIGINFO) {
            info
        } else {
            SigInfo::default()
        },
    };
    memory.write(place.frame, &frame)?;

    cpu.xstate().copy_from_slice(&initial_xstate(&format));
    let next = cpu.regs();
    next.rdi = u64::from(signal.raw());
    next.rsi = place.frame + core::mem::offset_of!(RtSigFrame, info) as u64;
    next.rdx = place.frame + core::mem::offset_of!(RtSigFrame, uc) as u64;
    next.rax = 0;
    next.rip = action.handler;
    next.rsp = place.frame;
    next.rflags &= !CLEARED_FLAGS;
    enter_handler(task, signal, action, &stack);
    Ok(())
}

/// What is held back while the handler runs.
fn enter_handler<M: UserMachine>(task: &Arc<Task<M>>, signal: Signal, action: &SigAction, stack: &AltStack) {
    let mut blocked = task.blocked().union(action.mask);
    if !action.flags().contains(SigActionFlags::NODEFER) {
        blocked.insert(signal);
    }
    {
        let mut signals = task.signals.lock();
        signals.saved_mask = None;
        if AltStackFlags::from_bits_retain(stack.flags).contains(AltStackFlags::AUTODISARM) {
            signals.stack = AltStack::default();
        }
    }
    task.set_blocked(blocked);
}

/// Addresses of the two parts of a frame.
struct Place {
    frame: u64,
    xstate: u64,
}

/// # Linux source concept
/// `get_sigframe()`.
fn place(regs: &UserRegs, stack: &AltStack, flags: SigActionFlags, format: &XFormat) -> Result<Place, Errno> {
    let nested = on_stack(stack, regs.rsp);
    let mut sp = regs.rsp.wrapping_sub(RED_ZONE);
    let mut entering = false;
    if flags.contains(SigActionFlags::ONSTACK) && stack.size != 0 && !nested {
        sp = stack.sp.wrapping_add(stack.size);
        entering = true;
    }

    let magic = if format.size > LEGACY {
        FP_XSTATE_MAGIC2_SIZE as u64
    } else {
        0
    };
    let xstate = sp.wrapping_sub(format.size as u64 + magic) & !63;
    let frame = (xstate.wrapping_sub(size_of::<RtSigFrame>() as u64) & !15).wrapping_sub(8);

    // A handler that would run off its alternate stack must not start there.
    if (nested || entering) && !(stack.sp < frame && frame - stack.sp <= stack.size) {
        return Err(Errno::FAULT);
    }
    Ok(Place { frame, xstate })
}

/// Whether `sp` is on the alternate stack. One that disarms itself never is.
pub(crate) fn on_stack(stack: &AltStack, sp: u64) -> bool {
    let disarms = AltStackFlags::from_bits_retain(stack.flags).contains(AltStackFlags::AUTODISARM);
    !disarms && sp > stack.sp && sp - stack.sp <= stack.size
}

/// The alternate stack as `sigaltstack` and frames report it.
pub(crate) fn reported_stack(stack: &AltStack, sp: u64) -> AltStack {
    let mode = stack.flags & AltStackFlags::AUTODISARM.bits();
    let state = if stack.size == 0 {
        AltStackFlags::DISABLE.bits()
    } else if on_stack(stack, sp) {
        AltStackFlags::ONSTACK.bits()
    } else {
        0
    };
    AltStack {
        flags: state | mode,
        ..*stack
    }
}

fn ucontext_flags(format: &XFormat) -> UContextFlags {
    let both = UContextFlags::SIGCONTEXT_SS | UContextFlags::STRICT_RESTORE_SS;
    if format.size > LEGACY {
        both | UContextFlags::FP_XSTATE
    } else {
        both
    }
}

fn context(regs: &UserRegs, xstate: u64, blocked: SigSet, fault: FaultInfo) -> SigContext {
    SigContext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rdi: regs.rdi,
        rsi: regs.rsi,
        rbp: regs.rbp,
        rbx: regs.rbx,
        rdx: regs.rdx,
        rax: regs.rax,
        rcx: regs.rcx,
        rsp: regs.rsp,
        rip: regs.rip,
        eflags: regs.rflags,
        cs: USER_CS,
        gs: 0,
        fs: 0,
        ss: USER_SS,
        err: fault.error_code,
        trapno: u64::from(fault.vector),
        oldmask: blocked.bits(),
        cr2: fault.addr.raw(),
        fpstate: xstate,
        reserved: [0; 8],
    }
}

/// Writes the extended state with the marks by which user code and
/// `rt_sigreturn` know its extent.
fn write_xstate<M: UserMachine>(
    memory: &Copier<'_, M>,
    at: u64,
    image: &[u8],
    format: &XFormat,
) -> Result<(), Errno> {
    let mut legacy = [0; LEGACY];
    legacy.copy_from_slice(&image[..LEGACY]);
    if format.size == LEGACY {
        return memory.write_bytes(VirtAddr::new(at), &legacy);
    }
    let sw = FpxSwBytes {
        magic1: FP_XSTATE_MAGIC1,
        extended_size: (format.size + FP_XSTATE_MAGIC2_SIZE) as u32,
        xfeatures: format.features,
        xstate_size: format.size as u32,
        padding: [0; 7],
    };
    legacy[SW_OFFSET..].copy_from_slice(sw.as_bytes());
    memory.write_bytes(VirtAddr::new(at), &legacy)?;

    // The x87 and SSE parts always count as in use.
    let mut features = [0; 8];
    features.copy_from_slice(&image[LEGACY..LEGACY + 8]);
    let features = u64::from_le_bytes(features) | 3;
    memory.write(at + LEGACY as u64, &features)?;
    let rest = LEGACY + 8;
    memory.write_bytes(VirtAddr::new(at + rest as u64), &image[rest..format.size])?;
    memory.write(at + format.size as u64, &FP_XSTATE_MAGIC2)
}

/// State as after reset.
pub(crate) fn initial_xstate(format: &XFormat) -> alloc::vec::Vec<u8> {
    let mut image = alloc::vec![0; format.size];
    image[..LEGACY].copy_from_slice(FxSave::INITIAL.as_bytes());
    image
}
