//! Arguments and environment on their way to the new stack.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use foliant_units::{Errno, VirtAddr};

use crate::machine::UserMachine;
use crate::user::Copier;

/// Longest string, its zero byte included (`MAX_ARG_STRLEN`).
const STRING_MAX: usize = 32 * 4096;
/// What strings and their addresses may take at most (`_STK_LIM / 4 * 3`).
const TOTAL_MAX: u64 = 6 << 20;
/// What they may always take (`ARG_MAX`).
const TOTAL_MIN: u64 = 128 << 10;

/// The strings of a new program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    /// Arguments, without zero bytes.
    pub(crate) argv: VecDeque<Vec<u8>>,
    /// Environment, without zero bytes.
    pub(crate) envp: Vec<Vec<u8>>,
}

impl Args {
    /// Reads both arrays from user memory. A program always has a name: an
    /// empty argument array counts as one empty string.
    ///
    /// # Errors
    /// `FAULT`; `TOOBIG` for too much, judged by `stack_limit` bytes of stack.
    pub(crate) fn read<M: UserMachine>(
        memory: &Copier<'_, M>,
        argv: u64,
        envp: u64,
        stack_limit: u64,
    ) -> Result<Self, Errno> {
        let mut room = TOTAL_MAX.min(stack_limit / 4).max(TOTAL_MIN);
        let mut argv = VecDeque::from(read_array(memory, argv, &mut room)?);
        if argv.is_empty() {
            argv.push_back(Vec::new());
        }
        let envp = read_array(memory, envp, &mut room)?;
        Ok(Self { argv, envp })
    }

    /// Whether all of it, with the path, is small enough after scripts have
    /// added to it.
    ///
    /// # Errors
    /// `TOOBIG`.
    pub(crate) fn check(&self, path: &[u8], stack_limit: u64) -> Result<(), Errno> {
        let strings = self.argv.iter().chain(&self.envp);
        let bytes: u64 = strings.map(|string| string.len() as u64 + 1 + 8).sum();
        let room = TOTAL_MAX.min(stack_limit / 4).max(TOTAL_MIN);
        if bytes + path.len() as u64 + 1 > room {
            Err(Errno::TOOBIG)
        } else {
            Ok(())
        }
    }
}

fn read_array<M: UserMachine>(
    memory: &Copier<'_, M>,
    at: u64,
    room: &mut u64,
) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    let mut slot = VirtAddr::new(at);
    loop {
        let string: u64 = memory.read(slot.raw())?;
        if string == 0 {
            return Ok(strings);
        }
        let text = memory.read_string(string, STRING_MAX)?;
        *room = room.checked_sub(text.len() as u64 + 1 + 8).ok_or(Errno::TOOBIG)?;
        strings.push(text);
        slot = slot.checked_add(8).ok_or(Errno::FAULT)?;
    }
}
