//! Signals: sending, holding back, delivering, coming back.
//!
//! Everything about a process's signals is under one lock, that of its
//! [`Group`](crate::process::Group) (Linux: `siglock`); a task's own part has a
//! small lock inside it, for the borrow checker's sake.

mod actions;
mod deliver;
mod frame;
mod mask;
mod pending;
mod send;
mod sigreturn;
mod state;
mod stop;
mod take;

pub use actions::Actions;
pub use foliant_uapi::signal::{
    AltStack, AltStackFlags, DefaultAction, MaskHow, SiCode, SigAction, SigActionFlags, SigInfo, SigSet,
    Signal,
};
pub use pending::Pending;
pub use state::TaskSignals;

pub(crate) use deliver::{Flow, Interrupted, deliver};
pub(crate) use frame::reported_stack;
pub(crate) use send::{Target, kill_others};
pub(crate) use sigreturn::{set_stack, sigreturn};
pub(crate) use stop::{count_stopped, tell_parent};
