//! What is known of the program that a task runs.

use alloc::vec::Vec;

use foliant_uapi::auxv::AuxEntry;
use foliant_units::VirtRange;

/// The program that a task runs, for `/proc`.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Path of the file that was executed.
    pub exe: Vec<u8>,
    /// The argument strings on the first stack.
    pub args: VirtRange,
    /// The environment strings behind them.
    pub env: VirtRange,
    /// The auxiliary vector, its end mark included.
    pub auxv: Vec<AuxEntry>,
    /// First to last byte of the code.
    pub code: VirtRange,
    /// First to last byte of the initialised data.
    pub data: VirtRange,
    /// The first stack pointer.
    pub stack: u64,
}
