//! Signals: numbers, sets, what is pending, what is done about it.

mod action;
mod info;
mod number;
mod pending;
mod set;

pub use action::{Action, ActionFlags, Actions};
pub use info::{Detail, SigInfo};
pub use number::{DefaultAction, Signal};
pub use pending::Pending;
pub use set::SigSet;
