//! Frame allocators.

mod gates;
mod heap;
mod ours;
mod peers;
mod placement;
mod workloads;

use foliant_units::Order;

pub use gates::{Gate, gates};
use heap::Heap;
use ours::Ours;
use peers::{Bitmap, Buddy};
pub use placement::{Placement, placement};
pub use workloads::run;

/// Frames that every allocator manages here: 1 GiB.
pub const FRAMES: usize = 1 << 18;

/// The peer that the gates are about.
pub const LLFREE: &str = "llfree";

/// An allocator that threads share.
pub trait Allocator: Sync {
    /// What reports call it.
    fn name(&self) -> &'static str;

    /// The first frame of a folio.
    fn alloc(&self, order: Order) -> Option<usize>;

    /// Gives it back.
    fn free(&self, at: usize, order: Order);

    /// Whether folios of this order are worth measuring; `bulk` if half of
    /// memory is taken at once.
    fn serves(&self, _order: Order, _bulk: bool) -> bool {
        true
    }

    /// Tells which CPU this thread is on.
    fn on_cpu(&self, _cpu: usize) {}

    /// Moves what is cached back, before placement is looked at.
    fn settle(&self) {}
}

/// Makes an allocator with all of its frames free.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Allocator>;

/// Measures Foliant, its peers and `more` of them; prints everything, and
/// returns every gate that is missed or could not be checked.
pub fn bench(more: &[Make<'_>]) -> Vec<String> {
    let mut makes: Vec<Make<'_>> = vec![
        &|| Box::new(Ours::new()),
        &|| Box::new(Buddy::new()),
        &|| Box::new(Bitmap::new()),
        &|| Box::new(Heap::new()),
    ];
    makes.extend(more);

    let rows = run(&makes);
    crate::print(&rows);
    println!("\nfree frames in whole blocks, half full after churn:");
    let placements = placement(&makes);
    for placement in &placements {
        println!("{:<24} {:>5.1} %", placement.allocator, placement.whole * 100.0);
    }
    println!();
    let gates = gates(&rows, &placements);
    gates.iter().for_each(|gate| println!("{gate}"));
    gates
        .iter()
        .filter(|gate| !gate.holds())
        .map(Gate::to_string)
        .collect()
}
