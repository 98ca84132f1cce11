//! Frames that the direct map does not reach, shown through small windows.
//!
//! [`Kmap`] keeps a frame mapped until its last user is done, and a while
//! longer: its slots are flushed together when the window has been gone
//! through. [`LocalMaps`] gives a CPU a few slots of its own for a moment.
//!
//! Both are for 32-bit layouts with more memory than addresses, but care for
//! neither format nor layout: the window and what the direct map reaches are
//! arguments.

mod direct;
mod local;
mod local_slots;
#[cfg(all(test, loom))]
mod models;
mod pkmap;
mod pkmap_book;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(all(test, not(loom)))]
mod tests_i386;
mod ticket;

pub use direct::DirectMap;
pub use local::{LocalMap, LocalMaps, TooDeep};
pub use pkmap::{BadUnmap, Kmap};
pub use ticket::{Pause, Spin};
