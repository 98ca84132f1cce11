//! A process as a file.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use foliant_uapi::poll::PollEvents;
use foliant_units::Errno;

use crate::fs::{File, FileStat, READABLE, Splices, anonymous_stat};
use crate::machine::UserMachine;
use crate::park::WaitQueue;
use crate::process::Process;

/// The file of `pidfd_open(2)`: readable once the process has ended.
pub struct PidFd<M: UserMachine> {
    process: Arc<Process<M>>,
}

impl<M: UserMachine> PidFd<M> {
    /// The file of `process`.
    pub fn new(process: Arc<Process<M>>) -> Self {
        Self { process }
    }

    /// The process, which may have ended.
    pub fn process(&self) -> &Arc<Process<M>> {
        &self.process
    }
}

impl<M: UserMachine> File<M> for PidFd<M> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn ready(&self) -> PollEvents {
        let ended = self.process.any_task().is_none();
        if ended { READABLE } else { PollEvents::empty() }
    }

    fn queue(&self) -> Option<WaitQueue> {
        Some(self.process.ended.clone())
    }

    fn splices(&self) -> Splices {
        Splices::empty()
    }

    fn stat(&self) -> Result<FileStat, Errno> {
        Ok(anonymous_stat())
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[pidfd]".to_vec()
    }

    fn fdinfo(&self) -> String {
        let pid = if self.process.any_task().is_some() {
            self.process.id().raw()
        } else {
            -1
        };
        alloc::format!("Pid:\t{pid}\nNSpid:\t{pid}\n")
    }
}
