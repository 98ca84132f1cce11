//! Laws: for each trait or job one suite that every implementation passes, and
//! the naive models that say what right is.
//!
//! A suite is a function over a small trait; the tests of this crate apply it
//! to each implementation, and to the model itself so that the model is tried
//! as well.

pub mod frames;
pub mod random;
