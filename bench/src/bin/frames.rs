//! Prints what frame allocators cost and how they place: `cargo run --release -p foliant-bench --bin frames`.

use foliant_bench::{frames, print};

fn main() {
    print(&frames::run());
    println!("\nfree frames in whole blocks, half full after churn:");
    for placement in frames::placement() {
        println!("{:<24} {:>5.1} %", placement.allocator, placement.whole * 100.0);
    }
}
