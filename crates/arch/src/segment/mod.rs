//! Segmentation: from a selector and an offset to a linear address, before any
//! paging (Intel SDM volume 3, chapters 3 and 5).

mod descriptor;
mod translate;

pub use descriptor::{Descriptor, Kind, Selector, SystemKind};
pub use translate::{Register, Segment, SegmentFault, Width, load_data};
