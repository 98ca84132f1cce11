//! Kernel stacks: mapped side by side, with nothing below them.
//!
//! The page below a stack is never mapped, so a stack that overflows faults at
//! once, and [`KernelStacks::overflow`] says whose it is. Stacks of tasks that
//! ended are kept for the next, two for each CPU.

mod cache;
#[cfg(all(test, loom))]
mod models;
mod overflow;
mod stacks;
#[cfg(all(test, not(loom)))]
mod tests;

pub use overflow::StackOverflow;
pub use stacks::{InterruptStacks, KernelStack, KernelStacks, StackUser};
