//! kdump compressed files, as makedumpfile and QEMU write them: a header, two
//! bitmaps of frames, a descriptor per frame kept, and packed pages.
//!
//! Flattened files are the same in pieces, each with the place where it belongs.

mod codec;
mod flattened;
mod header;
mod lzo;
mod pages;
mod parts;
mod source;

pub(crate) use pages::{is_kdump, open};
pub(crate) use parts::Parts;
