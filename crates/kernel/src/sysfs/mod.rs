//! `/sys`: the machine's `kernel/mm`, and the host's rest.

mod block_state;
mod debug;
mod memory;
mod mm;
mod probe;
mod thp;
mod tree;

pub use tree::root;
