//! System V shared memory: segments with keys, which outlive their processes.

mod attached;
mod label;
mod segment;
mod table;

pub(crate) use attached::{attachments, note_detached, segments_in};
pub(crate) use label::SegmentLabel;
pub(crate) use segment::{Owner, Segment};
pub use table::Segments;
pub(crate) use table::{MAX_SEGMENTS, SHMMAX, text};
