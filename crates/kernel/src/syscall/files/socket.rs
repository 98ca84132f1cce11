//! Sockets.

use alloc::vec;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_uapi::time::{Timespec, Timeval};
use foliant_units::{Errno, VirtAddr};

use super::message;
use crate::fd::OpenRef;
use crate::fs::{FileRef, OpenFile};
use crate::machine::UserMachine;
use crate::socket::{NewName, Socket, SocketKind};
use crate::syscall::{Answer, Ctx, Fail};

/// Bytes of the longest socket address.
const NAME_MAX: usize = 128;
/// `SOL_SOCKET` and its options that say how long calls wait.
const SOL_SOCKET: i32 = 1;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
const SOCK_TYPE: i32 = 0xf;

/// The socket behind `open`.
pub(super) fn of<M: UserMachine>(open: &OpenRef<M>) -> Result<&dyn Socket<M>, Errno> {
    open.file().socket().ok_or(Errno::NOTSOCK)
}

/// `AF_UNIX`, as addresses begin.
const UNIX: [u8; 2] = 1_u16.to_ne_bytes();
/// Bytes of a path in an address.
const UNIX_PATH_MAX: usize = 108;

/// The address of another socket, from user memory; a path in it starts at the root.
pub(super) fn read_name<M: UserMachine>(ctx: &Ctx<'_, M>, at: VirtAddr, len: u64) -> Result<Vec<u8>, Errno> {
    let name = read_address(ctx, at, len)?;
    Ok(match path_of(&name) {
        Some(path) => with_whole_path(ctx, path)?,
        None => name,
    })
}

fn read_address<M: UserMachine>(ctx: &Ctx<'_, M>, at: VirtAddr, len: u64) -> Result<Vec<u8>, Errno> {
    if len as usize > NAME_MAX {
        return Err(Errno::INVAL);
    }
    let mut name = vec![0; len as usize];
    ctx.memory()?.dynamic().fill(at, &mut name)?;
    Ok(name)
}

/// The path in the address of a Unix socket, if it is one.
fn path_of(name: &[u8]) -> Option<&[u8]> {
    let path = name.strip_prefix(&UNIX)?;
    let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    (end > 0).then_some(&path[..end])
}

/// The address with this path, from the root: whoever makes the sockets does
/// not know the caller's directory.
fn with_whole_path<M: UserMachine>(ctx: &Ctx<'_, M>, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let whole = match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [&ctx.task.files().context().cwd().path()?[..], b"/", path].concat(),
    };
    if whole.starts_with(b"/dev/shm/") {
        // The machine's files in memory have no sockets yet.
        return Err(Errno::OPNOTSUPP);
    }
    if whole.len() > UNIX_PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    Ok([&UNIX[..], &whole].concat())
}

/// Gives an address to a buffer whose length is at `len`, and its true length back.
pub(super) fn write_name<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    name: &[u8],
    at: VirtAddr,
    len: VirtAddr,
) -> Result<(), Errno> {
    if at.raw() == 0 {
        return Ok(());
    }
    let memory = ctx.memory()?;
    let room: i32 = memory.get(len)?;
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    memory.dynamic().put(at, &name[..name.len().min(room)])?;
    memory.put(len, &(name.len() as u32))
}

/// When a call that waits on the socket gives up (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
pub(super) fn deadline<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    socket: &dyn Socket<M>,
    sends: bool,
) -> Option<Nanos> {
    let option = if sends { SO_SNDTIMEO } else { SO_RCVTIMEO };
    let value = socket.option(SOL_SOCKET, option, 16).ok()?;
    let word = |from: usize| value.get(from..from + 8)?.try_into().ok().map(i64::from_le_bytes);
    let nanos = Timeval {
        sec: word(0)?,
        usec: word(8)?,
    }
    .to_nanos()
    .filter(|nanos| *nanos > 0)?;
    Some(Nanos(ctx.task.parker().now().0.saturating_add(nanos)))
}

/// Splits the type argument into type and flags.
fn kind_and_flags(raw: i32) -> Result<(i32, OpenFlags), Errno> {
    let flags = OpenFlags::from_bits_retain((raw & !SOCK_TYPE) as u32);
    if !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC).contains(flags) {
        return Err(Errno::INVAL);
    }
    Ok((raw & SOCK_TYPE, flags | OpenFlags::RDWR))
}

