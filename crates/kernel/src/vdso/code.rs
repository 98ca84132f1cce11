//! The instructions of the vDSO.
//!
//! Leaf functions without a frame, position-independent with the data page at
//! a fixed distance below. Where the data says nothing (any more), or of a
//! clock that it does not know, they make the system call.
//!
//! ```text
//! RDI which clock   RSI where to   R8 data page   R9 its sequence   RAX/RDX/RCX scratch
//! ```

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::arch::global_asm;

    use super::super::elf::TEXT;
    use super::super::line::BEHIND;
    use super::super::page::{
        BASE, CLOCKS, DISTANCE, FIRST_TICK, MULTIPLIER, OFFSETS, SEQUENCE, SERVED, WINDOW,
    };

    global_asm!(
        ".pushsection .rodata.foliant_vdso,\"a\",@progbits",
        ".balign 64",
        ".globl foliant_vdso_begin",
        "foliant_vdso_begin:",
        // Nanoseconds of clock EDI, which is served, in RAX; carry if the data
        // does not say. Changes RCX, RDX, R8 to R11.
        ".balign 16",
        "20:",
        "lea r8, [rip + foliant_vdso_begin - {to_data}]",
        "21:",
        "mov r9, [r8 + {sequence}]",
        "test r9b, 1",
        "jnz 23f",
        "mov r10, [r8 + {base}]",
        "add r10, [r8 + 8 * rdi + {offsets}]",
        // Neither before the loads above nor after those below.
        "lfence",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "sub rax, [r8 + {first}]",
        "jae 22f",
        // A CPU whose counter is a little behind the one that was read first.
        "neg rax",
        "shr rax, {behind}",
        "jnz 23f",
        "22:",
        "cmp rax, [r8 + {window}]",
        "jae 23f",
        "mul qword ptr [r8 + {multiplier}]",
        "shrd rax, rdx, 32",
        "add rax, r10",
        "cmp r9, [r8 + {sequence}]",
        "jne 21b",
        "clc",
        "ret",
        "23:",
        "stc",
        "ret",
        // int clock_gettime(clockid_t, struct timespec *)
        ".balign 16",
        ".globl foliant_vdso_clock_gettime",
        "foliant_vdso_clock_gettime:",
        "cmp edi, {clocks}",
        "jae 31f",
        "mov eax, {served}",
        "bt eax, edi",
        "jnc 31f",
        "mov edi, edi",
        "call 20b",
        "jc 31f",
        "xor edx, edx",
        "mov ecx, 1000000000",
        "div rcx",
        "mov [rsi], rax",
        "mov [rsi + 8], rdx",
        "xor eax, eax",
        "ret",
        "31:",
        "mov eax, 228",
        "syscall",
        "ret",
        // int gettimeofday(struct timeval *, struct timezone *)
        ".balign 16",
        ".globl foliant_vdso_gettimeofday",
        "foliant_vdso_gettimeofday:",
        "test rdi, rdi",
        "jz 42f",
        "mov r11, rdi",
        "xor edi, edi",
        "call 20b",
        "mov rdi, r11",
        "jc 43f",
        "xor edx, edx",
        "mov ecx, 1000000000",
        "div rcx",
        "mov [rdi], rax",
        "mov eax, edx",
        "xor edx, edx",
        "mov ecx, 1000",
        "div ecx",
        "mov [rdi + 8], rax",
        "42:",
        "xor eax, eax",
        "test rsi, rsi",
        "jz 44f",
        "mov [rsi], rax",
        "44:",
        "ret",
        "43:",
        "mov eax, 96",
        "syscall",
        "ret",
        // time_t time(time_t *)
        ".balign 16",
        ".globl foliant_vdso_time",
        "foliant_vdso_time:",
        "mov r11, rdi",
        "xor edi, edi",
        "call 20b",
        "mov rdi, r11",
        "jc 52f",
        "xor edx, edx",
        "mov ecx, 1000000000",
        "div rcx",
        "test rdi, rdi",
        "jz 51f",
        "mov [rdi], rax",
        "51:",
        "ret",
        "52:",
        "mov eax, 201",
        "syscall",
        "ret",
        // int clock_getres(clockid_t, struct timespec *)
        ".balign 16",
        ".globl foliant_vdso_clock_getres",
        "foliant_vdso_clock_getres:",
        "cmp edi, {clocks}",
        "jae 61f",
        "mov eax, {served}",
        "bt eax, edi",
        "jnc 61f",
        "xor eax, eax",
        "test rsi, rsi",
        "jz 62f",
        "mov [rsi], rax",
        "mov qword ptr [rsi + 8], 1",
        "62:",
        "ret",
        "61:",
        "mov eax, 229",
        "syscall",
        "ret",
        // int getcpu(unsigned *, unsigned *, void *): the machine decides which
        // CPU a program sees, so the program asks.
        ".balign 16",
        ".globl foliant_vdso_getcpu",
        "foliant_vdso_getcpu:",
        "mov eax, 309",
        "syscall",
        "ret",
        ".globl foliant_vdso_end",
        "foliant_vdso_end:",
        ".popsection",
        to_data = const DISTANCE + TEXT as u64,
        sequence = const SEQUENCE,
        first = const FIRST_TICK,
        window = const WINDOW,
        multiplier = const MULTIPLIER,
        base = const BASE,
        offsets = const OFFSETS,
        behind = const BEHIND,
        clocks = const CLOCKS,
        served = const SERVED,
    );

    unsafe extern "C" {
        static foliant_vdso_begin: u8;
        static foliant_vdso_clock_gettime: u8;
        static foliant_vdso_gettimeofday: u8;
        static foliant_vdso_time: u8;
        static foliant_vdso_clock_getres: u8;
        static foliant_vdso_getcpu: u8;
        static foliant_vdso_end: u8;
    }

    /// Its bytes.
    pub(in crate::vdso) fn bytes() -> &'static [u8] {
        // SAFETY: the symbols bound one piece of this program's constants.
        unsafe {
            core::slice::from_raw_parts(&raw const foliant_vdso_begin, offset(&raw const foliant_vdso_end))
        }
    }

    /// Name without prefix, and start, of each function; ascending.
    pub(in crate::vdso) fn functions() -> [(&'static str, usize); 5] {
        [
            ("clock_gettime", offset(&raw const foliant_vdso_clock_gettime)),
            ("gettimeofday", offset(&raw const foliant_vdso_gettimeofday)),
            ("time", offset(&raw const foliant_vdso_time)),
            ("clock_getres", offset(&raw const foliant_vdso_clock_getres)),
            ("getcpu", offset(&raw const foliant_vdso_getcpu)),
        ]
    }

    fn offset(of: *const u8) -> usize {
        of.addr() - (&raw const foliant_vdso_begin).addr()
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{bytes, functions};
