//! A range of memory with what is known about it.

use bitflags::bitflags;
use foliant_units::{PhysAddr, PhysRange};

use crate::boot::map::NodeId;

bitflags! {
    /// What is special about a region.
    ///
    /// # Linux source concept
    /// `enum memblock_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Attributes: u8 {
        /// The memory may be unplugged.
        const HOTPLUG = 1;
        /// The hardware keeps a second copy.
        const MIRROR = 2;
        /// RAM that the kernel must not map, and so never allocates.
        const NOMAP = 4;
        /// Memory that a driver found and gave.
        const DRIVER_MANAGED = 8;
    }
}

/// A range of RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// The bytes.
    pub range: PhysRange,
    /// The node they belong to.
    pub node: NodeId,
    /// What is special about them.
    pub attributes: Attributes,
}

impl Region {
    /// No bytes.
    pub(super) const EMPTY: Self = Self::ram(PhysRange::new(PhysAddr::ZERO, PhysAddr::ZERO), NodeId(0));

    /// Plain RAM of a node.
    pub const fn ram(range: PhysRange, node: NodeId) -> Self {
        Self {
            range,
            node,
            attributes: Attributes::empty(),
        }
    }

    /// Whether the two may be one region where they touch.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.node, self.attributes) == (other.node, other.attributes)
    }
}
