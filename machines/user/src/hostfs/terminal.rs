//! Device control of terminals, passed through.

use std::os::fd::{AsRawFd, OwnedFd};

use foliant_kernel::fs::UserMemory;
use foliant_uapi::io::ioctl as cmd;
use foliant_units::{Errno, VirtAddr};

use super::convert::last_errno;

/// Which way the argument goes.
enum Argument {
    /// There is none, or it is a number.
    Value,
    /// The host fills this many bytes.
    Out(usize),
    /// The host reads this many bytes.
    In(usize),
}

/// Bytes of `struct termios` and `struct termios2` of the kernel.
const TERMIOS: usize = 36;
const TERMIOS2: usize = 44;
const TERMIO: usize = 18;
const WINSIZE: usize = 8;
/// The largest of them.
const LARGEST: usize = 64;

/// The commands that are passed through, and their arguments. Job control is
/// not among them: its numbers mean something else to the host.
fn argument(command: u32) -> Option<Argument> {
    const TCGETA: u32 = 0x5405;
    const TCSETA: u32 = 0x5406;
    const TCSETAW: u32 = 0x5407;
    const TCSETAF: u32 = 0x5408;
    const TIOCEXCL: u32 = 0x540c;
    const TIOCNXCL: u32 = 0x540d;
    const TIOCMGET: u32 = 0x5415;
    const TIOCINQ_SERIAL: u32 = 0x545d;
    const TCSETS2: u32 = 0x402c_542b;
    const TCSETSW2: u32 = 0x402c_542c;
    const TCSETSF2: u32 = 0x402c_542d;
    const TIOCGPTLCK: u32 = 0x8004_5439;
    Some(match command {
        cmd::TCGETS => Argument::Out(TERMIOS),
        cmd::TCSETS | cmd::TCSETSW | cmd::TCSETSF => Argument::In(TERMIOS),
        cmd::TCGETS2 => Argument::Out(TERMIOS2),
        TCSETS2 | TCSETSW2 | TCSETSF2 => Argument::In(TERMIOS2),
        TCGETA => Argument::Out(TERMIO),
        TCSETA | TCSETAW | TCSETAF => Argument::In(TERMIO),
        cmd::TIOCGWINSZ => Argument::Out(WINSIZE),
        cmd::TIOCSWINSZ => Argument::In(WINSIZE),
        cmd::TIOCOUTQ | cmd::FIONREAD | cmd::TIOCGPTN | TIOCGPTLCK | TIOCMGET | TIOCINQ_SERIAL => {
            Argument::Out(4)
        }
        cmd::TIOCSPTLCK => Argument::In(4),
        cmd::TCSBRK | cmd::TCXONC | cmd::TCFLSH | TIOCEXCL | TIOCNXCL => Argument::Value,
        _ => return None,
    })
}

/// Passes a command through if it is known.
pub(super) fn ioctl(
    fd: &OwnedFd,
    memory: &dyn UserMemory,
    command: u32,
    arg: VirtAddr,
) -> Result<u64, Errno> {
    let argument = argument(command).ok_or(Errno::NOTTY)?;
    let mut bytes = [0; LARGEST];
    match argument {
        Argument::Value => call(fd, command, arg.raw()),
        Argument::In(len) => {
            memory.fill(arg, &mut bytes[..len])?;
            call_with(fd, command, &mut bytes)
        }
        Argument::Out(len) => {
            let result = call_with(fd, command, &mut bytes)?;
            memory.put(arg, &bytes[..len])?;
            Ok(result)
        }
    }
}

fn call(fd: &OwnedFd, command: u32, value: u64) -> Result<u64, Errno> {
    // SAFETY:
    // 1. `fd` is open for as long as it is borrowed.
    // 2. The commands that get here take a number, not an address.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::Ioctl::from(command), value) };
    u64::try_from(result).map_err(|_| last_errno())
}

fn call_with(fd: &OwnedFd, command: u32, bytes: &mut [u8; LARGEST]) -> Result<u64, Errno> {
    // SAFETY:
    // 1. `fd` is open for as long as it is borrowed.
    // 2. The commands that get here read or write at most `LARGEST` bytes at
    //    the address, all of them inside `bytes`, and keep no pointer.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::Ioctl::from(command), bytes.as_mut_ptr()) };
    u64::try_from(result).map_err(|_| last_errno())
}
