//! The code that lives in guest address spaces.
//!
//! It is the only thing there that the host's kernel lets make system calls,
//! and it makes those that the supervisor lists. Guest code can jump anywhere
//! in it with any registers, so nothing here believes a register that the
//! guest could have set:
//!
//! * The answer to a trap call carries, in RAX, a secret (48 bits, made anew
//!   for every machine) and the number of the thread's slot. The list of
//!   operations is found through that number, in pages that the guest cannot
//!   write; the stack is not used.
//! * The filter lets an operation, and the return from a signal, through only
//!   with the secret in argument bits that the kernel ignores. It is in
//!   registers from the answer until the return replaces them, never in memory.
//! * All signals are blocked meanwhile in a genuine handler, so that no signal
//!   frame stores those registers. `machine::guard` has the case of a guest
//!   that jumped to the trap call with signals open.
//!
//! * `getpid` and `gettid` are answered here, without the secret; see
//!   `host::answers`.
//!
//! ```text
//! RBX next record   R12 records left   R13 secret for R8   R14 secret for RDX/R10   R15 slot
//! ```

use core::arch::global_asm;

use super::answers;
use super::layout::{CONTROL_BASE, SLOT_SHIFT, SLOT_SIZE, STUB_BASE};
use super::op::{FAILED, TRAP_NR};

