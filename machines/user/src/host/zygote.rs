//! The process from which all stub processes come.
//!
//! It is made by executing a small ELF image that holds nothing but the stub
//! and data: so it inherits no library, no thread state registered with the
//! kernel, and no copy of the supervisor's memory. Its first list of operations
//! installs the signal actions and the filter, sends the filter's listener to
//! the supervisor, and unmaps everything but the stub.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use foliant_units::PAGE_SIZE;

use super::control::{CODE_OFFSET, Control};
use super::error::{HostError, StartError};
use super::filter::{self, Secret};
use super::layout::{CONTROL_BASE, SLOT_SIZE, STUB_BASE, Slot, USER_END};
use super::op::Op;
use super::stub::{self, Entries};
use super::sys::{self, check};

/// The signal by which the supervisor brings a thread in.
pub const KICK: i32 = libc::SIGUSR2;

const SIGNALS: [i32; 7] = [
    libc::SIGSYS,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGTRAP,
    libc::SIGILL,
    libc::SIGFPE,
    KICK,
];

/// Where the image lies; far from the addresses that its list maps.
const IMAGE_BASE: u64 = 0x40_0000;
const CODE_AT: usize = PAGE_SIZE;
const DATA_AT: usize = 2 * PAGE_SIZE;
/// Descriptors of the new process; see also `RAM_FD` and `CONTROL_FD`.
const SOCKET_FD: RawFd = 2;
const LISTENER_FD: RawFd = 3;

/// Starts the zygote. Returns its process number and the listener.
///
/// # Errors
/// Where the host does not allow it.
pub(super) fn start(
    ram: &OwnedFd,
    control: &Control,
    secret: Secret,
    entries: &Entries,
    read_bases: bool,
) -> Result<(i32, OwnedFd), StartError> {
    let (image, ops) = image(secret, entries, read_bases);
    control.prepare(Slot::ZYGOTE);
    control.order(Slot::ZYGOTE, &ops, 0);
    let file = write_image(&image)?;
    let [ours, theirs] = socket_pair()?;
    let process = spawn(
        &file,
        [ram.as_raw_fd(), control.fd().as_raw_fd(), theirs.as_raw_fd()],
    )?;
    drop(theirs);
    match receive(&ours)? {
        Message::Listener(listener) => Ok((process, listener)),
        Message::Failed(error) => Err(error.into()),
        Message::End => Err(why(process)),
    }
}

/// The image's bytes and the list of operations that refers to its data.
fn image(secret: Secret, entries: &Entries, read_bases: bool) -> (Vec<u8>, Vec<Op>) {
    let mut image = vec![0; CODE_AT];
    image.extend(stub::code());
    for word in [secret.masks()[0], secret.masks()[1], CODE_OFFSET, entries.list] {
        image.extend(word.to_le_bytes());
    }
    image.resize(DATA_AT, 0);
    let mut data = Data { image };
    let ops = first_operations(&mut data, secret, entries, read_bases);
    let mut image = data.image;
    write_header(&mut image, entries.start);
    (image, ops)
}

/// Data of the image, appended piece by piece.
struct Data {
    image: Vec<u8>,
}

impl Data {
    /// Appends words and returns the address at which the process finds them.
    fn words(&mut self, words: &[u64]) -> u64 {
        let at = IMAGE_BASE + self.image.len() as u64;
        self.image
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
        at
    }
}

