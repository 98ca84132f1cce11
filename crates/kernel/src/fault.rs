//! Page faults and other exceptions of user code.

use alloc::sync::Arc;

use foliant_mm::{Access, Fault, FaultError, Segv, Weight};
use foliant_platform::sync::atomic::Ordering;
use foliant_uapi::SigInfo;
use foliant_uapi::signal::{SiCode, Signal};
use foliant_units::VirtAddr;

use crate::kernel::Kernel;
use crate::machine::{UserCpu, UserMachine};
use crate::task::{FaultInfo, Task};

/// Number of the page-fault exception.
const PAGE_FAULT: u8 = 14;
/// Bits of its error code.
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const FETCH: u64 = 1 << 4;

/// Resolves a fault, or sends the signal that says why not.
///
/// # Linux source concept
/// `do_user_addr_fault()`.
pub(crate) fn page_fault<M: UserMachine>(
    kernel: &Arc<Kernel<M>>,
    task: &Arc<Task<M>>,
    addr: VirtAddr,
    error_code: u64,
) {
    let Some(space) = task.space() else { return };
    let access = match error_code {
        code if code & FETCH != 0 => Access::Execute,
        code if code & WRITE != 0 => Access::Write,
        _ => Access::Read,
    };
    let result = space.fault(Fault {
        addr,
        access,
        user: true,
    });
    if let Some(observer) = kernel.observer() {
        observer.fault(task, addr, access, result);
    }
    let info = match result {
        Ok(resolved) => {
            let faults = &task.faults;
            let counter = if resolved.weight == Weight::Major {
                &faults.major
            } else {
                &faults.minor
            };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(FaultError::Segv(Segv::MapErr)) => SigInfo::fault(Signal::SEGV, SiCode::SEGV_MAPERR, addr.raw()),
        Err(FaultError::Segv(Segv::AccErr)) => SigInfo::fault(Signal::SEGV, SiCode::SEGV_ACCERR, addr.raw()),
        Err(FaultError::Bus) => SigInfo::fault(Signal::BUS, SiCode::BUS_ADRERR, addr.raw()),
        Err(FaultError::OutOfMemory) => return crate::oom::kill_somebody(kernel, task),
    };
    // What the program finds in its signal frame: a kernel address looks present.
    let present = if addr >= foliant_mm::TASK_END { PRESENT } else { 0 };
    remember(task, PAGE_FAULT, error_code | USER | present, addr);
    task.force(info);
}

fn remember<M: UserMachine>(task: &Task<M>, vector: u8, error_code: u64, addr: VirtAddr) {
    *task.fault.lock() = FaultInfo {
        vector,
        error_code,
        addr,
    };
}

/// Sends the signal of an exception.
///
/// # Linux source concept
/// arch/x86/kernel/traps.c.
pub(crate) fn exception<M: UserMachine>(task: &Arc<Task<M>>, cpu: &mut M::Cpu, vector: u8, error_code: u64) {
    // The address of the last page fault stays where frames show it.
    let addr = task.fault.lock().addr;
    remember(task, vector, error_code, addr);
    let at = cpu.regs().rip;
    task.force(match vector {
        0 => SigInfo::fault(Signal::FPE, SiCode::FPE_INTDIV, at),
        1 => SigInfo::fault(Signal::TRAP, SiCode::TRAP_TRACE, at),
        3 => SigInfo::kernel(Signal::TRAP),
        6 => SigInfo::fault(Signal::ILL, SiCode::ILL_ILLOPN, at),
        11 | 12 => SigInfo::kernel(Signal::BUS),
        16 | 19 => SigInfo::fault(Signal::FPE, float_code(cpu.xstate(), vector), at),
        17 => SigInfo::fault(Signal::BUS, SiCode::BUS_ADRALN, 0),
        _ => SigInfo::kernel(Signal::SEGV),
    });
}

/// Which floating-point exception is unmasked and raised.
///
/// # Linux source concept
/// `fpu__exception_code()`.
fn float_code(xstate: &[u8], vector: u8) -> SiCode {
    let word = |at: usize| u16::from(xstate[at]) | u16::from(xstate[at + 1]) << 8;
    let raised = if vector == 16 {
        let (control, status) = (word(0), word(2));
        status & !control
    } else {
        let mxcsr = word(24);
        !(mxcsr >> 7) & mxcsr
    };
    match raised & 0x3f {
        bits if bits & 0x01 != 0 => SiCode::FPE_FLTINV,
        bits if bits & 0x04 != 0 => SiCode::FPE_FLTDIV,
        bits if bits & 0x08 != 0 => SiCode::FPE_FLTOVF,
        bits if bits & 0x12 != 0 => SiCode::FPE_FLTUND,
        bits if bits & 0x20 != 0 => SiCode::FPE_FLTRES,
        _ => SiCode(0),
    }
}
