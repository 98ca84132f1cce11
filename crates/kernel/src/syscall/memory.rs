//! Address spaces.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::{MapRequest, MoveRequest};
use foliant_uapi::io::{Iovec, UIO_MAXIOV};
use foliant_uapi::mman::{MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsyncFlags, Prot};
use foliant_uapi::{Advice, Sysno};
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange};

use super::{Answer, Ctx, Fail, Handler};
use crate::machine::UserMachine;
use crate::shm::{note_detached, segments_in};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::MMAP => mmap,
        Sysno::MUNMAP => munmap,
        Sysno::MPROTECT => mprotect,
        Sysno::PKEY_MPROTECT => pkey_mprotect,
        Sysno::MREMAP => mremap,
        Sysno::BRK => |ctx| Ok(ctx.space()?.brk(ctx.addr(0)).raw()),
        Sysno::MADVISE => |ctx| done(ctx.space()?.madvise(ctx.addr(0), ctx.args[1], ctx.uint(2))),
        Sysno::MLOCK => |ctx| done(ctx.space()?.mlock(ctx.addr(0), ctx.args[1], MlockFlags::empty())),
        Sysno::MLOCK2 => mlock2,
        Sysno::MUNLOCK => |ctx| done(ctx.space()?.munlock(ctx.addr(0), ctx.args[1])),
        Sysno::MLOCKALL => mlockall,
        Sysno::MUNLOCKALL => munlockall,
        Sysno::MSYNC => msync,
        Sysno::MINCORE => mincore,
        Sysno::MSEAL => mseal,
        Sysno::REMAP_FILE_PAGES => remap_file_pages,
        Sysno::PROCESS_MADVISE => process_madvise,
        Sysno::PROCESS_VM_READV => |ctx| process_vm(ctx, Direction::Read),
        Sysno::PROCESS_VM_WRITEV => |ctx| process_vm(ctx, Direction::Write),
        _ => return None,
    })
}

fn done<M: UserMachine>(result: Result<(), Errno>) -> Answer<M> {
    result.map(|()| 0).map_err(Fail::Errno)
}

/// `mmap(address, length, protection, flags, descriptor, offset)`
fn mmap<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let flags = MapFlags::from_bits_retain(ctx.args[3]);
    if !ctx.args[5].is_multiple_of(PAGE_SIZE as u64) {
        // Even before the question whether there is such a file.
        return Err(Fail::Errno(Errno::INVAL));
    }
    let file = if flags.contains(MapFlags::ANONYMOUS) {
        None
    } else {
        Some(super::map_file::map_file(ctx)?)
    };
    let request = MapRequest {
        addr: ctx.addr(0),
        len: ctx.args[1],
        prot: Prot::from_bits_retain(ctx.args[2]),
        flags,
        offset: ctx.args[5],
        file,
    };
    Ok(ctx.space()?.mmap(&request)?.raw())
}

/// `munmap(address, length)`
fn munmap<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (space, start, len) = (ctx.space()?, ctx.addr(0), ctx.args[1]);
    // A length need not be a multiple of a page; an address that is not is refused below.
    let pages = len
        .checked_next_multiple_of(PAGE_SIZE as u64)
        .filter(|_| start.is_aligned())
        .and_then(|len| VirtRange::sized(start, len))
        .map(VirtRange::pages);
    let segments = pages.map(|pages| segments_in(ctx.kernel, &space, Some(pages)));
    space.munmap(start, len)?;
    note_detached(ctx.kernel, ctx.task, &segments.unwrap_or_default());
    Ok(0)
}

/// `mprotect(address, length, protection)`
fn mprotect<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let prot = Prot::from_bits_retain(ctx.args[2]);
    done(ctx.space()?.mprotect(ctx.addr(0), ctx.args[1], prot))
}

/// `pkey_mprotect(address, length, protection, key)`: without keys, only "none" is one.
fn pkey_mprotect<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.int(3) == -1 {
        mprotect(ctx)
    } else {
        Err(Fail::Errno(Errno::INVAL))
    }
}

/// `mremap(address, old length, new length, flags, new address)`
fn mremap<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let request = MoveRequest {
        addr: ctx.addr(0),
        old_len: ctx.args[1],
        new_len: ctx.args[2],
        flags: MremapFlags::from_bits_retain(ctx.args[3]),
        new_addr: ctx.addr(4),
    };
    Ok(ctx.space()?.mremap(request)?.raw())
}

/// `mlock2(address, length, flags)`
fn mlock2<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let how = MlockFlags::from_bits(ctx.uint(2)).ok_or(Errno::INVAL)?;
    done(ctx.space()?.mlock(ctx.addr(0), ctx.args[1], how))
}

/// `mlockall(flags)`
fn mlockall<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    done(
        ctx.space()?
            .mlockall(MlockAllFlags::from_bits_retain(ctx.uint(0))),
    )
}

fn munlockall<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    ctx.space()?.munlockall();
    Ok(0)
}

