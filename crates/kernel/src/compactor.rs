//! kcompactd: compaction that nobody waits for, on a thread of the machine.

use alloc::boxed::Box;
use alloc::sync::Weak;

use foliant_mm::Background;
use foliant_phys::NodeId;

use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// Has the machine compact when the memory manager wants it.
pub(crate) struct Compactor<M: UserMachine> {
    pub(crate) kernel: Weak<Kernel<M>>,
}

impl<M: UserMachine> Background for Compactor<M> {
    fn compact(&self, node: NodeId) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let weak = self.kernel.clone();
        kernel.machine().background(Box::new(move || {
            if let Some(kernel) = weak.upgrade() {
                kernel.compact_behind(node);
            }
        }));
    }
}

impl<M: UserMachine> Kernel<M> {
    /// Does what a node's compaction thread was woken for.
    ///
    /// # Linux source concept
    /// `kcompactd()`.
    fn compact_behind(&self, node: NodeId) {
        let stopped = self.compaction_stopped.lock();
        let phys = self.memory().phys();
        while let (false, Some(migrator)) = (*stopped, phys.migrator()) {
            if phys.compaction_daemon(node, &*migrator).is_none() {
                break;
            }
        }
    }

    /// Waits for compaction under way; there is no more of it on threads of its
    /// own. For those who want to count every frame.
    pub fn stop_compaction(&self) {
        *self.compaction_stopped.lock() = true;
    }
}
