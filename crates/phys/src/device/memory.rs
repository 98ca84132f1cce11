//! What a driver says of its device's memory.

use core::fmt;
use std_alloc::sync::Arc;

use foliant_platform::sync::SpinLock;
use foliant_units::{Order, Pfn, PfnRange};

use super::error::DeviceError;
use crate::boot::NodeId;
use crate::mutant::{Mutant, is_on};
use crate::plug::RecordsIn;

/// How a device's memory behaves.
///
/// # Linux source concept
/// `enum memory_type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeviceKind {
    /// CPUs cannot reach it: a program that touches it has it brought to RAM.
    Private,
    /// CPUs reach it like RAM, but it is the driver's.
    Coherent,
    /// The storage of a file system whose files are mapped directly.
    FsDax,
    /// Mapped by a character device. The map itself holds a reference to each
    /// frame, so that all can be found at any time.
    Generic,
}

impl DeviceKind {
    /// Whether CPUs reach its bytes.
    pub const fn is_reachable(self) -> bool {
        !matches!(self, Self::Private)
    }

    /// Whether the driver must be told of frames that come back.
    pub(super) const fn needs_ops(self) -> bool {
        matches!(self, Self::Private | Self::Coherent)
    }

    /// Whether frames have a reference while nobody uses them.
    pub(super) const fn is_held(self) -> bool {
        matches!(self, Self::Generic)
    }
}

/// Someone who has a device's free frames.
///
/// # Linux source concept
/// `struct dev_pagemap_ops`. Differs: bringing private memory to RAM is asked
/// of whoever handles faults.
pub trait DeviceOps: Send + Sync {
    /// The last reference to a folio has gone. Called with no lock of this
    /// crate held; the folio may be taken again from here on.
    fn freed(&self, pfn: Pfn, order: Order);
}

/// A device's memory, to be mapped.
#[derive(Clone)]
pub struct DeviceMemory {
    /// Whole blocks of 2 MiB. Unless it is private, the machine hands it over:
    /// its platform's `ram` reaches it from now on.
    pub frames: PfnRange,
    /// The node that it is near to.
    pub node: NodeId,
    /// How it behaves.
    pub kind: DeviceKind,
    /// Where the records of its frames lie; in its own first frames, if it is
    /// made of whole sections and can be reached (`struct vmem_altmap`).
    pub records: RecordsIn,
    /// Who is told of frames that come back.
    pub ops: Option<Arc<dyn DeviceOps>>,
}

impl DeviceMemory {
    /// Memory near node 0, with its records in RAM, and nobody to be told.
    pub const fn new(frames: PfnRange, kind: DeviceKind) -> Self {
        Self {
            frames,
            node: NodeId(0),
            kind,
            records: RecordsIn::OldMemory,
            ops: None,
        }
    }
}

/// A device's memory that is mapped.
pub struct DeviceMap {
    pub(super) memory: DeviceMemory,
    /// The frames that do not hold records.
    pub(super) usable: PfnRange,
    state: SpinLock<MapState>,
}

/// What changes of a map.
#[derive(Clone, Copy, Default, Debug)]
struct MapState {
    /// Folios that somebody has.
    taken: u64,
    /// It is gone.
    ended: bool,
}

impl DeviceMap {
    /// All its frames.
    pub fn frames(&self) -> PfnRange {
        self.memory.frames
    }

    /// Those that do not hold records of the others.
    pub fn usable(&self) -> PfnRange {
        self.usable
    }

    /// How it behaves.
    pub fn kind(&self) -> DeviceKind {
        self.memory.kind
    }

    /// How many of its folios somebody has; of generic memory none is counted.
    pub fn taken(&self) -> u64 {
        self.state.lock().taken
    }
}

impl DeviceMap {
    pub(crate) fn new(memory: DeviceMemory, usable: PfnRange) -> Self {
        Self {
            memory,
            usable,
            state: SpinLock::new(MapState::default()),
        }
    }

    /// Takes a folio, if the map has not ended and `begin`, asked under the
    /// lock, found it idle and gave it its first reference.
    pub(crate) fn take(&self, begin: impl FnOnce() -> bool) -> bool {
        let mut state = self.state.lock();
        let over = state.ended && !is_on(Mutant::TakeEnded);
        if over || !begin() {
            return false;
        }
        state.taken += 1;
        true
    }

    /// A folio that was taken is idle again, and its owner was told.
    pub(crate) fn give(&self) {
        self.state.lock().taken -= 1;
    }

    /// Ends the map, if nobody has any of it and `last`, asked under the lock,
    /// agrees: from here on no folio is taken.
    pub(crate) fn end(&self, last: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        let mut state = self.state.lock();
        if state.ended {
            return Err(DeviceError::NotMapped);
        }
        if state.taken > 0 && !is_on(Mutant::EndTaken) {
            return Err(DeviceError::Busy(state.taken));
        }
        last()?;
        state.ended = true;
        Ok(())
    }
}

impl fmt::Debug for DeviceMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceMemory {
            frames, node, kind, ..
        } = &self.memory;
        write!(f, "{kind:?} memory {frames:?} near {node:?}")
    }
}
