//! Measures what a trap costs on this host, in TSC ticks: a notified system
//! call, one by signal, and a fault with its mapping.
//!
//! ```text
//! cargo run --release -p foliant-user --example round_trips
//! ```

use std::arch::global_asm;

use foliant_user::host::{
    Cause, Event, Op, REGISTER_COUNT, RIP, Rights, Slot, Stubs, blank, map_shared, memfd,
};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const AREA: u64 = 0x100_0000;
const ROUNDS: u64 = 2000;
const RAM: u64 = 64 << 20;

// R15 is the address of samples; each test stores ROUNDS of them and then
// makes call 1000, by which the supervisor knows that they are there.
global_asm!(
    ".pushsection .text",
    "round_trips_begin:",
    ".macro timed_begin",
    "xor r14d, r14d",
    "1:",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "mov r13, rax",
    ".endm",
    ".macro timed_end",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "sub rax, r13",
    "mov [r15 + r14 * 8], rax",
    "inc r14",
    "cmp r14, 2000",
    "jb 1b",
    "mov eax, 1000",
    "syscall",
    ".endm",
    "timed_begin",
    "mov eax, 110",
    "syscall",
    "timed_end",
    "timed_begin",
    "mov eax, 12",
    "syscall",
    "timed_end",
    "mov rbx, 0x1000000",
    "timed_begin",
    "mov byte ptr [rbx], 1",
    "add rbx, 4096",
    "timed_end",
    "mov rbx, 0x1000000",
    "timed_begin",
    "mov byte ptr [rbx], 1",
    "add rbx, 4096",
    "timed_end",
    "2: jmp 2b",
    "round_trips_end:",
    ".popsection",
);

unsafe extern "C" {
    static round_trips_begin: u8;
    static round_trips_end: u8;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ram = memfd(c"ram", RAM, 0)?;
    let view = map_shared(&ram, RAM as usize)?.as_ptr();
    let stubs = Stubs::start(&ram)?;
    let len = (&raw const round_trips_end).addr() - (&raw const round_trips_begin).addr();
    // SAFETY: the code is shorter than RAM, which nothing else uses yet.
    unsafe { core::ptr::copy_nonoverlapping(&raw const round_trips_begin, view, len) };

    let slot = stubs.control().take().ok_or("no slot")?;
    stubs.spawn(slot);
    let names = [
        "notified call (getppid)",
        "call by signal (brk)",
        "fault, 1 page a mapping",
        "fault, 16 pages a mapping",
    ];
    let mut names = names.into_iter();
    let mut batch = 1;
    let writable = Rights {
        write: true,
        execute: false,
    };
    let frame = stubs.frames().address(slot);
    loop {
        match stubs.next_event()? {
            None | Some(Event::Zygote(_)) => {}
            Some(Event::Guest(call)) => {
                stubs.answer(call.id, 4711);
            }
            Some(Event::Stub(call, Cause::Born(_))) => {
                let mut registers = [0; REGISTER_COUNT];
                registers[RIP] = CODE;
                registers[7] = DATA;
                let at = blank(stubs.control(), slot, &registers);
                let code = Rights {
                    write: false,
                    execute: true,
                };
                let ops = [
                    Op::unmap_slot(Slot::ZYGOTE),
                    Op::map_ram(CODE, 4096, 0, code),
                    Op::map_ram(DATA, 0x8000, 0x10000, writable),
                ];
                stubs.resume(slot, call.id, &ops, at);
            }
            Some(Event::Stub(call, Cause::Signal(libc::SIGSEGV))) => {
                let reason = stubs.frames().reason(stubs.control(), slot);
                stubs.frames().seal(stubs.control(), slot);
                let page = reason.cr2 & !0xfff;
                let op = Op::map_ram(page, 4096 * batch, 0x10_0000 + page - AREA, writable);
                stubs.resume(slot, call.id, &[op], frame);
            }
            Some(Event::Stub(call, Cause::Signal(libc::SIGSYS))) => {
                let nr = stubs.frames().registers(stubs.control(), slot)[13];
                let mut ops = vec![];
                if nr == 1000 {
                    // SAFETY: the samples lie inside RAM, and their writer waits.
                    let samples =
                        unsafe { core::slice::from_raw_parts(view.add(0x10000).cast::<u64>(), 2000) };
                    if report(names.next().unwrap_or("?"), samples) == "fault, 16 pages a mapping" {
                        return Ok(());
                    }
                    if names.len() == 1 {
                        batch = 16;
                        ops.push(Op::unmap(AREA, ROUNDS * 4096));
                    }
                }
                stubs.frames().seal(stubs.control(), slot);
                stubs.resume(slot, call.id, &ops, frame);
            }
            Some(other) => return Err(format!("{other:x?}").into()),
        }
    }
}

fn report<'a>(name: &'a str, samples: &[u64]) -> &'a str {
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    let mean = samples.iter().sum::<u64>() / samples.len() as u64;
    println!(
        "{name:30} median {:7}  mean {mean:7}  p99 {:7}",
        samples[1000], samples[1980]
    );
    name
}