pub(super) fn socket<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (kind, flags) = kind_and_flags(ctx.int(1))?;
    let wanted = SocketKind {
        family: ctx.int(0),
        kind,
        protocol: ctx.int(2),
    };
    let file = ctx.kernel.files().sockets()?.socket(wanted)?;
    Ok(ctx.install(file, flags)?)
}

pub(super) fn socketpair<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (kind, flags) = kind_and_flags(ctx.int(1))?;
    let wanted = SocketKind {
        family: ctx.int(0),
        kind,
        protocol: ctx.int(2),
    };
    let (one, other) = ctx.kernel.files().sockets()?.pair(wanted)?;
    let table = ctx.task.files().table();
    let add = |file: FileRef<M>| {
        table.add(
            OpenFile::new(file, flags),
            flags.contains(OpenFlags::CLOEXEC),
            0,
            ctx.fd_limit(),
        )
    };
    let first = add(one)?;
    let second = add(other).inspect_err(|_| drop(table.remove(first)))?;
    if let Err(errno) = ctx.memory()?.put(ctx.ptr(3), &[first.raw(), second.raw()]) {
        drop((table.remove(first), table.remove(second)));
        return Err(errno.into());
    }
    Ok(0)
}

pub(super) fn bind<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let socket = of(&open)?;
    let given = read_address(ctx, ctx.ptr(1), ctx.args[2])?;
    let path = path_of(&given);
    let whole = path.map(|path| with_whole_path(ctx, path)).transpose()?;
    socket.bind(NewName {
        name: whole.as_ref().unwrap_or(&given),
        path,
        umask: ctx.task.files().context().umask(),
    })?;
    Ok(0)
}

pub(super) fn connect<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let socket = of(&open)?;
    let name = read_name(ctx, ctx.ptr(1), ctx.args[2])?;
    match socket.connect(&name) {
        // A call that was interrupted goes on where it was.
        Err(Errno::INPROGRESS | Errno::ALREADY) if open.blocks() => {}
        // The other end's queue is full, which no event tells.
        Err(Errno::AGAIN) if open.blocks() => loop {
            super::lock::pause(ctx)?;
            match socket.connect(&name) {
                Err(Errno::AGAIN) => {}
                answer => return Ok(answer.map(|()| 0)?),
            }
        },
        answer => return Ok(answer.map(|()| 0)?),
    }
    let until = deadline(ctx, socket, true);
    let done = ctx.wait_for(open.file(), true, until, || {
        let ready = open.file().ready();
        if !ready.intersects(PollEvents::OUT | PollEvents::ERR | PollEvents::HUP) {
            return Err(Errno::AGAIN);
        }
        socket.error()
    });
    match done {
        Ok(()) => Ok(0),
        Err(Fail::Errno(Errno::AGAIN)) => Err(Errno::INPROGRESS.into()),
        Err(fail) => Err(fail),
    }
}

pub(super) fn listen<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    of(&ctx.open(0)?)?.listen(ctx.int(1))?;
    Ok(0)
}

pub(super) fn accept<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    accept_with(ctx, OpenFlags::RDWR)
}

pub(super) fn accept4<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (kind, flags) = kind_and_flags(ctx.int(3))?;
    if kind != 0 {
        return Err(Errno::INVAL.into());
    }
    accept_with(ctx, flags)
}

fn accept_with<M: UserMachine>(ctx: &mut Ctx<'_, M>, flags: OpenFlags) -> Answer<M> {
    let open = ctx.open(0)?;
    let socket = of(&open)?;
    let until = deadline(ctx, socket, false);
    let (file, name) = ctx.wait_for(open.file(), open.blocks(), until, || socket.accept())?;
    write_name(ctx, &name, ctx.ptr(1), ctx.ptr(2))?;
    Ok(ctx.install(file, flags)?)
}

pub(super) fn getsockname<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let name = of(&ctx.open(0)?)?.name()?;
    write_name(ctx, &name, ctx.ptr(1), ctx.ptr(2))?;
    Ok(0)
}

pub(super) fn getpeername<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let name = of(&ctx.open(0)?)?.peer()?;
    write_name(ctx, &name, ctx.ptr(1), ctx.ptr(2))?;
    Ok(0)
}

pub(super) fn shutdown<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    of(&ctx.open(0)?)?.shutdown(ctx.int(1))?;
    Ok(0)
}

/// Bytes of the largest option value that is passed through.
const OPTION_MAX: usize = 64 << 10;

