//! Guest code that tries to reach the host's kernel or another guest's frames.
//!
//! Each attempt is a piece of machine code that runs as a guest does. It ends
//! with call 1000, or with the death of its process.

use std::arch::global_asm;

use foliant_user::host::{
    CallId, Cause, Event, Op, REGISTER_COUNT, RIP, Rights, Slot, Stubs, blank, is_machine_address,
    map_shared, memfd,
};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const RAM: u64 = 4 << 20;
const DONE: u32 = 1000;

// RBP: the operations' syscall instruction, R12: the trap call's, R13: the
// return's, R14: the operations page, R15: data.
global_asm!(
    ".pushsection .text",
    ".macro attempt name",
    ".globl attempt_\\name",
    "attempt_\\name:",
    ".endm",
    ".macro finish",
    "mov eax, 1000",
    "syscall",
    "ud2",
    ".endm",
    // mmap(0x700000, 4096, READ | WRITE, SHARED | FIXED, 0, 0)
    ".macro map_ram_arguments",
    "mov eax, 9",
    "mov edi, 0x700000",
    "mov esi, 4096",
    "mov edx, 3",
    "mov r10d, 0x11",
    "xor r8d, r8d",
    "xor r9d, r9d",
    ".endm",
    "attempt operation",
    "map_ram_arguments",
    "jmp rbp",
    "attempt guess",
    "map_ram_arguments",
    "mov r8, 0x1234567800000000",
    "mov r11, 0x4321000000000000",
    "or rdx, r11",
    "jmp rbp",
    "attempt trap_number",
    "map_ram_arguments",
    "jmp r12",
    "attempt return_number",
    "map_ram_arguments",
    "jmp r13",
    "attempt sigreturn_into_operation",
    // A frame whose RIP is the operations' syscall.
    "lea rsp, [r15 + 0x108]",
    "mov qword ptr [r15 + 0x100 + 8], 0",
    "map_ram_arguments",
    "mov [r15 + 0x100 + 48 + 0], r8",
    "mov [r15 + 0x100 + 48 + 16], r10",
    "mov [r15 + 0x100 + 48 + 64], rdi",
    "mov [r15 + 0x100 + 48 + 72], rsi",
    "mov [r15 + 0x100 + 48 + 96], rdx",
    "mov [r15 + 0x100 + 48 + 104], rax",
    "mov [r15 + 0x100 + 48 + 128], rbp",
    "mov rax, 0x2b000000000033",
    "mov [r15 + 0x100 + 48 + 144], rax",
    "mov eax, 15",
    "jmp r13",
    "attempt sigreturn_home",
    "lea rax, [rip + 9f]",
    "mov [r15 + 0x100 + 48 + 128], rax",
    "mov qword ptr [r15 + 0x100 + 48 + 56], 0x77",
    "mov rax, 0x2b000000000033",
    "mov [r15 + 0x100 + 48 + 144], rax",
    "lea rsp, [r15 + 0x108]",
    "mov eax, 15",
    "jmp r13",
    "9:",
    "mov rdi, r15",
    "finish",
    "attempt write_operations",
    "mov qword ptr [r14], 1",
    "finish",
    "attempt write_code",
    "mov byte ptr [r12], 0xc3",
    "finish",
    "attempt mmap",
    "map_ram_arguments",
    "syscall",
    "mov rdi, rax",
    "finish",
    "attempt int80",
    // ia32 getpid
    "mov eax, 20",
    "int 0x80",
    "mov rdi, rax",
    "finish",
    "attempt x32",
    "mov eax, 0x40000027",
    "syscall",
    "mov rdi, rax",
    "finish",
    "attempt vsyscall",
    "lea rsp, [r15 + 0x800]",
    "mov rax, 0xffffffffff600400",
    "xor edi, edi",
    "call rax",
    "mov rdi, rax",
    "finish",
    "attempt ptrace",
    "mov eax, 101",
    "syscall",
    "mov rdi, rax",
    "finish",
    "attempt single_step_trap",
    // The trap call with TF set: the answer would be in RAX in the frame.
    "lea rsp, [r15 + 0x800]",
    "mov edi, 1",
    "mov eax, 0x3ff",
    "pushfq",
    "or dword ptr [rsp], 0x100",
    "popfq",
    "jmp r12",
    "ud2",
    "attempt end",
    ".popsection",
);

macro_rules! attempts {
    ($($name:ident),*) => {
        unsafe extern "C" { $(static $name: u8;)* }
    };
}
attempts!(
    attempt_operation,
    attempt_guess,
    attempt_trap_number,
    attempt_return_number,
    attempt_sigreturn_into_operation,
    attempt_sigreturn_home,
    attempt_write_operations,
    attempt_write_code,
    attempt_mmap,
    attempt_int80,
    attempt_x32,
    attempt_vsyscall,
    attempt_ptrace,
    attempt_single_step_trap,
    attempt_end
);

/// What became of an attempt.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// The guest went on and made call 1000 with this in RDI.
    Finished(u64),
    /// The host killed its process.
    Killed(i32),
    /// It faulted, at CR2 and RIP.
    Fault(u64, u64),
    /// A signal came whose frame lies inside the machine's code.
    InsideStub,
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
        _ if is_machine_address(registers[RIP]) => return Some(End::InsideStub),
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
    assert_eq!(end, End::InsideStub, "{seen:?}");
}
