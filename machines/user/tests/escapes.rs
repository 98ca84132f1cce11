//! Guest code that tries to reach the host's kernel or another guest's frames.
//!
//! Each attempt runs as a guest does, on stub processes without a kernel.

mod attempts;

use foliant_user::host::{
    CallId, Cause, Event, Op, REGISTER_COUNT, RIP, Rights, Slot, Stubs, blank, is_machine_address,
    map_shared, memfd,
};

use attempts::*;

const RAM: u64 = 4 << 20;

/// What became of an attempt.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// The guest went on and made call 1000 with this in RDI.
    Finished(u64),
    /// The host killed its process.
    Killed(i32),
    /// It faulted, at CR2 and RIP.
    Fault(u64, u64),
    /// A signal came at this RIP, inside the machine's code, with this RAX.
    InsideStub(u64, u64),
}

/// What the supervisor saw on the way.
#[derive(Default, Debug)]
struct Seen {
    notified: Vec<u32>,
    trapped: Vec<(u32, u32)>,
}

fn attempt(code: *const u8) -> (End, Seen) {
    let ram = memfd(c"ram", RAM, 0).expect("a file");
    let view = map_shared(&ram, RAM as usize).expect("a mapping").as_ptr();
    let len = (&raw const attempt_end).addr() - code.addr();
    // SAFETY: the code is shorter than RAM, which nobody uses yet.
    unsafe { core::ptr::copy_nonoverlapping(code, view, len) };
    let stubs = Stubs::start(&ram).expect("stub processes");
    let slot = stubs.control().take().expect("a slot");
    stubs.spawn(slot);
    let mut seen = Seen::default();
    let end = run(&stubs, slot, &mut seen);
    (end, seen)
}

fn run(stubs: &Stubs, slot: Slot, seen: &mut Seen) -> End {
    let mut process = 0;
    loop {
        let event = loop {
            // The guest may be dead; then nothing will ever come.
            if process != 0
                && let Some(signal) = died(process)
            {
                return End::Killed(signal);
            }
            if stubs.is_waiting() {
                break stubs.next_event().expect("a listener");
            }
        };
        match event {
            None | Some(Event::Zygote(_)) => {}
            Some(Event::Guest(call)) if call.nr == DONE => return End::Finished(call.args[0]),
            Some(Event::Guest(call)) => {
                seen.notified.push(call.nr);
                stubs.answer(call.id, 4711);
            }
            Some(Event::Stub(call, Cause::Born(_))) => {
                process = call.thread;
                begin(stubs, slot, call.id);
            }
            Some(Event::Stub(call, Cause::Signal(signal))) => {
                if let Some(end) = signalled(stubs, slot, call.id, signal, seen) {
                    return end;
                }
            }
            Some(other) => panic!("unexpected {other:?}"),
        }
    }
}

fn begin(stubs: &Stubs, slot: Slot, call: CallId) {
    let entries = stubs.entries();
    let mut registers = [0; REGISTER_COUNT];
    registers[RIP] = CODE;
    registers[10] = entries.op - 2;
    registers[4] = entries.trap - 2;
    registers[5] = entries.sigreturn - 2;
    registers[6] = slot.address();
    registers[7] = DATA;
    let frame = blank(stubs.control(), slot, &registers);
    let code = Rights {
        write: false,
        execute: true,
    };
    let data = Rights {
        write: true,
        execute: false,
    };
    let ops = [
        Op::unmap_slot(Slot::ZYGOTE),
        Op::map_ram(CODE, 0x1000, 0, code),
        Op::map_ram(DATA, 0x1000, 0x1000, data),
    ];
    stubs.resume(slot, call, &ops, frame);
}

