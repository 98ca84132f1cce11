//! Folios of several sizes for private memory (transparent huge pages below
//! 2 MiB): which sizes one fault may fill, who decides that, and what came of it.
//!
//! [`Thp`] holds the machine's settings, as `/sys/kernel/mm/transparent_hugepage`
//! shows them; [`Advice`] and [`ThpMode`] are what a mapping and a process say to
//! them. From the three come the [`Orders`] that a fault may use.

mod orders;
mod setting;
mod stats;
mod switch;

pub use orders::Orders;
pub(crate) use orders::block;
pub(crate) use setting::Advice;
pub use setting::{Defrag, Global, SizeSetting, ThpMode};
pub use stats::ThpEvent;
pub use switch::Thp;
