//! What is asked of memblock.

use foliant_units::{PhysAddr, PhysRange};

use crate::boot::map::NodeId;

/// From which end a range is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// The highest that fits: keeps low memory for devices.
    #[default]
    TopDown,
    /// The lowest that fits.
    BottomUp,
}

/// On which node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodeWish {
    /// On any.
    #[default]
    Any,
    /// On this one, or on any other when it has no room.
    Prefer(NodeId),
    /// On this one only.
    Exactly(NodeId),
}

/// What to take.
#[derive(Clone, Copy, Debug)]
pub struct BootRequest {
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
    /// Only addresses inside.
    pub within: PhysRange,
    /// From which end.
    pub direction: Direction,
    /// On which node.
    pub node: NodeWish,
    /// Mirrored memory first; any other when there is none.
    pub mirrored: bool,
}

impl BootRequest {
    /// `size` bytes aligned to `align`, anywhere, from the top.
    pub const fn new(size: u64, align: u64) -> Self {
        let within = PhysRange::new(PhysAddr::ZERO, PhysAddr::new(u64::MAX));
        Self {
            size,
            align,
            within,
            direction: Direction::TopDown,
            node: NodeWish::Any,
            mirrored: false,
        }
    }

    /// The same inside `within` only.
    pub const fn inside(self, within: PhysRange) -> Self {
        Self { within, ..self }
    }

    /// The same from the bottom.
    pub const fn bottom_up(self) -> Self {
        Self {
            direction: Direction::BottomUp,
            ..self
        }
    }
}
