//! Who writes a file, and who runs it: never both at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use foliant_platform::sync::atomic::{AtomicI32, Ordering};
use foliant_units::Errno;

/// How many may write a file, or, negative, how many run it.
///
/// # Linux source concept
/// `i_writecount` of `struct inode`.
#[derive(Debug, Default)]
pub struct Writers(AtomicI32);

/// Somebody may write the file.
#[derive(Debug)]
pub struct Writing(Arc<Writers>);

/// The file is a program that runs.
pub struct Running {
    writers: Arc<Writers>,
    /// What must stay open, so that the count is not forgotten.
    _file: Box<dyn Any + Send + Sync>,
}

impl Writers {
    /// Somebody is to write the file.
    ///
    /// # Errors
    /// `TXTBSY` while it runs.
    pub fn write(self: &Arc<Self>) -> Result<Writing, Errno> {
        self.count(1)?;
        Ok(Writing(self.clone()))
    }

    /// The file, which `file` keeps open, is to be executed.
    ///
    /// # Errors
    /// `TXTBSY` while somebody may write it.
    pub fn run(self: &Arc<Self>, file: impl Any + Send + Sync) -> Result<Running, Errno> {
        self.count(-1)?;
        Ok(Running {
            writers: self.clone(),
            _file: Box::new(file),
        })
    }

    /// Whether somebody may write the file now.
    pub fn is_written(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Counts one more on the side of `step`'s sign, if nobody is on the other.
    fn count(&self, step: i32) -> Result<(), Errno> {
        let more = |now: i32| (now == 0 || now.signum() == step).then_some(now + step);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .map(drop)
            .map_err(|_| Errno::TXTBSY)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.writers.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_by_many_or_run_by_many() {
        let writers = Arc::new(Writers::default());
        let (one, two) = (writers.write().unwrap(), writers.write().unwrap());
        assert!(writers.is_written());
        assert!(writers.run(()).is_err());
        drop(one);
        assert!(writers.run(()).is_err());
        drop(two);
        let (one, two) = (writers.run(()).unwrap(), writers.run(()).unwrap());
        assert_eq!(writers.write().unwrap_err(), Errno::TXTBSY);
        drop(one);
        assert_eq!(writers.write().unwrap_err(), Errno::TXTBSY);
        drop(two);
        assert!(!writers.is_written());
        assert!(writers.write().is_ok());
    }
}