global_asm!(
    ".pushsection .text.foliant_stub,\"ax\",@progbits",
    ".balign 4096",
    ".globl foliant_stub_begin",
    "foliant_stub_begin:",
    // The handler of every signal: RDI signal, RSI siginfo, RDX ucontext.
    ".globl foliant_stub_handler_bases",
    "foliant_stub_handler_bases:",
    "mov r9d, 1",
    "cmp edi, {sigsys}",
    "je 30f",
    "20:",
    "rdfsbase r10",
    "rdgsbase r8",
    "22:",
    "mov eax, {trap_nr}",
    "21:",
    "syscall",
    ".globl foliant_stub_trap",
    "foliant_stub_trap:",
    // The answer: secret (48 bits), slot (16 bits).
    "movzx r15d, ax",
    "shl r15, {slot_shift}",
    "movabs rcx, {control}",
    "add r15, rcx",
    "mov r13, rax",
    "shr r13, 32",
    "shl r13, 32",
    "mov r14, rax",
    "shr r14, 16",
    "shl r14, 48",
    "lea rbx, [r15 + 64]",
    "mov r12d, dword ptr [r15]",
    ".globl foliant_stub_loop",
    "foliant_stub_loop:",
    "test r12d, r12d",
    "jz 25f",
    "mov rax, [rbx]",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "cmp eax, {trap_nr}",
    "je 21b",
    // Bit 63: made before there is a filter, and its fourth argument counts.
    "test rax, rax",
    "js 24f",
    "or r8, r13",
    "cmp eax, {mmap}",
    "je 23f",
    "or r10, r14",
    "jmp 24f",
    "23:",
    "or rdx, r14",
    "24:",
    "syscall",
    ".globl foliant_stub_op",
    "foliant_stub_op:",
    "cmp rax, -4096",
    "ja 26f",
    // What only a clone's child does is left out where the result is not 0.
    "mov ecx, dword ptr [rbx + 56]",
    "test rax, rax",
    "mov eax, 0",
    "cmovz ecx, eax",
    "inc ecx",
    "sub r12d, ecx",
    "shl rcx, 6",
    "add rbx, rcx",
    "jmp foliant_stub_loop",
    "25:",
    // The return replaces every register, so the secret ends here.
    "mov rsp, [r15 + 8]",
    "mov r8, r13",
    "mov r10, r14",
    "mov eax, {sigreturn}",
    "syscall",
    ".globl foliant_stub_return",
    "foliant_stub_return:",
    "ud2",
    "26:",
    "mov edi, {failed}",
    "mov rsi, rbx",
    "mov rdx, rax",
    "mov eax, {trap_nr}",
    "jmp 21b",
    // The same where FS and GS cannot be read.
    ".globl foliant_stub_handler",
    "foliant_stub_handler:",
    "xor r9d, r9d",
    "cmp edi, {sigsys}",
    "jne 22b",
    // A call that may be answered here? If not, all but RAX, RCX, R8 and R11
    // is as it came.
    "30:",
    "mov eax, [rsi + 24]",
    "cmp eax, {getpid}",
    "je 31f",
    "cmp eax, {gettid}",
    "jne 39f",
    "31:",
    "cmp dword ptr [rsi + 28], {arch}",
    "jne 39f",
    // The slot is where the frame is; a guest that jumped here reads its own.
    "mov r11, rdx",
    "and r11, -{slot_size}",
    "cmp qword ptr [r11 + {enabled}], 1",
    "jne 39f",
    // Single steps are the supervisor's.
    "test dword ptr [rdx + 176], 0x100",
    "jnz 39f",
    // Signals begin with the extended state of a new thread; the frame's has to
    // come back. Where it is not XSAVE's, the supervisor returns.
    "mov rcx, [rdx + 224]",
    "cmp dword ptr [rcx + 464], 0x46505853",
    "jne 39f",
    "mov r8d, [r11 + {numbers} + 4]",
    "cmp eax, {gettid}",
    "mov eax, [r11 + {numbers}]",
    "cmove eax, r8d",
    "mov r8d, 0",
    "sete r8b",
    "inc qword ptr [r11 + 8 * r8 + {answered}]",
    "mov [rdx + 144], rax",
    "mov rsp, rdx",
    "mov eax, [rcx + 472]",
    "mov edx, [rcx + 476]",
    "xrstor64 [rcx]",
    "mov eax, {sigprocmask}",
    "mov edi, {setmask}",
    "lea rsi, [rip + foliant_stub_no_signals]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    ".globl foliant_stub_opened",
    "foliant_stub_opened:",
    "push qword ptr [rsp + 176]",
    "popfq",
    "mov r8, [rsp + 40]",
    "mov r9, [rsp + 48]",
    "mov r10, [rsp + 56]",
    "mov r11, [rsp + 64]",
    "mov rdi, [rsp + 104]",
    "mov rsi, [rsp + 112]",
    "mov rdx, [rsp + 136]",
    "mov rax, [rsp + 144]",
    "mov rcx, [rsp + 168]",
    "mov rsp, [rsp + 160]",
    ".globl foliant_stub_leave",
    "foliant_stub_leave:",
    "jmp rcx",
    "39:",
    "test r9d, r9d",
    "jnz 20b",
    "jmp 22b",
    ".balign 8",
    ".globl foliant_stub_no_signals",
    "foliant_stub_no_signals:",
    ".quad 0",
    // Entry of the process that becomes the zygote, at another address: map
    // this page and slot 0 as told by the four words that the supervisor
    // put behind the code (secrets, the code page's offset, the address of the
    // loop), go on in the list of slot 0.
    ".globl foliant_stub_entry",
    "foliant_stub_entry:",
    "mov eax, {mmap}",
    "movabs rdi, {base}",
    "mov esi, 4096",
    "mov edx, 5",
    "mov r10d, 0x11",
    "mov r8d, 1",
    "mov r9, [rip + foliant_stub_end + 16]",
    "syscall",
    "cmp rax, -4096",
    "ja 27f",
    "mov eax, {mmap}",
    "movabs rdi, {control}",
    "mov esi, 4096",
    "mov edx, 1",
    "mov r10d, 0x11",
    "mov r8d, 1",
    "xor r9d, r9d",
    "syscall",
    "cmp rax, -4096",
    "ja 27f",
    "mov r13, [rip + foliant_stub_end]",
    "mov r14, [rip + foliant_stub_end + 8]",
    "movabs r15, {control}",
    "lea rbx, [r15 + 64]",
    "mov r12d, dword ptr [r15]",
    "jmp qword ptr [rip + foliant_stub_end + 24]",
    "27:",
    "mov edi, 125",
    "mov eax, {exit_group}",
    "syscall",
    "ud2",
    ".balign 8",
    ".globl foliant_stub_end",
    "foliant_stub_end:",
    ".popsection",
    trap_nr = const TRAP_NR,
    sigsys = const libc::SIGSYS,
    getpid = const libc::SYS_getpid,
    gettid = const libc::SYS_gettid,
    arch = const super::filter::AUDIT_ARCH_X86_64 as i32,
    slot_size = const SLOT_SIZE,
    enabled = const answers::ENABLED,
    numbers = const answers::NUMBERS,
    answered = const answers::ANSWERED,
    sigprocmask = const libc::SYS_rt_sigprocmask,
    setmask = const libc::SIG_SETMASK,
    failed = const FAILED,
    slot_shift = const SLOT_SHIFT,
    control = const CONTROL_BASE,
    base = const STUB_BASE,
    mmap = const libc::SYS_mmap,
    sigreturn = const libc::SYS_rt_sigreturn,
    exit_group = const libc::SYS_exit_group,
);

