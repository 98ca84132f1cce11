//! Machine code that tries to reach the host's kernel or another guest's frames.
//!
//! Each attempt ends with call 1000 and an undefined instruction, or with its death.

#![allow(dead_code, reason = "each test uses its part")]

use std::arch::global_asm;

/// Call by which an attempt says that it is over.
pub(crate) const DONE: u32 = 1000;
/// Where the code of an attempt runs.
pub(crate) const CODE: u64 = 0x40_0000;
/// A page that it may write.
pub(crate) const DATA: u64 = 0x50_0000;

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
    // The trap call with TF set: the answer is in RAX in the frame. By IRET,
    // after which the first instruction with TF is the trap call itself.
    "lea rsp, [r15 + 0x800]",
    "mov edi, 1",
    "mov eax, 0x3ff",
    "mov rcx, ss",
    "push rcx",
    "push r15",
    "pushfq",
    "or dword ptr [rsp], 0x100",
    "mov rcx, cs",
    "push rcx",
    "push r12",
    "iretq",
    "attempt end",
    ".popsection",
);

macro_rules! attempts {
    ($($name:ident),*) => {
        unsafe extern "C" { $(pub(crate) static $name: u8;)* }
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
