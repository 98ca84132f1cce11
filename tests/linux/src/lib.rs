//! Foliant against the live kernel.
//!
//! A [generator](generate) makes sequences of memory operations from a seed.
//! [`linux`] runs them in a child process on the kernel below, [`paper`] on
//! Foliant's bookkeeping; results and the map after every operation must be
//! equal. What is compared and why it repeats exactly: [`op::Observed`].

pub mod compare;
pub mod generate;
pub mod linux;
pub mod op;
pub mod paper;
