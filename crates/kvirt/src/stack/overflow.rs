//! An overflow, in words.

use core::fmt;

use foliant_units::{VirtAddr, VirtRange};

use super::stacks::StackUser;

/// A fault in the page below a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackOverflow {
    /// The address of the access.
    pub at: VirtAddr,
    /// The stack.
    pub stack: VirtRange,
    /// Whose stack it is.
    pub user: StackUser,
}

impl fmt::Display for StackUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(pid) => write!(f, "task {pid}"),
            Self::Interrupt(kind, cpu) => write!(f, "{kind} of CPU {}", cpu.0),
        }
    }
}

impl fmt::Display for StackOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.user {
            StackUser::Task(_) => "TASK",
            StackUser::Interrupt(kind, _) => kind,
        };
        write!(
            f,
            "BUG: {kind} stack guard page was hit at {:#018x} (stack is {:#018x}..{:#018x}), {}",
            self.at.raw(),
            self.stack.start.raw(),
            self.stack.end.raw(),
            self.user
        )
    }
}

impl core::error::Error for StackOverflow {}
