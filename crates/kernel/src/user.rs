//! Reading and writing the memory of programs.

use alloc::vec::Vec;

use foliant_mm::{CopyError, StringError};
use foliant_uapi::{FromBytes, Immutable, IntoBytes};
use foliant_units::{Errno, VirtAddr};

use crate::machine::UserMachine;
use crate::space::Space;

/// Fills `to` from `at`.
///
/// # Errors
/// `FAULT`.
pub(crate) fn read_bytes<M: UserMachine>(space: &Space<M>, at: VirtAddr, to: &mut [u8]) -> Result<(), Errno> {
    space.copy_in(at, to).map_err(CopyError::errno)
}

/// Writes all of `from` to `at`.
///
/// # Errors
/// `FAULT`; some bytes may have been written.
pub(crate) fn write_bytes<M: UserMachine>(space: &Space<M>, at: VirtAddr, from: &[u8]) -> Result<(), Errno> {
    space.copy_out(at, from).map_err(CopyError::errno)
}

/// Reads a structure of the ABI.
///
/// # Errors
/// `FAULT`.
pub(crate) fn read<T: FromBytes + IntoBytes, M: UserMachine>(space: &Space<M>, at: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read_bytes(space, VirtAddr::new(at), value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a structure of the ABI.
///
/// # Errors
/// `FAULT`.
pub(crate) fn write<T: IntoBytes + Immutable, M: UserMachine>(
    space: &Space<M>,
    at: u64,
    value: &T,
) -> Result<(), Errno> {
    write_bytes(space, VirtAddr::new(at), value.as_bytes())
}

/// Reads a string up to its zero byte, which is not part of it.
///
/// # Errors
/// `FAULT`; `TOOBIG` if no zero byte is among the first `most`.
pub(crate) fn read_string<M: UserMachine>(space: &Space<M>, at: u64, most: usize) -> Result<Vec<u8>, Errno> {
    space
        .read_cstr(VirtAddr::new(at), most)
        .map_err(|error| match error {
            StringError::Fault(fault) => fault.errno(),
            StringError::TooLong => Errno::TOOBIG,
        })
}
