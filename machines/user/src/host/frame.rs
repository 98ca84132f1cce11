//! Signal frames: a thread's registers, in its slot.
//!
//! The host's kernel writes a frame when it delivers a signal and reads it in
//! `rt_sigreturn`. Other threads of the guest can change it in between, and a
//! guest that jumps to the trap call presents one that it wrote itself. Either
//! way a frame says nothing but registers of this guest: the supervisor copies
//! it once, always writes the mask and the signal stack itself, and lets the
//! kernel judge selectors and extended state on the way back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::control::Control;
use super::layout::{AREA_END, SLOT_SIZE, STUB_BASE, Slot};

/// Where frames lie in a slot and how large the extended state is; learned from
/// the first frame that the host wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLayout {
    /// Offset of the frame in its slot.
    frame: u64,
    /// Offset of the extended state in its slot.
    xstate: u64,
    /// Bytes of the extended state in XSAVE's standard format.
    xsize: usize,
    /// Features in it.
    xfeatures: u64,
}

/// Offset of the `ucontext` in a frame.
const UCONTEXT: u64 = 8;
const UC_STACK: u64 = UCONTEXT + 16;
const UC_MASK: u64 = UCONTEXT + 296;
/// Offset of the registers (`sigcontext`) in a frame.
const REGISTERS: u64 = UCONTEXT + 40;
const SELECTORS: u64 = REGISTERS + 18 * 8;
const FPSTATE: u64 = REGISTERS + 23 * 8;
const SIGINFO: u64 = UCONTEXT + 304;

/// Offset in a frame of the state of a thread that starts with none.
const BLANK_FRAME: u64 = super::layout::OPS_SIZE;

/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const UC_FLAGS: u64 = 7;
/// CS and SS of 64-bit user code; FS and GS selectors are 0.
const USER_SELECTORS: u64 = 0x33 | 0x2b << 48;

/// General registers in the order of `sigcontext`: R8-R15, RDI, RSI, RBP, RBX,
/// RDX, RAX, RCX, RSP, RIP, RFLAGS.
pub const REGISTER_COUNT: usize = 18;
/// Index of RIP.
pub const RIP: usize = 16;

/// What a frame says besides registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The processor's exception number.
    pub vector: u64,
    /// Its error code.
    pub error_code: u64,
    /// The address of a page fault.
    pub cr2: u64,
    /// For SIGSYS: the call's number and its architecture.
    pub call: (u32, u32),
}

impl FrameLayout {
    /// A layout for the time before the first frame.
    pub(super) const fn unknown() -> Self {
        Self {
            frame: BLANK_FRAME,
            xstate: 0,
            xsize: 0,
            xfeatures: 0,
        }
    }

    /// Learns the layout from a frame that the kernel just wrote.
    pub fn learn(control: &Control, slot: Slot, ucontext: u64) -> Option<Self> {
        let frame = ucontext.checked_sub(UCONTEXT + slot.address())?;
        if frame >= SLOT_SIZE - FPSTATE || frame % 8 != 0 {
            return None;
        }
        let fpstate = control.word(slot, frame + FPSTATE).load(Ordering::Relaxed);
        let xstate = fpstate.checked_sub(slot.address())?;
        if xstate <= frame || xstate > SLOT_SIZE - 512 || xstate % 64 != 0 {
            return None;
        }
        // The software-reserved bytes: magic, size with trailer, features, size.
        let word = |at| control.word(slot, xstate + at).load(Ordering::Relaxed);
        let has_xstate = word(464) as u32 == 0x4650_5853;
        let (xsize, xfeatures) = if has_xstate {
            (word(480) as u32 as usize, word(472))
        } else {
            (512, 3)
        };
        let fits = xsize >= 512 && xsize as u64 + 4 <= SLOT_SIZE - xstate;
        fits.then_some(Self {
            frame,
            xstate,
            xsize,
            xfeatures,
        })
    }

    /// RIP in the frame whose `ucontext` is at offset `ucontext` of a slot.
    pub(super) fn rip_of(control: &Control, slot: Slot, ucontext: u64) -> Option<u64> {
        let at = ucontext + (REGISTERS - UCONTEXT) + 8 * RIP as u64;
        (at < SLOT_SIZE).then(|| control.word(slot, at).load(Ordering::Relaxed))
    }

    /// The `ucontext` that a genuine frame in `slot` has.
    pub fn ucontext(&self, slot: Slot) -> u64 {
        slot.address() + self.frame + UCONTEXT
    }

    /// Address of the frame in the guest.
    pub fn address(&self, slot: Slot) -> u64 {
        slot.address() + self.frame
    }

    /// Bytes of the extended state, and its features.
    pub fn xformat(&self) -> (usize, u64) {
        (self.xsize, self.xfeatures)
    }

