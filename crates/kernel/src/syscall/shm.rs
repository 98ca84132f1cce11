//! System V shared memory.

use alloc::sync::Arc;

use foliant_mm::{FileMap, FilePlacement, MapRequest, Mapping, Object};
use foliant_platform::Mmu;
use foliant_uapi::Sysno;
use foliant_uapi::mman::{MapFlags, Prot, Seals};
use foliant_uapi::shm::*;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr};

use super::{Answer, Ctx, Handler};
use crate::creds::Capability;
use crate::machine::UserMachine;
use crate::shm::{MAX_SEGMENTS, Owner, SHMMAX, Segment, SegmentLabel, attachments};

pub(super) fn handler<M: UserMachine>(nr: Sysno) -> Option<Handler<M>> {
    Some(match nr {
        Sysno::SHMGET => shmget,
        Sysno::SHMAT => shmat,
        Sysno::SHMDT => shmdt,
        Sysno::SHMCTL => shmctl,
        _ => return None,
    })
}

fn now<M: UserMachine>(ctx: &Ctx<'_, M>) -> i64 {
    (ctx.kernel.machine().realtime().0 / 1_000_000_000) as i64
}

/// `shmget(key, size, flags)`
fn shmget<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (key, size, raw) = (ctx.int(0), ctx.args[1], ctx.uint(2));
    let flags = ShmGetFlags::from_bits_truncate(raw);
    let caller = ctx.caller();
    let mut table = ctx.kernel.segments().lock();
    if key != IPC_PRIVATE
        && let Some(segment) = table.find(key)
    {
        if flags.contains(ShmGetFlags::CREAT | ShmGetFlags::EXCL) {
            return Err(Errno::EXIST.into());
        }
        if segment.size < size {
            return Err(Errno::INVAL.into());
        }
        // Any class that the flags ask for.
        let wanted = (raw >> 6 | raw >> 3 | raw) & 7;
        segment.permit(caller, wanted)?;
        return Ok(segment.id as u64);
    }
    if key != IPC_PRIVATE && !flags.contains(ShmGetFlags::CREAT) {
        return Err(Errno::NOENT.into());
    }
    if size == 0 || size > SHMMAX {
        return Err(Errno::INVAL.into());
    }
    if flags.contains(ShmGetFlags::HUGETLB) {
        // There are no huge pages to give.
        return Err(Errno::NOMEM.into());
    }
    let pages = size.div_ceil(PAGE_SIZE as u64);
    table.room(pages)?;
    let space = ctx.space()?;
    if !flags.contains(ShmGetFlags::NORESERVE) && !space.may_commit(pages) {
        return Err(Errno::NOMEM.into());
    }
    let object = Object::shmem(ctx.kernel.memory(), size);
    let changed = now(ctx);
    let id = table.add(|id| Segment {
        id,
        key,
        named: key,
        size,
        owner: Owner {
            user: caller.user,
            group: caller.group,
            maker: (caller.user, caller.group),
            mode: raw & 0o777,
        },
        attached: 0,
        detached: 0,
        changed,
        maker: caller.process,
        last: 0,
        pages: Arc::downgrade(&object),
        kept: Some(object),
    });
    Ok(id as u64)
}

/// `shmat(id, address, flags)`
fn shmat<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (id, flags) = (ctx.int(0), ShmAtFlags::from_bits_truncate(ctx.uint(2)));
    if id < 0 {
        return Err(Errno::INVAL.into());
    }
    let addr = attach_address(ctx.addr(1), flags)?;
    let (prot, wanted) = attach_rights(flags);
    let (caller, space) = (ctx.caller(), ctx.space()?);
    let mut table = ctx.kernel.segments().lock();
    let segment = table.get(id)?;
    segment.permit(caller, wanted)?;
    let object = segment.object().ok_or(Errno::IDRM)?;
    let size = segment.size;
    if let Some(addr) = addr
        && !flags.contains(ShmAtFlags::REMAP)
    {
        let end = addr.raw().checked_add(size).ok_or(Errno::INVAL)?;
        let taken = |vma: &Arc<foliant_mm::Vma<M>>| {
            let bytes = vma.range.bytes();
            bytes.start.raw() < end && addr.raw() < bytes.end.raw()
        };
        if space.vmas().iter().any(taken) {
            return Err(Errno::INVAL.into());
        }
    }
    let label = Arc::new(SegmentLabel {
        key: segment.named,
        id,
    });
    let request = attach_request(Arc::new(Mapping { object, label }), size, addr, prot);
    let at = space.mmap(&request)?;
    (segment.attached, segment.last) = (now(ctx), caller.process);
    Ok(at.raw())
}

