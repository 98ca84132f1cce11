//! Signals that are read: `signalfd(2)`.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::sync::SpinLock;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::{PollEvents, SignalFdInfo};
use foliant_uapi::{FromBytes, IntoBytes, SigInfo, SigSet};
use foliant_units::Errno;

use crate::fs::{File, FileStat, Sink, Splices, anonymous_stat};
use crate::machine::UserMachine;
use crate::park::WaitQueue;
use crate::task::Task;

/// Gives the signals of a set to whoever reads.
///
/// # Linux source concept
/// `struct signalfd_ctx`, fs/signalfd.c. Differs: the signals are always those
/// of the task that made the file, also when another process reads it.
pub struct SignalFd<M: UserMachine> {
    task: Weak<Task<M>>,
    arrivals: WaitQueue,
    mask: SpinLock<SigSet>,
}

impl<M: UserMachine> SignalFd<M> {
    /// The signals of `mask` that are sent to `task` or its process.
    pub fn new(task: Arc<Task<M>>, mask: SigSet) -> Self {
        let arrivals = task.process().signal_arrivals.clone();
        Self {
            task: Arc::downgrade(&task),
            arrivals,
            mask: SpinLock::new(mask),
        }
    }

    /// Changes the set.
    pub fn set_mask(&self, mask: SigSet) {
        *self.mask.lock() = mask;
        self.arrivals.wake_all();
    }
}

impl<M: UserMachine> File<M> for SignalFd<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        const SIZE: usize = size_of::<SignalFdInfo>();
        if to.room() < SIZE {
            return Err(Errno::INVAL);
        }
        let task = self.task.upgrade().ok_or(Errno::AGAIN)?;
        let mask = *self.mask.lock();
        let mut total = 0;
        while to.room() >= SIZE {
            let Some(info) = task.take_signal(mask) else { break };
            total += to.put(tell(&info).as_bytes())?;
        }
        if total == 0 { Err(Errno::AGAIN) } else { Ok(total) }
    }

    fn ready(&self) -> PollEvents {
        let mask = *self.mask.lock();
        let pending = self.task.upgrade().map_or(SigSet::EMPTY, |task| task.pending());
        if pending.intersection(mask).is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::IN
        }
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.arrivals.clone())
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(anonymous_stat())
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[signalfd]".to_vec()
    }

    fn fdinfo(&self) -> String {
        alloc::format!("sigmask:\t{:016x}\n", self.mask.lock().bits())
    }
}

/// The structure that a reader gets.
fn tell(info: &SigInfo) -> SignalFdInfo {
    let mut out: SignalFdInfo = zeroed();
    out.signo = info.signo as u32;
    out.errno = info.errno;
    out.code = info.code;
    out.pid = info.pid();
    out.uid = info.uid();
    out
}

fn zeroed<T: FromBytes>() -> T {
    T::new_zeroed()
}
