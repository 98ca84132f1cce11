//! Nodes and zones: which memory is good for whom, and how much is kept back.

mod distances;
mod kind;
mod levels;
mod policy;
pub(crate) mod watermark;
mod zone_state;
mod zones;

pub use distances::Distances;
pub use kind::{ZONE_KINDS, ZoneKind, ZoneLayout};
pub(crate) use policy::Policy;
pub use watermark::{Mark, Watermarks};
pub use zone_state::Zone;
pub(crate) use zones::movable_start;
pub use zones::{MAX_NODES, ZoneId, Zones};