/// Where to attach; `None` is anywhere.
fn attach_address(asked: VirtAddr, flags: ShmAtFlags) -> Result<Option<VirtAddr>, Errno> {
    let none = if flags.contains(ShmAtFlags::REMAP) {
        Err(Errno::INVAL)
    } else {
        Ok(None)
    };
    if asked.raw() == 0 {
        return none;
    }
    let down = asked.align_down(PAGE_SIZE as u64);
    if down == asked {
        return Ok(Some(asked));
    }
    if !flags.contains(ShmAtFlags::RND) {
        return Err(Errno::INVAL);
    }
    if down.raw() == 0 { none } else { Ok(Some(down)) }
}

/// Rights of the mapping, and those to be asked of the segment.
fn attach_rights(flags: ShmAtFlags) -> (Prot, u32) {
    let (mut prot, mut wanted) = if flags.contains(ShmAtFlags::RDONLY) {
        (Prot::READ, 4)
    } else {
        (Prot::READ | Prot::WRITE, 6)
    };
    if flags.contains(ShmAtFlags::EXEC) {
        prot |= Prot::EXEC;
        wanted |= 1;
    }
    (prot, wanted)
}

fn attach_request<M: Mmu>(
    mapping: Arc<Mapping<M>>,
    size: u64,
    addr: Option<VirtAddr>,
    prot: Prot,
) -> MapRequest<M> {
    let mut flags = MapFlags::SHARED;
    flags.set(MapFlags::FIXED, addr.is_some());
    MapRequest {
        addr: addr.unwrap_or_default(),
        len: size,
        prot,
        flags,
        offset: 0,
        file: Some(FileMap {
            mapping,
            readable: true,
            writable: prot.contains(Prot::WRITE),
            noexec: false,
            append_only: false,
            mappable: true,
            refuses_sync: false,
            placement: FilePlacement::Shmem,
            max_bytes: i64::MAX as u64,
            seals: Seals::empty(),
        }),
    }
}

/// `shmdt(address)`: unmaps what is left of an attachment that began there.
///
/// # Linux source concept
/// `ksys_shmdt()`.
fn shmdt<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let addr = ctx.addr(0);
    if !addr.is_aligned() {
        return Err(Errno::INVAL.into());
    }
    let (space, process) = (ctx.space()?, ctx.caller().process);
    let at = now(ctx);
    let mut table = ctx.kernel.segments().lock();
    let mut found: Option<(Arc<Mapping<M>>, u64)> = None;
    for vma in space.vmas().iter().filter(|vma| vma.range.start >= addr.page()) {
        let foliant_mm::Source::Object(mapping) = &vma.source else {
            continue;
        };
        if vma.range.start - addr.page() != vma.pgoff {
            continue;
        }
        match &found {
            None => {
                let of = table
                    .all()
                    .find(|segment| core::ptr::eq(segment.pages.as_ptr(), Arc::as_ptr(&mapping.object)));
                let Some(id) = of.map(|segment| segment.id) else {
                    continue;
                };
                let segment = table.get(id)?;
                (segment.detached, segment.last) = (at, process);
                found = Some((mapping.clone(), segment.length()));
            }
            Some((own, pages)) => {
                if vma.range.end - addr.page() > *pages {
                    break;
                }
                if !Arc::ptr_eq(own, mapping) {
                    continue;
                }
            }
        }
        let bytes = vma.range.bytes();
        space.munmap(bytes.start, bytes.len())?;
    }
    drop(table);
    // Perhaps the last reference to the pages.
    match found {
        Some(_) => Ok(0),
        None => Err(Errno::INVAL.into()),
    }
}

