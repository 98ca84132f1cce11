//! Who a task acts for.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// User and group ids and capabilities of a task; replaced as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Credentials {
    /// Real, effective, saved and file-system user id.
    pub uid: Ids,
    /// Real, effective, saved and file-system group id.
    pub gid: Ids,
    /// Supplementary groups.
    pub groups: Arc<Vec<u32>>,
    /// Capabilities: effective, permitted, inheritable, bounding, ambient.
    pub caps: Capabilities,
    /// `PR_SET_SECUREBITS`.
    pub secure_bits: u32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
}

/// Four ids of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    /// Real.
    pub real: u32,
    /// Effective.
    pub effective: u32,
    /// Saved.
    pub saved: u32,
    /// For files.
    pub files: u32,
}

/// Capability sets, one bit per capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept over `execve` with file capabilities.
    pub inheritable: u64,
    /// Never exceeded.
    pub bounding: u64,
    /// Kept over `execve`.
    pub ambient: u64,
}

/// Capability numbers that the kernel layer asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "they are the ABI's names")]
pub enum Capability {
    DacOverride = 1,
    Kill = 5,
    SetGid = 6,
    SetUid = 7,
    SetPcap = 8,
    IpcLock = 14,
    SysRawio = 17,
    SysAdmin = 21,
    SysNice = 23,
    SysResource = 24,
}

impl Ids {
    /// All four the same.
    pub const fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
            files: id,
        }
    }

    /// Whether `id` is the real, effective or saved one.
    pub const fn holds(self, id: u32) -> bool {
        self.real == id || self.effective == id || self.saved == id
    }
}

impl Credentials {
    /// Whether a capability is in force.
    pub fn has(&self, capability: Capability) -> bool {
        self.caps.effective & 1 << capability as u32 != 0
    }

    /// Whether the task acts for group `gid` when it touches files.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid.files == gid || self.groups.contains(&gid)
    }

    /// Whether a task with these may send a signal to one with `target`.
    pub fn may_signal(&self, target: &Self) -> bool {
        let own = [self.uid.real, self.uid.effective];
        own.iter()
            .any(|id| *id == target.uid.real || *id == target.uid.saved)
            || self.has(Capability::Kill)
    }
}
