//! Programs of the host give the same output and status natively and under
//! `foliant run`.
//!
//! Programs that are not installed are skipped with a line that says how to
//! get them. Nothing here runs without a time limit.

mod compilers;
mod data;
mod databases;
mod files;
mod folios;
mod harness;
mod interpreters;
mod memory;
mod misbehaviour;
mod own;
mod placement;
mod plug;
mod proc;
mod runtimes;
mod shells;
