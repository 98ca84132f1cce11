//! The pages that the supervisor and a stub share: one slot per host thread.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use foliant_units::PAGE_SIZE;

use super::error::HostError;
use super::layout::{OPS_HEADER, OPS_MAX, OPS_SIZE, SLOT_SIZE, SLOTS, Slot};
use super::op::{Op, STACK_T};
use super::{stub, sys};

/// Where the code page lies in the control file.
pub(super) const CODE_OFFSET: u64 = (SLOTS as u64) * SLOT_SIZE;
const FILE_SIZE: u64 = CODE_OFFSET + PAGE_SIZE as u64;

/// The control file, mapped whole.
#[derive(Debug)]
pub struct Control {
    fd: OwnedFd,
    base: NonNull<u8>,
    free: Mutex<Vec<Slot>>,
}

// SAFETY: the mapping lives as long as the value, and all access to it is atomic.
unsafe impl Send for Control {}
// SAFETY: as above.
unsafe impl Sync for Control {}

impl Control {
    /// Makes the file with the stub's code in its last page.
    ///
    /// # Errors
    /// The host's, for memory.
    pub fn new() -> Result<Self, HostError> {
        let fd = sys::memfd(c"foliant-control", FILE_SIZE, 0)?;
        let base = sys::map_shared(&fd, FILE_SIZE as usize)?;
        let free = Mutex::new((1..SLOTS).rev().map(Slot).collect());
        let this = Self { fd, base, free };
        for (at, &byte) in stub::code().iter().enumerate() {
            this.byte(CODE_OFFSET + at as u64).store(byte, Ordering::Relaxed);
        }
        Ok(this)
    }

    /// Its descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes an unused slot, emptied of what its last thread left.
    pub fn take(&self) -> Option<Slot> {
        let slot = self
            .free
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .pop()?;
        for at in (0..SLOT_SIZE).step_by(8) {
            self.word(slot, at).store(0, Ordering::Relaxed);
        }
        self.prepare(slot);
        Some(slot)
    }

    /// Gives a slot back; no process maps it any more.
    pub fn give_back(&self, slot: Slot) {
        self.free
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .push(slot);
    }

    /// Writes the `stack_t` that the slot's thread installs.
    pub(super) fn prepare(&self, slot: Slot) {
        self.word(slot, STACK_T).store(slot.stack(), Ordering::Relaxed);
        self.word(slot, STACK_T + 8).store(0, Ordering::Relaxed);
        self.word(slot, STACK_T + 16)
            .store(Slot::STACK_SIZE, Ordering::Relaxed);
    }

    /// Writes what a slot's thread does next: operations, then a return to the
    /// registers of the frame at guest address `frame`.
    pub fn order(&self, slot: Slot, ops: &[Op], frame: u64) {
        debug_assert!(ops.len() <= OPS_MAX, "the list fits in its page");
        for (at, op) in ops.iter().enumerate() {
            for (word, value) in op.words().into_iter().enumerate() {
                let at = OPS_HEADER + at * size_of::<Op>() + word * 8;
                self.word(slot, at as u64).store(value, Ordering::Relaxed);
            }
        }
        self.word(slot, 0).store(ops.len() as u64, Ordering::Relaxed);
        // `rt_sigreturn` finds the frame 8 bytes below the stack pointer.
        self.word(slot, 8).store(frame + 8, Ordering::Relaxed);
    }

    /// Eight bytes of a slot, which the guest may change at any time unless
    /// they belong to its operations.
    pub fn word(&self, slot: Slot, at: u64) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < SLOT_SIZE, "inside the slot");
        // SAFETY:
        // 1. The offset is aligned and inside the mapping, which lives as long as `self`.
        // 2. The supervisor touches these bytes only by atomic accesses.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add((slot.offset() + at) as usize).cast()) }
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        assert!(at < FILE_SIZE, "inside the file");
        // SAFETY: as in `word`; bytes have no alignment.
        unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(at as usize)) }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's; every reference into it has ended.
        unsafe { libc::munmap(self.base.as_ptr().cast(), FILE_SIZE as usize) };
    }
}

const _: () = assert!(OPS_SIZE < SLOT_SIZE, "a slot has a signal stack");