fn first_operations(data: &mut Data, secret: Secret, entries: &Entries, read_bases: bool) -> Vec<Op> {
    let all = data.words(&[u64::MAX]);
    let mut ops = vec![
        Op::plain(
            libc::SYS_rt_sigprocmask,
            [libc::SIG_SETMASK as u64, all, 0, 8, 0, 0],
        ),
        Op::map_stack(Slot::ZYGOTE),
        Op::signal_stack(Slot::ZYGOTE),
        Op::die_with_parent(),
        // No core files, and no debugger of the same user.
        Op::plain(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 0, 0, 0, 0, 0]),
    ];

    let handler = if read_bases {
        entries.handler_bases
    } else {
        entries.handler
    };
    let restorer = 0x0400_0000;
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART | restorer) as u64;
    let action = data.words(&[handler, flags, entries.sigreturn, u64::MAX]);
    for signal in SIGNALS {
        ops.push(Op::plain(
            libc::SYS_rt_sigaction,
            [signal as u64, action, 0, 8, 0, 0],
        ));
    }

    let program = filter::program(secret, entries);
    let count = program.len() as u64;
    let words: Vec<u64> = program.into_iter().map(encode).collect();
    let words = data.words(&words);
    let program = data.words(&[count, words]);
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    ops.push(Op::plain(
        libc::SYS_seccomp,
        [libc::SECCOMP_SET_MODE_FILTER as u64, flags, program, 0, 0, 0],
    ));

    let message = descriptor_message(data);
    ops.push(Op::raw(
        libc::SYS_sendmsg,
        [SOCKET_FD as u64, message, 0, 0, 0, 0],
    ));
    ops.push(Op::raw(libc::SYS_close, [LISTENER_FD as u64, 0, 0, 0, 0, 0]));
    ops.push(Op::raw(libc::SYS_close, [SOCKET_FD as u64, 0, 0, 0, 0, 0]));

    let code_end = STUB_BASE + PAGE_SIZE as u64;
    let slots = CONTROL_BASE + SLOT_SIZE;
    ops.push(Op::unmap(0, STUB_BASE));
    ops.push(Op::unmap(code_end, CONTROL_BASE - code_end));
    ops.push(Op::unmap(slots, USER_END - slots));
    ops.push(Op::ready());
    ops
}

/// One filter instruction as the word it is in memory.
fn encode(step: filter::Instruction) -> u64 {
    u64::from(step.code) | u64::from(step.jt) << 16 | u64::from(step.jf) << 24 | u64::from(step.k) << 32
}

/// A `msghdr` of one byte and the listener.
fn descriptor_message(data: &mut Data) -> u64 {
    let byte = data.words(&[0]);
    let vector = data.words(&[byte, 1]);
    let level_and_type = libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32;
    let rights = data.words(&[20, level_and_type, LISTENER_FD as u64]);
    data.words(&[0, 0, vector, 1, rights, 24, 0])
}

