//! Prints what page tables cost: `cargo run --release -p foliant-bench --bin tables`.

use foliant_bench::{print, tables};

fn main() {
    print(&tables::run());
}
