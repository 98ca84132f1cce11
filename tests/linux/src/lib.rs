//! Foliant against the live kernel.
//!
//! A [generator](generate) makes sequences of memory operations from a seed.
//! [`linux`] runs them in a child process on the kernel below, [`foliant`] on a
//! space of Foliant; results, faults, VMAs and pages after every operation must
//! be equal. What is compared and why it repeats exactly: [`op::Observed`].

pub mod compare;
pub mod foliant;
pub mod generate;
pub mod linux;
pub mod op;