    /// Copies the general registers.
    pub fn registers(&self, control: &Control, slot: Slot) -> [u64; REGISTER_COUNT] {
        let at = self.frame + REGISTERS;
        core::array::from_fn(|i| control.word(slot, at + 8 * i as u64).load(Ordering::Relaxed))
    }

    /// Why the signal came.
    pub fn reason(&self, control: &Control, slot: Slot) -> Reason {
        let word = |at| control.word(slot, self.frame + at).load(Ordering::Relaxed);
        let call = word(SIGINFO + 24);
        Reason {
            error_code: word(REGISTERS + 19 * 8),
            vector: word(REGISTERS + 20 * 8),
            cr2: word(REGISTERS + 22 * 8),
            call: (call as u32, (call >> 32) as u32),
        }
    }

    /// Writes general registers, to be loaded on the thread's return.
    pub fn set_registers(&self, control: &Control, slot: Slot, registers: &[u64; REGISTER_COUNT]) {
        store_registers(control, slot, self.frame, registers);
    }

    /// Writes one register.
    pub fn set_register(&self, control: &Control, slot: Slot, index: usize, value: u64) {
        let at = self.frame + REGISTERS + 8 * index as u64;
        control.word(slot, at).store(value, Ordering::Relaxed);
    }

    /// Writes what the guest must not decide: mask, signal stack, selectors and
    /// where the extended state is.
    pub fn seal(&self, control: &Control, slot: Slot) {
        seal(control, slot, self.frame, slot.address() + self.xstate);
    }

    /// Copies the extended state into `out`, of the layout's size.
    pub fn xstate(&self, control: &Control, slot: Slot, out: &mut [u8]) {
        for (at, chunk) in out.chunks_mut(8).enumerate() {
            let word = control
                .word(slot, self.xstate + 8 * at as u64)
                .load(Ordering::Relaxed);
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }

    /// Writes the extended state, with the marks that tell the kernel its size.
    pub fn set_xstate(&self, control: &Control, slot: Slot, from: &[u8]) {
        let word = |at| control.word(slot, self.xstate + at);
        for (at, chunk) in from.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word(8 * at as u64).store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        if self.xsize > 512 {
            word(464).store(0x4650_5853 | (self.xsize as u64 + 4) << 32, Ordering::Relaxed);
            word(472).store(self.xfeatures, Ordering::Relaxed);
            word(480).store(self.xsize as u64, Ordering::Relaxed);
            let end = word((self.xsize as u64) & !7);
            store_half(end, self.xsize.is_multiple_of(8), 0x4650_5845);
        }
    }
}

/// Writes a frame for a thread that has none, with extended state as after
/// reset; returns its address in the guest.
pub fn blank(control: &Control, slot: Slot, registers: &[u64; REGISTER_COUNT]) -> u64 {
    store_registers(control, slot, BLANK_FRAME, registers);
    seal(control, slot, BLANK_FRAME, 0);
    slot.address() + BLANK_FRAME
}

/// Whether an address lies where only the machine's own code is.
pub fn is_machine_address(at: u64) -> bool {
    (STUB_BASE..AREA_END).contains(&at)
}

fn store_registers(control: &Control, slot: Slot, frame: u64, registers: &[u64; REGISTER_COUNT]) {
    for (i, &value) in registers.iter().enumerate() {
        control
            .word(slot, frame + REGISTERS + 8 * i as u64)
            .store(value, Ordering::Relaxed);
    }
}

fn seal(control: &Control, slot: Slot, frame: u64, fpstate: u64) {
    let store = |at, value| control.word(slot, frame + at).store(value, Ordering::Relaxed);
    store(UCONTEXT, UC_FLAGS);
    store(UC_STACK, slot.stack());
    store(UC_STACK + 8, 0);
    store(UC_STACK + 16, Slot::STACK_SIZE);
    store(UC_MASK, 0);
    store(SELECTORS, USER_SELECTORS);
    store(FPSTATE, fpstate);
}

fn store_half(word: &AtomicU64, lower: bool, value: u32) {
    let old = word.load(Ordering::Relaxed);
    let value = u64::from(value);
    let new = if lower {
        old & !0xffff_ffff | value
    } else {
        old & 0xffff_ffff | value << 32
    };
    word.store(new, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_nowhere_is_not_believed() {
        let control = Control::new().expect("a control file");
        let slot = Slot(3);
        for ucontext in [
            0,
            8,
            slot.address(),
            slot.address() + 12,
            slot.address() + SLOT_SIZE,
            u64::MAX,
        ] {
            assert_eq!(
                FrameLayout::learn(&control, slot, ucontext),
                None,
                "{ucontext:#x}"
            );
        }
    }
}
