//! What a space counts and may use.

use foliant_units::PAGE_SHIFT;

use crate::flags::VmFlags;
use crate::layout::Layout;

/// What the process may use. Changed by `setrlimit` and by credentials.
///
/// # Units
/// Bytes; `u64::MAX` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub memlock: u64,
    /// `CAP_IPC_LOCK`: [`memlock`](Self::memlock) does not hold.
    pub may_lock_all: bool,
    /// `CAP_SYS_RAWIO`: [`lowest`](Self::lowest) does not hold.
    pub may_map_low: bool,
    /// VMAs of a space (`vm.max_map_count`); one more can exist.
    pub vmas: usize,
    /// Lowest address an unprivileged process may map (`vm.mmap_min_addr`).
    pub lowest: u64,
}

impl Default for Limits {
    /// Those of an ordinary user of an ordinary distribution.
    fn default() -> Self {
        Self {
            address_space: u64::MAX,
            data: u64::MAX,
            stack: 8 << 20,
            memlock: 8 << 20,
            may_lock_all: false,
            may_map_low: false,
            vmas: 65530,
            lowest: 65536,
        }
    }
}

/// What the VMAs of a space add up to.
///
/// # Units
/// Pages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// All (`VmSize`).
    pub total: u64,
    /// Private writable ones that are not stacks (`VmData`).
    pub data: u64,
    /// Growing ones (`VmStk`).
    pub stack: u64,
    /// Executable ones that are neither writable nor growing.
    pub exec: u64,
    /// Locked ones (`VmLck`).
    pub locked: u64,
}

/// The part of a space that only the holder of its writer lock sees.
#[derive(Clone, Debug)]
pub struct Book {
    /// Where things go.
    pub layout: Layout,
    /// What the process may use.
    pub limits: Limits,
    /// What it uses.
    pub usage: Usage,
    /// Flags that every new mapping gets (`mlockall(MCL_FUTURE)`).
    pub future: VmFlags,
}

impl Usage {
    /// Counts `pages` with `flags` in.
    pub(crate) fn add(&mut self, flags: VmFlags, pages: u64) {
        self.total += pages;
        if let Some(class) = self.class(flags) {
            *class += pages;
        }
    }

    /// Counts `pages` with `flags` out.
    pub(crate) fn sub(&mut self, flags: VmFlags, pages: u64) {
        self.total -= pages;
        if let Some(class) = self.class(flags) {
            *class -= pages;
        }
    }

    /// # Linux source concept
    /// `vm_stat_account()`.
    fn class(&mut self, flags: VmFlags) -> Option<&mut u64> {
        let grows = flags.contains(VmFlags::GROWSDOWN);
        if flags.contains(VmFlags::EXEC) && !flags.contains(VmFlags::WRITE) && !grows {
            Some(&mut self.exec)
        } else if grows {
            Some(&mut self.stack)
        } else if flags.is_data() {
            Some(&mut self.data)
        } else {
            None
        }
    }
}

impl Book {
    /// A fresh space's.
    pub fn new(layout: Layout, limits: Limits) -> Self {
        Self {
            layout,
            limits,
            usage: Usage::default(),
            future: VmFlags::empty(),
        }
    }

    /// Whether `RLIMIT_AS` and `RLIMIT_DATA` allow `pages` more with `flags`.
    ///
    /// # Linux source concept
    /// `may_expand_vm()`.
    pub(crate) fn may_expand(&self, flags: VmFlags, pages: u64) -> bool {
        let fits = |used: u64, limit: u64| used.saturating_add(pages) <= limit >> PAGE_SHIFT;
        fits(self.usage.total, self.limits.address_space)
            && (!flags.is_data() || fits(self.usage.data, self.limits.data))
    }

    /// Whether `RLIMIT_MEMLOCK` allows `pages` more, if `flags` say that they are locked.
    ///
    /// # Linux source concept
    /// `mlock_future_ok()`.
    pub(crate) fn may_lock_more(&self, flags: VmFlags, pages: u64) -> bool {
        !flags.contains(VmFlags::LOCKED) || self.may_lock(self.usage.locked.saturating_add(pages))
    }

    /// Whether `pages` in all may be locked.
    pub(crate) fn may_lock(&self, pages: u64) -> bool {
        self.limits.may_lock_all || pages <= self.limits.memlock >> PAGE_SHIFT
    }

    /// Whether the process may lock at all.
    ///
    /// # Linux source concept
    /// `can_do_mlock()`.
    pub(crate) fn may_lock_any(&self) -> bool {
        self.limits.may_lock_all || self.limits.memlock != 0
    }
}