/// An ELF header and one program header that loads the whole image.
fn write_header(image: &mut [u8], start: u64) {
    let size = image.len() as u64;
    let entry = IMAGE_BASE + CODE_AT as u64 + start;
    let mut header = Vec::with_capacity(120);
    header.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    header.extend([2u16, 62].into_iter().flat_map(u16::to_le_bytes));
    header.extend(1u32.to_le_bytes());
    header.extend([entry, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    header.extend(0u32.to_le_bytes());
    header.extend([64u16, 56, 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    header.extend([1u32, 5].into_iter().flat_map(u32::to_le_bytes));
    let program = [0, IMAGE_BASE, IMAGE_BASE, size, size, PAGE_SIZE as u64];
    header.extend(program.into_iter().flat_map(u64::to_le_bytes));
    image[..header.len()].copy_from_slice(&header);
}

fn write_image(image: &[u8]) -> Result<OwnedFd, HostError> {
    // Kernels from 6.3 want to be told that the file may be executed.
    let exec = 0x10;
    let size = image.len() as u64;
    let file = sys::memfd(c"foliant-stub", size, exec).or_else(|_| sys::memfd(c"foliant-stub", size, 0))?;
    // SAFETY: the image is readable for its length.
    let written = unsafe { libc::pwrite(file.as_raw_fd(), image.as_ptr().cast(), image.len(), 0) };
    check("pwrite", written as i64)?;
    Ok(file)
}

fn socket_pair() -> Result<[OwnedFd; 2], HostError> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    check("socketpair", unsafe {
        libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr())
    })?;
    // SAFETY: two new descriptors, nobody else's.
    Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Forks and executes the image with exactly the three descriptors.
fn spawn(image: &OwnedFd, fds: [RawFd; 3]) -> Result<i32, HostError> {
    // SAFETY: the child makes only system calls, on values that are ready
    // before the fork, until it executes or ends.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: as above.
            unsafe { become_stub(image.as_raw_fd(), fds) }
        }
        child => check("fork", child).map(|child| child as i32),
    }
}

/// The child's side of [`spawn`].
///
/// # Safety
/// Only in a freshly forked process.
unsafe fn become_stub(image: RawFd, fds: [RawFd; 3]) -> ! {
    // SAFETY: plain system calls on numbers and on memory of this frame.
    unsafe {
        // Out of the terminal's foreground group: its signals are the guest's.
        libc::setsid();
        let no_core = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        for signal in SIGNALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        // First out of the way of the target numbers, then onto them.
        let mut moved = [image, fds[0], fds[1], fds[2]];
        for fd in &mut moved {
            *fd = libc::fcntl(*fd, libc::F_DUPFD, LISTENER_FD + 1);
            if *fd < 0 {
                give_up(fds[2], Step::Descriptors);
            }
        }
        for (target, fd) in moved[1..].iter().enumerate() {
            libc::dup2(*fd, target as RawFd);
        }
        libc::dup3(moved[0], LISTENER_FD, libc::O_CLOEXEC);
        libc::syscall(libc::SYS_close_range, LISTENER_FD + 1, libc::c_uint::MAX, 0);
        let none: [*const libc::c_char; 1] = [core::ptr::null()];
        let empty = c"";
        let name = [c"foliant-stub".as_ptr(), core::ptr::null()];
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(
            libc::SYS_execveat,
            LISTENER_FD,
            empty.as_ptr(),
            name.as_ptr(),
            none.as_ptr(),
            flags,
        );
        // Hosts that refuse that call may know the older one.
        libc::execve(c"/proc/self/fd/3".as_ptr(), name.as_ptr(), none.as_ptr());
        give_up(SOCKET_FD, Step::Execute)
    }
}

/// Where a child failed before it was the stub.
#[derive(Clone, Copy)]
enum Step {
    Descriptors = 1,
    Execute = 2,
}

/// Tells the supervisor what failed, and ends.
///
/// # Safety
/// Only in a freshly forked process.
unsafe fn give_up(socket: RawFd, step: Step) -> ! {
    // SAFETY: plain system calls on memory of this frame.
    unsafe {
        let message = [step as u8, *libc::__errno_location() as u8];
        libc::write(socket, message.as_ptr().cast(), message.len());
        libc::_exit(124)
    }
}

/// What comes from a process that is to become the zygote.
enum Message {
    /// The filter's listener: it has.
    Listener(OwnedFd),
    /// It could not.
    Failed(HostError),
    /// It died.
    End,
}

fn receive(socket: &OwnedFd) -> Result<Message, HostError> {
    let mut bytes = [0u8; 2];
    let mut vector = libc::iovec {
        iov_base: (&raw mut bytes).cast(),
        iov_len: bytes.len(),
    };
    let mut buffer = [0u64; 4];
    // SAFETY: a message header is a plain structure; zero is a valid one.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = buffer.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&buffer);
    // SAFETY: the header points at live buffers of the lengths it says.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let got = check("recvmsg", got as i64)?;
    let failed = |call| {
        let errno = i32::from(bytes[1]);
        Ok(Message::Failed(HostError { call, errno }))
    };
    match (got, bytes[0]) {
        (1, _) if message.msg_controllen >= 20 => {
            let fd = buffer[2] as u32 as RawFd;
            // SAFETY: the kernel installed this descriptor for the message just received.
            Ok(Message::Listener(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        (2, step) if step == Step::Descriptors as u8 => failed("dup"),
        (2, _) => failed("execveat"),
        _ => Ok(Message::End),
    }
}

/// Tells why no listener came.
fn why(process: i32) -> StartError {
    let mut status = 0;
    // SAFETY: `status` is writable.
    unsafe { libc::waitpid(process, &raw mut status, 0) };
    if let Err(error) = try_signal_stack() {
        return error.into();
    }
    match try_listener() {
        Err(error) => StartError::NoListener(error),
        Ok(()) if libc::WIFEXITED(status) => {
            StartError::StubDied(format!("exit status {}", libc::WEXITSTATUS(status)))
        }
        Ok(()) => StartError::StubDied(format!("signal {}", libc::WTERMSIG(status))),
    }
}

/// Asks for this thread's signal stack: whoever may not do that may not set it.
fn try_signal_stack() -> Result<(), HostError> {
    // SAFETY: a stack is a plain structure; zero is a valid one.
    let mut stack: libc::stack_t = unsafe { core::mem::zeroed() };
    // SAFETY: `stack` is writable, and nothing is set.
    check("sigaltstack", unsafe {
        libc::sigaltstack(core::ptr::null(), &raw mut stack)
    })
    .map(drop)
}

/// Installs a harmless filter with a listener in a process of its own.
fn try_listener() -> Result<(), HostError> {
    let mut allow = libc::sock_filter {
        code: 6,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut allow,
    };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the child makes three system calls on values of this frame.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let fd = libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            );
            libc::_exit(if fd < 0 { *libc::__errno_location() } else { 0 })
        }
    }
    check("fork", child)?;
    let mut status = 0;
    // SAFETY: `status` is writable.
    check("waitpid", unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        errno => Err(HostError {
            call: "seccomp",
            errno,
        }),
    }
}
