//! Addresses that are known when the kernel is compiled, whatever is mapped there.
//!
//! Slots are counted down from the top, as in Linux, so that their addresses
//! do not depend on how many there are.

mod layout;
mod slots;
#[cfg(all(test, not(loom)))]
mod tests;

pub use layout::{FixLayout, FixRun, FixSlot, I386_FIXMAP, X86_64_FIXMAP};
pub use slots::{FixError, Fixmap};
