//! Allocators of small objects, each as the global allocator that its users
//! install.

mod gates;
mod ours;
mod peers;
mod workloads;

use std::alloc::GlobalAlloc;

pub use gates::{Gate, gates};
pub use workloads::{Times, run};

/// An allocator that threads share.
pub(crate) trait Objects: GlobalAlloc + Sync {
    /// What reports call it.
    const NAME: &'static str;

    /// Tells which CPU this thread is on.
    fn on_cpu(&self, _cpu: usize) {}
}

/// The peer that most gates are about.
pub const MIMALLOC: &str = "mimalloc";
/// The peer with one lock.
pub const TALC: &str = "talc";

/// Measures Foliant and its peers, prints everything, and returns every gate
/// that is missed.
pub fn bench(only: Option<&str>) -> Vec<String> {
    let times = run(only);
    println!(
        "{:<22} {:>2} {:>9} {:>9} {:>9} {:>9}   {:>8} {:>8}",
        "64-byte objects, ns", "th", "foliant", "kfree", MIMALLOC, TALC, "/mimalloc", "talc/"
    );
    for row in &times {
        println!("{row}");
    }
    println!();
    let gates = gates(&times);
    gates.iter().for_each(|gate| println!("{gate}"));
    gates
        .iter()
        .filter(|gate| !gate.holds())
        .map(Gate::to_string)
        .collect()
}