pub(super) fn setsockopt<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let socket = of(&open)?;
    let len = usize::try_from(ctx.int(4)).map_err(|_| Errno::INVAL)?;
    let mut value = vec![0; len.min(OPTION_MAX)];
    ctx.memory()?.dynamic().fill(ctx.ptr(3), &mut value)?;
    socket.set_option(ctx.int(1), ctx.int(2), &value)?;
    Ok(0)
}

pub(super) fn getsockopt<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let socket = of(&open)?;
    let memory = ctx.memory()?;
    let room: i32 = memory.get(ctx.ptr(4))?;
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    let value = socket.option(ctx.int(1), ctx.int(2), room.min(OPTION_MAX))?;
    memory.dynamic().put(ctx.ptr(3), &value)?;
    memory.put(ctx.ptr(4), &(value.len() as u32))?;
    Ok(0)
}

pub(super) fn sendto<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let len = ctx.len(2).min(message::MOST);
    let mut bytes = vec![0; len];
    ctx.memory()?.dynamic().fill(ctx.ptr(1), &mut bytes)?;
    let name = if ctx.args[4] == 0 {
        None
    } else {
        Some(read_name(ctx, ctx.ptr(4), ctx.args[5])?)
    };
    let parts = message::Parts {
        bytes,
        name,
        control: Vec::new(),
        files: Vec::new(),
    };
    message::send(ctx, &open, parts, ctx.uint(3))
}

pub(super) fn recvfrom<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    let len = ctx.len(2).min(message::MOST);
    let got = message::receive(ctx, &open, (len, 0), ctx.uint(3), None)?;
    ctx.memory()?.dynamic().put(ctx.ptr(1), &got.bytes)?;
    write_name(ctx, &got.name, ctx.ptr(4), ctx.ptr(5))?;
    Ok(got.length as u64)
}

pub(super) fn sendmsg<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    of(&open)?;
    let parts = message::gather(ctx, ctx.ptr(1))?;
    message::send(ctx, &open, parts, ctx.uint(2))
}

pub(super) fn recvmsg<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    of(&open)?;
    message::receive_header(ctx, &open, ctx.ptr(1), ctx.uint(2), None)
}

/// Most messages that one call moves.
const MANY: u64 = 1024;
/// Bytes of `struct mmsghdr`, and where its length is.
const STRIDE: u64 = 64;
const LENGTH_AT: u64 = 56;

pub(super) fn sendmmsg<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let open = ctx.open(0)?;
    of(&open)?;
    let count = u64::from(ctx.uint(2)).min(MANY);
    for index in 0..count {
        let at = ctx.args[1] + index * STRIDE;
        let sent = message::gather(ctx, VirtAddr::new(at))
            .map_err(Fail::from)
            .and_then(|parts| message::send(ctx, &open, parts, ctx.uint(3)));
        match sent {
            Ok(sent) => ctx.memory()?.put(VirtAddr::new(at + LENGTH_AT), &(sent as u32))?,
            Err(_) if index > 0 => return Ok(index),
            Err(fail) => return Err(fail),
        }
    }
    Ok(count)
}

pub(super) fn recvmmsg<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const WAIT_FOR_ONE: u32 = 0x10000;
    const DONT_WAIT: u32 = 0x40;
    let open = ctx.open(0)?;
    of(&open)?;
    let until = match ctx.args[4] {
        0 => None,
        _ => {
            let time: Timespec = ctx.memory()?.get(ctx.ptr(4))?;
            let nanos = time.to_nanos().ok_or(Errno::INVAL)?;
            Some(Nanos(ctx.task.parker().now().0.saturating_add(nanos)))
        }
    };
    let mut flags = ctx.uint(3) & !WAIT_FOR_ONE;
    let count = u64::from(ctx.uint(2)).min(MANY);
    for index in 0..count {
        let at = ctx.args[1] + index * STRIDE;
        match message::receive_header(ctx, &open, VirtAddr::new(at), flags, until) {
            Ok(got) => ctx.memory()?.put(VirtAddr::new(at + LENGTH_AT), &(got as u32))?,
            Err(_) if index > 0 => return Ok(index),
            Err(fail) => return Err(fail),
        }
        if ctx.uint(3) & WAIT_FOR_ONE != 0 {
            flags |= DONT_WAIT;
        }
    }
    Ok(count)
}
