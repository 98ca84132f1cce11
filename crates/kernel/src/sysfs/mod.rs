//! `/sys`: the machine's `kernel/mm`, and the host's rest.

mod mm;
mod tree;

pub use tree::root;
