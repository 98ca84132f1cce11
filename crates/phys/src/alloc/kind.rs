//! What a block is for.

use super::request::Mobility;

/// To whom a block is given.
///
/// # Linux source concept
/// `enum migratetype` of a pageblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    /// To folios of one mobility, as far as possible.
    Of(Mobility),
    /// To a contiguous area (see [`CmaArea`](crate::CmaArea)), and meanwhile to
    /// movable folios only.
    Cma,
    /// To requests that cannot wait, of more than one frame.
    HighAtomic,
    /// To nobody: someone wants all of its frames.
    Isolated,
}

impl BlockKind {
    /// How many kinds there are.
    pub const COUNT: usize = 6;

    /// The number as an index into per-kind arrays: the mobilities, then CMA,
    /// then isolated, then set aside for atomic requests.
    pub const fn index(self) -> usize {
        match self {
            Self::Of(mobility) => mobility.index(),
            Self::Cma => 3,
            Self::Isolated => 4,
            Self::HighAtomic => 5,
        }
    }

    /// The mobility that the block is given to, if any.
    pub const fn mobility(self) -> Option<Mobility> {
        match self {
            Self::Of(mobility) => Some(mobility),
            Self::Cma | Self::HighAtomic | Self::Isolated => None,
        }
    }

    /// Whether folios in such a block can be moved away, as a rule.
    pub const fn is_movable(self) -> bool {
        matches!(self, Self::Of(Mobility::Movable) | Self::Cma)
    }
}
