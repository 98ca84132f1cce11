//! Running a program: a machine, a kernel, the host's files, and the program in
//! them with the identity, descriptors and limits of whoever asks.

mod account;
mod error;
mod identity;
mod memory;
mod options;
mod session;
mod signals;
mod surroundings;

pub use account::Account;
pub use error::RunError;
pub use memory::{MemoryPlan, PlanError};
pub use options::{Command, FolioSizes, Options};
pub use session::{Outcome, Session};
pub use surroundings::look_at_stack;
