//! The running host, as far as it tells about its memory.

mod process;

pub use process::{LiveError, LiveName, LiveProcess, page_words, processes};
