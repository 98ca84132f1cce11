//! Locks of a task that ends while it holds them.

use alloc::sync::Arc;

use foliant_uapi::futex::{
    FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT, RobustListHead,
};
use foliant_units::{Errno, VirtAddr};

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::space::Space;
use crate::task::Task;
use crate::user::Copier;

use super::key::{Key, Sharing};
use super::pi;
use super::wake::wake_word;

/// An entry of a robust list: bit 0 of its address marks priority inheritance.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn at(self) -> u64 {
        self.0 & !1
    }

    fn is_pi(self) -> bool {
        self.0 & 1 != 0
    }

    fn word(self, offset: i64) -> VirtAddr {
        VirtAddr::new(self.at().wrapping_add_signed(offset))
    }
}

/// Marks every lock on the task's robust list as orphaned. The list is user
/// code's: whatever cannot be read ends the walk.
///
/// # Linux source concept
/// `exit_robust_list()`.
pub(crate) fn release_robust_list<M: UserMachine>(kernel: &Kernel<M>, task: &Arc<Task<M>>) {
    let Some(head_at) = task.words.lock().robust_list.take() else {
        return;
    };
    let Some(space) = task.space() else { return };
    let memory = Copier {
        kernel,
        task,
        space: &space,
    };
    let Ok(head) = memory.read::<RobustListHead>(head_at.raw()) else {
        return;
    };
    let pending = Entry(head.list_op_pending);

    let mut entry = Entry(head.list);
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry.at() == head_at.raw() {
            break;
        }
        let next = memory.read::<u64>(entry.at());
        if entry.at() != pending.at()
            && release(kernel, task, &space, entry, head.futex_offset, false).is_err()
        {
            return;
        }
        let Ok(next) = next else { return };
        entry = Entry(next);
    }
    if pending.at() != 0 {
        // The last thing the task did may have been this one; nobody is left to tell an error.
        let _ = release(kernel, task, &space, pending, head.futex_offset, true);
    }
}

/// # Linux source concept
/// `handle_futex_death()`.
fn release<M: UserMachine>(
    kernel: &Kernel<M>,
    task: &Arc<Task<M>>,
    space: &Arc<Space<M>>,
    entry: Entry,
    offset: i64,
    is_pending: bool,
) -> Result<(), Errno> {
    let at = entry.word(offset);
    if !at.is_aligned_to(4) {
        return Err(Errno::INVAL);
    }
    let tid = task.tid().raw() as u32;
    let mut old = space.read_u32(at)?;
    if is_pending && !entry.is_pi() && old == 0 {
        // It was given back, but perhaps nobody was woken yet.
        wake_word(kernel, space, at, 1);
        return Ok(());
    }
    if entry.is_pi() && old & FUTEX_TID_MASK == tid {
        let key = Key::at(space, at, Sharing::Shared)?;
        return pi::hand_over(kernel, space, (at, key), tid, FUTEX_OWNER_DIED);
    }
    loop {
        if old & FUTEX_TID_MASK != tid {
            return Ok(());
        }
        let new = old & FUTEX_WAITERS | FUTEX_OWNER_DIED;
        let found = space.cmpxchg_u32(at, old, new)?;
        if found == old {
            break;
        }
        old = found;
    }
    if old & FUTEX_WAITERS != 0 {
        wake_word(kernel, space, at, 1);
    }
    Ok(())
}
