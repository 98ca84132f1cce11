//! Messages of sockets, with addresses and control data.

use alloc::vec;
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::poll::PollEvents;
use foliant_units::{Errno, VirtAddr};

use super::rw::many_pieces;
use super::socket::{deadline, of, read_name};
use crate::fd::{Fd, OpenRef};
use crate::fs::{Sink, Source, UserSink, UserSource};
use crate::machine::UserMachine;
use crate::socket::{Incoming, Outgoing, Wanted};
use crate::syscall::{Answer, Ctx, Fail};

/// Bytes that one message moves at most.
pub(super) const MOST: usize = 1 << 20;
/// Bytes of control data at most.
const CONTROL_MAX: usize = 20 << 10;
/// Bytes of the header of a control message.
const HEADER: usize = 16;

const DONT_WAIT: u32 = 0x40;
const NO_SIGNAL: u32 = 0x4000;
const WAIT_ALL: u32 = 0x100;
const PEEK: u32 = 2;
const CONTROL_CUT: u32 = 8;
const CLOSE_ON_EXEC: u32 = 0x4000_0000;
const SOL_SOCKET: i32 = 1;
const RIGHTS: i32 = 1;

/// A message as it is sent.
pub(super) struct Parts<M: UserMachine> {
    pub(super) bytes: Vec<u8>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) control: Vec<u8>,
    pub(super) files: Vec<OpenRef<M>>,
}

/// `struct msghdr`: name, its length, pieces, their count, control, its
/// length, flags.
type Header = [u64; 7];

/// Collects the message behind a `struct msghdr`.
pub(super) fn gather<M: UserMachine>(ctx: &Ctx<'_, M>, at: VirtAddr) -> Result<Parts<M>, Errno> {
    let memory = ctx.memory()?;
    let [name, name_len, iov, count, control, control_len, _]: Header = memory.get(at)?;
    let name = match (name, name_len as u32) {
        (0, _) | (_, 0) => None,
        (at, len) => Some(read_name(ctx, VirtAddr::new(at), u64::from(len))?),
    };
    let pieces = many_pieces(&memory, VirtAddr::new(iov), count).map_err(|errno| match errno {
        Errno::INVAL => Errno::MSGSIZE,
        other => other,
    })?;
    let mut source = UserSource::new(&memory, pieces);
    let mut bytes = vec![0; source.left().min(MOST)];
    if !bytes.is_empty() && source.take(&mut bytes)? < bytes.len() {
        return Err(Errno::FAULT);
    }
    if control_len as usize > CONTROL_MAX {
        return Err(Errno::NOBUFS);
    }
    let mut raw = vec![0; if control == 0 { 0 } else { control_len as usize }];
    memory.dynamic().fill(VirtAddr::new(control), &mut raw)?;
    let (control, files) = take_files(ctx, &raw)?;
    Ok(Parts {
        bytes,
        name,
        control,
        files,
    })
}

/// Takes open files out of control messages.
fn take_files<M: UserMachine>(ctx: &Ctx<'_, M>, raw: &[u8]) -> Result<(Vec<u8>, Vec<OpenRef<M>>), Errno> {
    let table = ctx.task.files().table();
    let mut rest = Vec::new();
    let mut files = Vec::new();
    let mut at = 0;
    while raw.len() - at >= HEADER {
        let word = |from: usize| {
            let from = at + from;
            i32::from_le_bytes([raw[from], raw[from + 1], raw[from + 2], raw[from + 3]])
        };
        let length = word(0) as u32 as usize;
        let message = raw
            .get(at..at.saturating_add(length))
            .filter(|_| length >= HEADER)
            .ok_or(Errno::INVAL)?;
        if (word(8), word(12)) == (SOL_SOCKET, RIGHTS) {
            for fd in message[HEADER..].chunks_exact(4) {
                let fd = i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]]);
                files.push(table.get(Fd::new(fd)?)?);
            }
        } else {
            rest.extend_from_slice(message);
            rest.resize(rest.len().next_multiple_of(8), 0);
        }
        at = (at + length.next_multiple_of(8)).min(raw.len());
    }
    Ok((rest, files))
}

/// Sends a message, waiting for room if the socket may.
pub(super) fn send<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    parts: Parts<M>,
    flags: u32,
) -> Answer<M> {
    let socket = of(open)?;
    let blocking = open.blocks() && flags & DONT_WAIT == 0;
    let until = if blocking {
        deadline(ctx, socket, true)
    } else {
        None
    };
    let mut sent = 0;
    let attempt = || {
        loop {
            // Only the first part of a stream carries files and control data.
            let first = sent == 0;
            let message = Outgoing {
                bytes: &parts.bytes[sent..],
                name: parts.name.as_deref(),
                control: if first { &parts.control } else { &[] },
                files: if first { parts.files.clone() } else { Vec::new() },
                flags,
            };
            match socket.send(message) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) if sent > 0 && !blocking => return Ok(()),
                Err(errno) if sent > 0 && errno != Errno::AGAIN => return Ok(()),
                Err(errno) => return Err(errno),
            }
            if sent >= parts.bytes.len() || !blocking {
                return Ok(());
            }
        }
    };
    match ctx.wait_for(open.file(), blocking, until, attempt) {
        Ok(()) => Ok(sent as u64),
        Err(_) if sent > 0 => Ok(sent as u64),
        Err(Fail::Errno(Errno::PIPE)) => {
            if flags & NO_SIGNAL == 0 {
                super::signal_pipe(ctx);
            }
            Err(Errno::PIPE.into())
        }
        Err(fail) => Err(fail),
    }
}

