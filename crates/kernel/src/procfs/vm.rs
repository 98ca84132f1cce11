//! Settings of memory that can be changed: a part of `/proc/sys/vm`.

use alloc::string::ToString;
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use foliant_phys::NodeId;
use foliant_units::Errno;

use super::knobs::integer;
use crate::fs::Caller;
use crate::fs::pseudo::TextSource;
use crate::kernel::Kernel;
use crate::machine::UserMachine;

/// A setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Knob {
    CompactMemory,
    CompactionProactiveness,
    ExtfragThreshold,
}

impl Knob {
    pub(super) const ALL: [Self; 3] = [
        Self::CompactMemory,
        Self::CompactionProactiveness,
        Self::ExtfragThreshold,
    ];

    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::CompactMemory => b"compact_memory",
            Self::CompactionProactiveness => b"compaction_proactiveness",
            Self::ExtfragThreshold => b"extfrag_threshold",
        }
    }

    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::CompactMemory => 0o200,
            Self::CompactionProactiveness | Self::ExtfragThreshold => 0o644,
        }
    }

    const fn allowed(self) -> RangeInclusive<i64> {
        match self {
            Self::CompactMemory => 1..=1,
            Self::CompactionProactiveness => 0..=100,
            Self::ExtfragThreshold => 0..=1000,
        }
    }
}

/// The file of a setting.
pub(super) struct KnobFile<M: UserMachine> {
    pub(super) kernel: Weak<Kernel<M>>,
    pub(super) knob: Knob,
}

impl<M: UserMachine> TextSource for KnobFile<M> {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        let phys = kernel.memory().phys();
        let value = match self.knob {
            // Not even by those whom modes do not bind.
            Knob::CompactMemory => return Err(Errno::ACCES),
            Knob::CompactionProactiveness => phys.proactiveness(),
            Knob::ExtfragThreshold => phys.fragmentation_threshold(),
        };
        Ok((value.to_string() + "\n").into_bytes())
    }

    /// # Linux source concept
    /// `sysctl_compaction_handler()`,
    /// `compaction_proactiveness_sysctl_handler()`.
    fn write(&self, text: &[u8], _: Caller) -> Result<(), Errno> {
        let value = integer(text)?;
        if !self.knob.allowed().contains(&value) {
            return Err(Errno::INVAL);
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::IO)?;
        let value = value as u32;
        match self.knob {
            Knob::CompactMemory => kernel.compact_all_memory(),
            Knob::CompactionProactiveness => {
                kernel.memory().phys().set_proactiveness(value);
                // Zero stops it, which nobody need be told.
                if value != 0 {
                    kernel.compact_ahead_now();
                }
            }
            Knob::ExtfragThreshold => kernel.memory().phys().set_fragmentation_threshold(value),
        }
        Ok(())
    }
}

impl<M: UserMachine> Kernel<M> {
    /// Compacts every zone as far as that goes.
    fn compact_all_memory(&self) {
        let phys = self.memory().phys();
        if let Some(migrator) = phys.migrator() {
            self.each_node(|node| phys.compact_all(node, &*migrator));
        }
    }

    fn each_node(&self, work: impl FnMut(NodeId)) {
        let nodes = self.memory().phys().zones().iter();
        let last = nodes.map(|(_, zone)| zone.node().0).max().unwrap_or(0);
        (0..=last).map(NodeId).for_each(work);
    }
}
