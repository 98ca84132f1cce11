//! System calls: who handles which number, and how often each came.
//!
//! A handler is a function of [`Ctx`] to [`Answer`]. It blocks in
//! straight-line code, and says with [`Fail::Restart`] what becomes of the
//! call if a signal ended its wait.

mod answer;
mod counts;
mod ctx;
mod names;
mod process;
mod table;

pub use answer::{Answer, Continuation, Fail, Restart};
pub use counts::Counts;
pub use ctx::Ctx;
pub use names::name;
pub use table::{Handler, handler};