/// Receives a message of at most `room` bytes of data and of control data.
pub(super) fn receive<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    room: (usize, usize),
    flags: u32,
    until: Option<Nanos>,
) -> Result<Incoming<M>, Fail<M>> {
    let socket = of(open)?;
    let blocking = open.blocks() && flags & DONT_WAIT == 0;
    let until = until.or_else(|| {
        if blocking {
            deadline(ctx, socket, false)
        } else {
            None
        }
    });
    let wanted = |bytes| Wanted {
        bytes,
        control: room.1,
        flags: flags & !(WAIT_ALL | CLOSE_ON_EXEC),
    };
    let mut got = ctx.wait_for(open.file(), blocking, until, || socket.receive(wanted(room.0)))?;
    // Without waiting in the host, waiting for everything is done here.
    while flags & WAIT_ALL != 0 && flags & PEEK == 0 && blocking && got.length > 0 && got.length < room.0 {
        if open.file().ready().intersects(PollEvents::HUP | PollEvents::ERR)
            && !open.file().ready().contains(PollEvents::IN)
        {
            break;
        }
        let more = ctx.wait_for(open.file(), true, until, || {
            socket.receive(wanted(room.0 - got.length))
        });
        match more {
            Ok(more) if more.length > 0 => {
                got.bytes.extend_from_slice(&more.bytes);
                got.length += more.length;
                got.files.extend(more.files);
            }
            Ok(_) | Err(_) => break,
        }
    }
    Ok(got)
}

/// Receives into a `struct msghdr`.
pub(super) fn receive_header<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    open: &OpenRef<M>,
    at: VirtAddr,
    flags: u32,
    until: Option<Nanos>,
) -> Answer<M> {
    let memory = ctx.memory()?;
    let mut header: Header = memory.get(at)?;
    let [name, name_len, iov, count, control, control_len, _] = header;
    let pieces = many_pieces(&memory, VirtAddr::new(iov), count).map_err(|errno| match errno {
        Errno::INVAL => Errno::MSGSIZE,
        other => other,
    })?;
    let mut sink = UserSink::new(&memory, pieces);
    let control_room = if control == 0 {
        0
    } else {
        (control_len as usize).min(CONTROL_MAX)
    };
    let got = receive(ctx, open, (sink.room().min(MOST), control_room), flags, until)?;
    if !got.bytes.is_empty() && sink.put(&got.bytes)? < got.bytes.len() {
        return Err(Errno::FAULT.into());
    }
    if name != 0 {
        let room = (name_len as u32 as usize).min(got.name.len());
        memory.dynamic().put(VirtAddr::new(name), &got.name[..room])?;
    }
    header[1] = header[1] & !0xffff_ffff | got.name.len() as u64;
    let (bytes, cut) = give_files(ctx, &got, control_room, flags & CLOSE_ON_EXEC != 0)?;
    memory.dynamic().put(VirtAddr::new(control), &bytes)?;
    header[5] = bytes.len() as u64;
    let mut told = got.flags;
    if cut {
        told |= CONTROL_CUT;
    }
    header[6] = header[6] & !0xffff_ffff | u64::from(told);
    memory.put(at, &header)?;
    Ok(got.length as u64)
}

/// Gives the received files descriptors, and tells them in control messages
/// of at most `room` bytes. The second value says whether some did not fit.
fn give_files<M: UserMachine>(
    ctx: &Ctx<'_, M>,
    got: &Incoming<M>,
    room: usize,
    cloexec: bool,
) -> Result<(Vec<u8>, bool), Errno> {
    let mut bytes = got.control.clone();
    bytes.truncate(room);
    if got.files.is_empty() {
        return Ok((bytes, false));
    }
    let fitting = room.saturating_sub(bytes.len() + HEADER) / 4;
    let table = ctx.task.files().table();
    let mut fds = Vec::new();
    for open in got.files.iter().take(fitting) {
        match table.add(open.clone(), cloexec, 0, ctx.fd_limit()) {
            Ok(fd) => fds.push(fd),
            Err(_) => break,
        }
    }
    let cut = fds.len() < got.files.len();
    if !fds.is_empty() {
        bytes.extend_from_slice(&((HEADER + fds.len() * 4) as u64).to_le_bytes());
        bytes.extend_from_slice(&SOL_SOCKET.to_le_bytes());
        bytes.extend_from_slice(&RIGHTS.to_le_bytes());
        for fd in fds {
            bytes.extend_from_slice(&fd.raw().to_le_bytes());
        }
        let padded = bytes.len().next_multiple_of(8).min(room);
        bytes.resize(padded, 0);
    }
    Ok((bytes, cut))
}