unsafe extern "C" {
    static foliant_stub_begin: u8;
    static foliant_stub_handler_bases: u8;
    static foliant_stub_handler: u8;
    static foliant_stub_trap: u8;
    static foliant_stub_loop: u8;
    static foliant_stub_op: u8;
    static foliant_stub_return: u8;
    static foliant_stub_opened: u8;
    static foliant_stub_leave: u8;
    static foliant_stub_no_signals: u8;
    static foliant_stub_entry: u8;
    static foliant_stub_end: u8;
}

/// The stub's bytes, to be copied into the page that guests execute.
pub(super) fn code() -> &'static [u8] {
    // SAFETY: the symbols bound one piece of this program's text.
    unsafe {
        core::slice::from_raw_parts(
            &raw const foliant_stub_begin,
            offset(&raw const foliant_stub_end) as usize,
        )
    }
}

/// Addresses inside guests that the filter and the signal actions name.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    /// Behind the trap call.
    pub trap: u64,
    /// Behind the operations' call.
    pub op: u64,
    /// Behind the return from a signal.
    pub sigreturn: u64,
    /// The signal handler that also reports the bases of FS and GS.
    pub handler_bases: u64,
    /// The signal handler of processors whose user code cannot read them.
    pub handler: u64,
    /// Behind the call that opens signals after an answer.
    pub opened: u64,
    /// The jump back to the guest after an answer.
    pub leave: u64,
    /// An empty set of signals.
    pub no_signals: u64,
    /// The list of operations.
    pub list: u64,
    /// Offset of the zygote's first instruction.
    pub start: u64,
}

impl Entries {
    /// Reads them off the code.
    pub fn new() -> Self {
        Self {
            trap: STUB_BASE + offset(&raw const foliant_stub_trap),
            op: STUB_BASE + offset(&raw const foliant_stub_op),
            sigreturn: STUB_BASE + offset(&raw const foliant_stub_return),
            handler_bases: STUB_BASE + offset(&raw const foliant_stub_handler_bases),
            handler: STUB_BASE + offset(&raw const foliant_stub_handler),
            opened: STUB_BASE + offset(&raw const foliant_stub_opened),
            leave: STUB_BASE + offset(&raw const foliant_stub_leave),
            no_signals: STUB_BASE + offset(&raw const foliant_stub_no_signals),
            list: STUB_BASE + offset(&raw const foliant_stub_loop),
            start: offset(&raw const foliant_stub_entry),
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::new()
    }
}

fn offset(of: *const u8) -> u64 {
    of.addr() as u64 - (&raw const foliant_stub_begin).addr() as u64
}