/// `shmctl(id, command, buffer)`
fn shmctl<M: UserMachine>(ctx: &mut Ctx<'_, M>) -> Answer<M> {
    let (id, command) = (ctx.int(0), ctx.uint(1));
    if id < 0 || ctx.int(1) < 0 {
        return Err(Errno::INVAL.into());
    }
    match command {
        IPC_INFO => limits(ctx),
        SHM_INFO => usage(ctx),
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => stat(ctx, id, command),
        IPC_SET => set(ctx, id),
        IPC_RMID => remove(ctx, id),
        SHM_LOCK | SHM_UNLOCK => lock(ctx, id, command == SHM_LOCK),
        _ => Err(Errno::INVAL.into()),
    }
}

fn limits<M: UserMachine>(ctx: &Ctx<'_, M>) -> Answer<M> {
    let limits = ShmLimits {
        shmmax: SHMMAX,
        shmmin: 1,
        shmmni: MAX_SEGMENTS as u64,
        shmseg: MAX_SEGMENTS as u64,
        shmall: SHMMAX,
        ..ShmLimits::default()
    };
    ctx.write(ctx.args[2], &limits)?;
    Ok(ctx.kernel.segments().lock().highest() as u64)
}

fn usage<M: UserMachine>(ctx: &Ctx<'_, M>) -> Answer<M> {
    let (sizes, highest) = {
        let mut table = ctx.kernel.segments().lock();
        (table.sizes(), table.highest())
    };
    let info = ShmInfo {
        used_ids: sizes.0 as i32,
        shm_tot: sizes.1,
        shm_rss: sizes.2,
        ..ShmInfo::default()
    };
    ctx.write(ctx.args[2], &info)?;
    Ok(highest as u64)
}

fn stat<M: UserMachine>(ctx: &Ctx<'_, M>, id: i32, command: u32) -> Answer<M> {
    let caller = ctx.caller();
    let (mut told, object, id) = {
        let mut table = ctx.kernel.segments().lock();
        let segment = if command == IPC_STAT {
            table.get(id)?
        } else {
            table.at(id)?
        };
        if command != SHM_STAT_ANY {
            segment.permit(caller, 4)?;
        }
        let answer = if command == IPC_STAT { 0 } else { segment.id };
        (segment.describe(0), segment.object(), answer)
    };
    // Outside the lock: it looks at every space.
    told.nattch = object.map_or(0, |object| attachments(ctx.kernel, object.id()));
    ctx.write(ctx.args[2], &told)?;
    Ok(id as u64)
}

fn set<M: UserMachine>(ctx: &Ctx<'_, M>, id: i32) -> Answer<M> {
    let wanted: ShmidDs = ctx.read(ctx.args[2])?;
    let (caller, changed) = (ctx.caller(), now(ctx));
    let mut table = ctx.kernel.segments().lock();
    let segment = table.get(id)?;
    segment.permit_control(caller)?;
    segment.owner.user = wanted.perm.uid;
    segment.owner.group = wanted.perm.gid;
    segment.owner.mode = segment.owner.mode & !0o777 | wanted.perm.mode & 0o777;
    segment.changed = changed;
    Ok(0)
}

fn remove<M: UserMachine>(ctx: &Ctx<'_, M>, id: i32) -> Answer<M> {
    let caller = ctx.caller();
    let mut table = ctx.kernel.segments().lock();
    let segment = table.get(id)?;
    segment.permit_control(caller)?;
    let pages = segment.doom();
    drop(table);
    drop(pages);
    // What nobody had attached is gone now, id and all.
    let mut table = ctx.kernel.segments().lock();
    let gone = table.get(id).is_err().then(|| table.take(id));
    drop(table);
    drop(gone);
    Ok(0)
}

fn lock<M: UserMachine>(ctx: &Ctx<'_, M>, id: i32, lock: bool) -> Answer<M> {
    let (caller, creds) = (ctx.caller(), ctx.task.creds());
    let mut table = ctx.kernel.segments().lock();
    let segment = table.get(id)?;
    if !creds.has(Capability::IpcLock) {
        segment.permit_control(caller)?;
        if lock
            && ctx
                .task
                .process()
                .limit(foliant_uapi::resource::Resource::Memlock)
                == 0
        {
            return Err(Errno::PERM.into());
        }
    }
    let locked = ShmMode::LOCKED.bits();
    if lock {
        segment.owner.mode |= locked;
    } else {
        segment.owner.mode &= !locked;
    }
    Ok(0)
}
