//! One segment.

use alloc::sync::{Arc, Weak};

use foliant_mm::Object;
use foliant_platform::Mmu;
use foliant_uapi::shm::{IpcPerm, ShmMode, ShmidDs};
use foliant_units::{Errno, PAGE_SIZE};

use crate::fs::Caller;

/// Who a segment belongs to, and who may use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) maker: (u32, u32),
    /// Permissions, and [`ShmMode`].
    pub(crate) mode: u32,
}

/// A segment, as long as it has an id.
///
/// # Linux source concept
/// `struct shmid_kernel`.
pub(crate) struct Segment<M: Mmu> {
    pub(crate) id: i32,
    pub(crate) key: i32,
    /// The key it was made with, which its mappings show.
    pub(crate) named: i32,
    pub(crate) size: u64,
    pub(crate) owner: Owner,
    /// Seconds of the last attach, detach and change.
    pub(crate) attached: i64,
    pub(crate) detached: i64,
    pub(crate) changed: i64,
    /// Process that made it, and the last that attached or detached it.
    pub(crate) maker: i32,
    pub(crate) last: i32,
    /// Its pages; none once it is marked to go with its last mapping.
    pub(crate) kept: Option<Arc<Object<M>>>,
    pub(crate) pages: Weak<Object<M>>,
}

impl<M: Mmu> Segment<M> {
    /// Its pages, unless it went with its last mapping.
    pub(crate) fn object(&self) -> Option<Arc<Object<M>>> {
        self.pages.upgrade()
    }

    /// Pages that it stands for.
    pub(crate) fn length(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE as u64)
    }

    /// Whether `caller` has the rights `wanted` (4 read, 2 write, 1 execute).
    ///
    /// # Errors
    /// `ACCES`.
    ///
    /// # Linux source concept
    /// `ipcperms()`.
    pub(crate) fn permit(&self, caller: Caller, wanted: u32) -> Result<(), Errno> {
        let owner = &self.owner;
        let class = if [owner.user, owner.maker.0].contains(&caller.user) {
            6
        } else if [owner.group, owner.maker.1].contains(&caller.group) {
            3
        } else {
            0
        };
        if wanted & !(owner.mode >> class) & 7 == 0 || caller.overrides {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    /// Whether `caller` may change or remove it.
    ///
    /// # Errors
    /// `PERM`.
    pub(crate) fn permit_control(&self, caller: Caller) -> Result<(), Errno> {
        if [self.owner.user, self.owner.maker.0].contains(&caller.user) || caller.overrides {
            Ok(())
        } else {
            Err(Errno::PERM)
        }
    }

    /// Lets it go with its last mapping.
    pub(crate) fn doom(&mut self) -> Option<Arc<Object<M>>> {
        self.key = foliant_uapi::shm::IPC_PRIVATE;
        self.owner.mode |= ShmMode::DEST.bits();
        self.kept.take()
    }

    /// The structure of `IPC_STAT`; `attachments` are counted by the caller.
    pub(crate) fn describe(&self, attachments: u64) -> ShmidDs {
        ShmidDs {
            perm: IpcPerm {
                key: self.key,
                uid: self.owner.user,
                gid: self.owner.group,
                cuid: self.owner.maker.0,
                cgid: self.owner.maker.1,
                mode: self.owner.mode,
                seq: (self.id >> super::table::INDEX_BITS) as u16,
                ..IpcPerm::default()
            },
            segsz: self.size,
            atime: self.attached,
            dtime: self.detached,
            ctime: self.changed,
            cpid: self.maker,
            lpid: self.last,
            nattch: attachments,
            ..ShmidDs::default()
        }
    }
}