/// `msync(address, length, flags)`
fn msync<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let how = MsyncFlags::from_bits_retain(ctx.uint(2));
    done(ctx.space()?.msync(ctx.addr(0), ctx.args[1], how))
}

/// `mincore(address, length, vector)`
fn mincore<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let space = ctx.space()?;
    let mut to = ctx.args[2];
    done(space.mincore(ctx.addr(0), ctx.args[1], |part| {
        ctx.write_bytes(to, part)?;
        to = to.wrapping_add(part.len() as u64);
        Ok(())
    }))
}

/// `mseal(address, length, flags)`
fn mseal<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    if ctx.args[2] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    done(ctx.space()?.mseal(ctx.addr(0), ctx.args[1]))
}

/// `remap_file_pages(address, size, protection, page offset, flags)`
fn remap_file_pages<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let [_, size, prot, pgoff, flags, _] = ctx.args;
    done(
        ctx.space()?
            .remap_file_pages(ctx.addr(0), size, prot, pgoff, flags),
    )
}

/// Reads an array of buffer descriptions.
fn read_vectors<M: UserMachine>(ctx: &Ctx<'_, M>, at: u64, count: u64) -> Result<Vec<Iovec>, Errno> {
    if count > UIO_MAXIOV as u64 {
        return Err(Errno::INVAL);
    }
    let each = (0..count).map(|index| ctx.read(at.wrapping_add(index * size_of::<Iovec>() as u64)));
    each.collect()
}

/// `process_madvise(pidfd, vectors, count, advice, flags)`, for the caller's
/// own process (`PIDFD_SELF` and relatives): others have no descriptors yet.
fn process_madvise<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    const PIDFD_SELF: [i32; 2] = [-10_000, -20_000];
    if ctx.args[4] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let vectors = read_vectors(ctx, ctx.args[1], ctx.args[2])?;
    if !PIDFD_SELF.contains(&ctx.int(0)) {
        return Err(Fail::Errno(Errno::BADF));
    }
    Advice::from_raw(ctx.uint(3)).ok_or(Errno::INVAL)?;
    let space = ctx.space()?;
    let mut bytes = 0;
    for vector in vectors {
        match space.madvise(VirtAddr::new(vector.base), vector.len, ctx.uint(3)) {
            Ok(()) => bytes += vector.len,
            Err(errno) if bytes == 0 => return Err(Fail::Errno(errno)),
            Err(_) => break,
        }
    }
    Ok(bytes)
}

/// Which way `process_vm_*` copies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// `process_vm_readv(pid, local, count, remote, count, flags)`
fn process_vm<M: UserMachine>(ctx: &mut Ctx<'_, M>, direction: Direction) -> Answer<M> {
    if ctx.args[5] != 0 {
        return Err(Fail::Errno(Errno::INVAL));
    }
    let local = read_vectors(ctx, ctx.args[1], ctx.args[2])?;
    let remote = read_vectors(ctx, ctx.args[3], ctx.args[4])?;
    let target = super::ctx::task_or_self(ctx, ctx.pid(0))?;
    let (own, other) = (ctx.task.creds(), target.creds());
    let same_user = [other.uid.real, other.uid.effective, other.uid.saved]
        .iter()
        .all(|id| *id == own.uid.real);
    if !Arc::ptr_eq(target.process(), ctx.task.process()) && !same_user && own.uid.effective != 0 {
        return Err(Fail::Errno(Errno::PERM));
    }
    let here = ctx.space()?;
    let there = target.space().ok_or(Errno::SRCH)?;

    let mut copied = 0;
    let (mut local, mut remote) = (Pieces::new(local), Pieces::new(remote));
    let mut buffer = alloc::vec![0; 16 << 10];
    while let (Some((near, room)), Some((far, left))) = (local.next(), remote.next()) {
        let len = room.min(left).min(buffer.len() as u64) as usize;
        let piece = &mut buffer[..len];
        let moved = match direction {
            Direction::Read => there
                .copy_in(far, piece)
                .and_then(|()| here.copy_out(near, piece)),
            Direction::Write => here
                .copy_in(near, piece)
                .and_then(|()| there.copy_out(far, piece)),
        };
        if let Err(error) = moved {
            return if copied == 0 {
                Err(Fail::Errno(error.errno()))
            } else {
                Ok(copied)
            };
        }
        copied += len as u64;
        local.advance(len as u64);
        remote.advance(len as u64);
    }
    Ok(copied)
}

/// A place in a list of buffers.
struct Pieces {
    list: Vec<Iovec>,
    at: usize,
}

impl Pieces {
    fn new(list: Vec<Iovec>) -> Self {
        Self { list, at: 0 }
    }

    /// Where the next byte is, and how many follow it.
    fn next(&mut self) -> Option<(VirtAddr, u64)> {
        while self.list.get(self.at)?.len == 0 {
            self.at += 1;
        }
        self.list
            .get(self.at)
            .map(|piece| (VirtAddr::new(piece.base), piece.len))
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(piece) = self.list.get_mut(self.at) {
            piece.base = piece.base.wrapping_add(bytes);
            piece.len -= bytes;
        }
    }
}
