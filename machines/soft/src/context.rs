//! A space as the machine knows it.

use std::fmt;
use std::sync::Arc;

use crate::machine::SoftMachine;
use crate::space::SpaceState;

/// The machine's knowledge of one space: a tag that is its own while the
/// context lives.
pub struct SoftContext {
    machine: SoftMachine,
    space: Arc<SpaceState>,
    /// Whether the tables are the kernel's, which all spaces share.
    kernel: bool,
}

impl SoftContext {
    pub(crate) fn new(machine: SoftMachine, space: Arc<SpaceState>, kernel: bool) -> Self {
        Self {
            machine,
            space,
            kernel,
        }
    }

    pub(crate) fn is_kernel(&self) -> bool {
        self.kernel
    }

    pub(crate) fn space(&self) -> &Arc<SpaceState> {
        &self.space
    }
}

impl Drop for SoftContext {
    fn drop(&mut self) {
        if self.kernel {
            self.machine.forget_kernel(&self.space);
        }
        // CPUs that still have it loaded lazily must not look at its tables.
        for cpu in self.machine.cpu_states() {
            cpu.lock().forget_space(self.space.tag);
        }
        self.machine.give_tag_back(self.space.tag);
    }
}

impl fmt::Debug for SoftContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.space.tag, self.space.root)
    }
}
