//! Sets of files to wait for: `epoll(7)`.

mod item;
mod set;

pub use set::{Change, Epoll};

#[cfg(test)]
mod test;
