//! Counters that can be waited for.

use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_uapi::open::OpenFlags;
use foliant_uapi::poll::PollEvents;
use foliant_units::Errno;

use crate::fs::{File, FileStat, READABLE, Sink, Source, Splices, WRITABLE, anonymous_stat};
use crate::park::WaitQueue;

/// The counter of `eventfd(2)`.
#[derive(Debug)]
pub struct EventFd {
    count: SpinLock<u64>,
    semaphore: bool,
    changed: WaitQueue,
}

impl EventFd {
    /// A counter at `initial`; a semaphore gives one at a time.
    pub fn new(initial: u32, semaphore: bool) -> Self {
        Self {
            count: SpinLock::new(u64::from(initial)),
            semaphore,
            changed: WaitQueue::new(),
        }
    }
}

impl<M: Mmu> File<M> for EventFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(&self, _: u64, to: &mut dyn Sink, _: OpenFlags) -> Result<usize, Errno> {
        if to.room() < 8 {
            return Err(Errno::INVAL);
        }
        let mut count = self.count.lock();
        let taken = match *count {
            0 => return Err(Errno::AGAIN),
            _ if self.semaphore => 1,
            all => all,
        };
        *count -= taken;
        drop(count);
        self.changed.wake_all();
        to.put(&taken.to_le_bytes())
    }

    fn write(&self, _: u64, from: &mut dyn Source, _: OpenFlags) -> Result<(usize, u64), Errno> {
        if from.left() < 8 {
            return Err(Errno::INVAL);
        }
        let mut bytes = [0; 8];
        if from.take(&mut bytes)? < 8 {
            return Err(Errno::FAULT);
        }
        let more = u64::from_le_bytes(bytes);
        if more == u64::MAX {
            return Err(Errno::INVAL);
        }
        let mut count = self.count.lock();
        // The largest value stands for an overflow and is never reached by writing.
        match count.checked_add(more) {
            Some(sum) if sum < u64::MAX => *count = sum,
            _ => {
                drop(count);
                from.give_back(8);
                return Err(Errno::AGAIN);
            }
        }
        drop(count);
        self.changed.wake_all();
        Ok((8, 0))
    }

    fn ready(&self) -> PollEvents {
        let count = *self.count.lock();
        let mut ready = PollEvents::empty();
        ready.set(READABLE & PollEvents::IN, count > 0);
        ready.set(WRITABLE & PollEvents::OUT, count < u64::MAX - 1);
        ready
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.changed.clone())
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(anonymous_stat())
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[eventfd]".to_vec()
    }

    fn fdinfo(&self) -> String {
        let count = *self.count.lock();
        alloc::format!(
            "eventfd-count: {count:16x}\neventfd-semaphore: {}\n",
            u8::from(self.semaphore)
        )
    }
}
