//! Signals: numbers, sets, actions, and the frames they are delivered in.

mod action;
mod frame;
mod info;
mod number;
mod set;

pub use action::{AltStack, AltStackFlags, MaskHow, SigAction, SigActionFlags};
pub use frame::{
    FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FP_XSTATE_MAGIC2_SIZE, FpxSwBytes, FxSave, RtSigFrame, SigContext,
    UContext, UContextFlags, XsaveHeader,
};
pub use info::{SiCode, SigInfo};
pub use number::{DefaultAction, Signal};
pub use set::SigSet;
