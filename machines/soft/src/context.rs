//! A space as the machine knows it.

use std::fmt;
use std::sync::Arc;

use foliant_platform::{FourLevels, Levels};

use crate::machine::SoftMachineOf;
use crate::space::SpaceState;

/// The machine's knowledge of one space: a tag that is its own while the
/// context lives.
pub struct SoftContext<L: Levels = FourLevels> {
    machine: SoftMachineOf<L>,
    space: Arc<SpaceState>,
    /// Whether the tables are the kernel's, which all spaces share.
    kernel: bool,
}

impl<L: Levels> SoftContext<L> {
    pub(crate) fn new(machine: SoftMachineOf<L>, space: Arc<SpaceState>, kernel: bool) -> Self {
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

impl<L: Levels> Drop for SoftContext<L> {
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

impl<L: Levels> fmt::Debug for SoftContext<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.space.tag, self.space.root)
    }
}
