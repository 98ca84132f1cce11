//! How many whole blocks are left when memory is half full and busy.

use foliant_units::Order;

use super::{Allocator, FRAMES, Make};
use crate::measure::Random;

/// Times that an eighth of the frames in use is exchanged.
const ROUNDS: usize = 80;

/// What an allocator left.
#[derive(Clone, PartialEq, Debug)]
pub struct Placement {
    /// Who.
    pub allocator: &'static str,
    /// Of the free frames, the part that lies in whole free blocks of 2 MiB.
    pub whole: f64,
}

/// Fills memory, frees half of it at random, churns, and looks at what is left.
pub fn placement(makes: &[Make<'_>]) -> Vec<Placement> {
    let all = makes.iter().map(|make| make());
    all.filter(|allocator| allocator.serves(Order::ZERO, true))
        .map(|allocator| Placement {
            allocator: allocator.name(),
            whole: measure(&*allocator),
        })
        .collect()
}

fn measure(allocator: &dyn Allocator) -> f64 {
    allocator.on_cpu(0);
    let mut held: Vec<usize> = std::iter::from_fn(|| allocator.alloc(Order::ZERO)).collect();
    let total = held.len();
    let mut random = Random(7);
    random.shuffle(&mut held);
    held.drain(total / 2..)
        .for_each(|at| allocator.free(at, Order::ZERO));
    for _ in 0..ROUNDS {
        random.shuffle(&mut held);
        let keep = held.len() - held.len() / 8;
        let exchanged = held.len() - keep;
        held.drain(keep..).for_each(|at| allocator.free(at, Order::ZERO));
        held.extend((0..exchanged).map_while(|_| allocator.alloc(Order::ZERO)));
    }
    allocator.settle();

    let mut used = vec![0u32; FRAMES * 2 / 512];
    held.iter().for_each(|at| used[at / 512] += 1);
    let whole = used[..FRAMES / 512].iter().filter(|&&used| used == 0).count() * 512;
    held.iter().for_each(|&at| allocator.free(at, Order::ZERO));
    whole as f64 / (total - held.len()) as f64
}
