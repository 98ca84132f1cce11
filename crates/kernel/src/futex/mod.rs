//! Sleeping on words of user memory.
//!
//! Waiters stand in buckets by key. A bucket's lock is held while the word is
//! looked at, so that a wake-up after a change of the word finds whoever has
//! seen the old value. It is a sleeping lock, because looking may fault.

mod key;
mod pi;
mod requeue_pi;
mod robust;
mod table;
mod wait;
mod wake;

pub(crate) use table::Futexes;

pub(crate) use key::Sharing;
pub(crate) use pi::{lock_pi, unlock_pi};
pub(crate) use requeue_pi::{requeue_pi, wait_requeue_pi};
pub(crate) use robust::release_robust_list;
pub(crate) use wait::{Waited, wait, wait_many};
pub(crate) use wake::{wake, wake_op, wake_or_requeue, wake_word};
