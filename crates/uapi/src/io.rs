//! Structures of reading, writing, locking and terminals.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A piece of memory of `readv(2)` and its relatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Iovec {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

/// Most [`Iovec`]s in one call.
pub const UIO_MAXIOV: usize = 1024;

/// Most bytes that one `read` or `write` moves.
pub const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// A record lock of `fcntl(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flock {
    /// 0 read, 1 write, 2 unlock.
    pub kind: i16,
    /// As in `lseek`.
    pub whence: i16,
    /// Padding.
    pub pad: i32,
    /// First byte.
    pub start: i64,
    /// Bytes; 0 means to the end.
    pub len: i64,
    /// Holder (`F_GETLK`).
    pub pid: i32,
    /// Padding.
    pub pad2: i32,
}

/// Size of a terminal window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Winsize {
    /// Rows.
    pub row: u16,
    /// Columns.
    pub col: u16,
    /// Pixels.
    pub xpixel: u16,
    /// Pixels.
    pub ypixel: u16,
}

/// Terminal settings of `TCGETS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; 19],
}

macro_rules! ioctls {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: u32 = $code;)*
    };
}

/// Request numbers of `ioctl(2)` that a plain program uses.
pub mod ioctl {
    ioctls! {
        /// Gets terminal settings.
        TCGETS = 0x5401;
        /// Sets them now.
        TCSETS = 0x5402;
        /// Sets them after output has drained.
        TCSETSW = 0x5403;
        /// Sets them after output has drained, dropping input.
        TCSETSF = 0x5404;
        /// Sends a break.
        TCSBRK = 0x5409;
        /// Stops or starts output or input.
        TCXONC = 0x540a;
        /// Drops input or output.
        TCFLSH = 0x540b;
        /// Makes it the controlling terminal.
        TIOCSCTTY = 0x540e;
        /// Foreground process group.
        TIOCGPGRP = 0x540f;
        /// Sets the foreground process group.
        TIOCSPGRP = 0x5410;
        /// Bytes waiting in the output queue.
        TIOCOUTQ = 0x5411;
        /// Window size.
        TIOCGWINSZ = 0x5413;
        /// Sets the window size.
        TIOCSWINSZ = 0x5414;
        /// Bytes ready to read.
        FIONREAD = 0x541b;
        /// Gives up the controlling terminal.
        TIOCNOTTY = 0x5422;
        /// Session id.
        TIOCGSID = 0x5429;
        /// Sets non-blocking mode.
        FIONBIO = 0x5421;
        /// Clears close-on-exec.
        FIONCLEX = 0x5450;
        /// Sets close-on-exec.
        FIOCLEX = 0x5451;
        /// Sets asynchronous mode.
        FIOASYNC = 0x5452;
        /// Terminal settings with speeds.
        TCGETS2 = 0x802c_542a;
        /// Number of a pseudo terminal.
        TIOCGPTN = 0x8004_5430;
        /// Locks or unlocks a pseudo terminal.
        TIOCSPTLCK = 0x4004_5431;
        /// Opens the other side of a pseudo terminal.
        TIOCGPTPEER = 0x5441;
        /// Makes a file share another's blocks.
        FICLONE = 0x4004_9409;
        /// Inode flags.
        FS_IOC_GETFLAGS = 0x8008_6601;
    }
}

const _: () = assert!(size_of::<Flock>() == 32);
const _: () = assert!(size_of::<Termios>() == 36);
