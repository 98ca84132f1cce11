//! The registers of a task whose instructions are Rust code.

use alloc::vec;
use alloc::vec::Vec;

use crate::{UserCpu, UserRegs, XFormat};

/// Registers that are there without a round trip.
#[derive(Clone)]
pub struct Registers {
    /// The general ones.
    pub regs: UserRegs,
    /// The extended state.
    pub xstate: Vec<u8>,
}

impl Registers {
    /// x87, SSE and AVX.
    pub(super) const FORMAT: XFormat = XFormat {
        features: 7,
        size: 576 + 256,
    };

    /// These registers, and an extended state of zeros.
    pub fn new(regs: UserRegs) -> Self {
        Self {
            regs,
            xstate: vec![0; Self::FORMAT.size],
        }
    }
}

impl UserCpu for Registers {
    fn set_result(&mut self, value: u64) {
        self.regs.rax = value;
    }

    fn regs(&mut self) -> &mut UserRegs {
        &mut self.regs
    }

    fn xstate(&mut self) -> &mut [u8] {
        &mut self.xstate
    }
}
