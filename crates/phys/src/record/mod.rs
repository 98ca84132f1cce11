//! Frame records: one cache line of knowledge about each frame of RAM.

mod count;
mod flags;
mod frame_record;
mod map_count;
mod owner;
mod records;

pub use count::{Count, Left};
pub use flags::FrameFlags;
pub use frame_record::FrameRecord;
pub(crate) use frame_record::Stamp;
pub use map_count::MapCount;
pub use owner::Owner;
pub use records::RecordView;
pub(crate) use records::{NearRecords, Records};