fn signalled(stubs: &Stubs, slot: Slot, call: CallId, signal: i32, seen: &mut Seen) -> Option<End> {
    let (frames, control) = (stubs.frames(), stubs.control());
    let (reason, registers) = (frames.reason(control, slot), frames.registers(control, slot));
    match signal {
        _ if is_machine_address(registers[RIP]) => {
            return Some(End::InsideStub(registers[RIP], registers[13]));
        }
        libc::SIGSYS if reason.call.0 == DONE => return Some(End::Finished(registers[8])),
        libc::SIGSYS => {
            seen.trapped.push(reason.call);
            frames.set_register(control, slot, 13, 4712);
        }
        // The forged trap call of `single_step_trap`; give it operations, so
        // that the secret is at stake.
        1 => {
            let ops = [Op::unmap(0x70_0000, 0x1000)];
            stubs.resume(slot, call, &ops, frames.address(slot));
            return None;
        }
        _ => return Some(End::Fault(reason.cr2, registers[RIP])),
    }
    frames.seal(control, slot);
    stubs.resume(slot, call, &[], frames.address(slot));
    None
}

/// The signal that a process died of.
fn died(process: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let who = unsafe { libc::waitpid(process, &raw mut status, libc::WNOHANG) };
    (who == process).then(|| libc::WTERMSIG(status))
}

#[test]
fn the_stubs_own_call_needs_the_secret() {
    for code in [
        &raw const attempt_operation,
        &raw const attempt_guess,
        &raw const attempt_trap_number,
        &raw const attempt_return_number,
    ] {
        let (end, seen) = attempt(code);
        assert_eq!(end, End::Killed(libc::SIGSYS), "{seen:?}");
    }
}

#[test]
fn a_return_from_a_signal_needs_the_secret_too() {
    for code in [
        &raw const attempt_sigreturn_home,
        &raw const attempt_sigreturn_into_operation,
    ] {
        assert_eq!(attempt(code).0, End::Killed(libc::SIGSYS));
    }
}

#[test]
fn the_machines_pages_cannot_be_written() {
    for code in [&raw const attempt_write_operations, &raw const attempt_write_code] {
        let (end, _) = attempt(code);
        let End::Fault(at, _) = end else { panic!("{end:?}") };
        assert!(is_machine_address(at));
    }
}

#[test]
fn mapping_by_hand_is_a_question_to_the_guests_kernel() {
    let (end, seen) = attempt(&raw const attempt_mmap);
    assert_eq!(end, End::Finished(4711));
    assert_eq!(seen.notified, [9]);
}

#[test]
fn other_ways_into_the_kernel_are_told_apart() {
    let (end, seen) = attempt(&raw const attempt_int80);
    assert_eq!(end, End::Finished(4712));
    assert_eq!(seen.trapped, [(20, 0x4000_0003)]);
    let (end, seen) = attempt(&raw const attempt_x32);
    assert_eq!(end, End::Finished(4712));
    assert_eq!(seen.trapped, [(0x4000_0027, 0xc000_003e)]);
}

#[test]
fn the_vsyscall_page_leads_to_the_guests_kernel() {
    let (end, seen) = attempt(&raw const attempt_vsyscall);
    // Hosts without the page fault there.
    if let End::Fault(at, _) = end {
        assert_eq!(at, 0xffff_ffff_ff60_0400);
        return;
    }
    assert_eq!(end, End::Finished(4711), "{seen:?}");
    assert_eq!(seen.notified, [201]);
}

#[test]
fn ptrace_is_a_question_to_the_guests_kernel() {
    let (end, seen) = attempt(&raw const attempt_ptrace);
    assert_eq!(end, End::Finished(4712));
    assert_eq!(seen.trapped, [(101, 0xc000_003e)]);
}

#[test]
fn a_single_stepped_trap_call_shows_itself() {
    let (end, seen) = attempt(&raw const attempt_single_step_trap);
    let End::InsideStub(at, secret) = end else {
        panic!("{end:x?} {seen:x?}")
    };
    // This is what `machine::guard` keeps from other threads of a guest: the
    // answer, which is the secret and the number of the slot.
    assert!(is_machine_address(at), "{at:#x}");
    assert!(secret >> 32 != 0 && secret & 0xffff != 0, "{secret:#x}");
}
