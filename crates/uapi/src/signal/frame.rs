//! What lies on the stack while a handler runs: `ucontext` and the x86 state.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{AltStack, SigInfo, SigSet};

/// Registers at the time of the signal: x86-64 `struct sigcontext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigContext {
    /// General register.
    pub r8: u64,
    /// General register.
    pub r9: u64,
    /// General register.
    pub r10: u64,
    /// General register.
    pub r11: u64,
    /// General register.
    pub r12: u64,
    /// General register.
    pub r13: u64,
    /// General register.
    pub r14: u64,
    /// General register.
    pub r15: u64,
    /// General register.
    pub rdi: u64,
    /// General register.
    pub rsi: u64,
    /// General register.
    pub rbp: u64,
    /// General register.
    pub rbx: u64,
    /// General register.
    pub rdx: u64,
    /// General register.
    pub rax: u64,
    /// General register.
    pub rcx: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub eflags: u64,
    /// Code segment.
    pub cs: u16,
    /// Not restored.
    pub gs: u16,
    /// Not restored.
    pub fs: u16,
    /// Stack segment, valid with [`UContextFlags::SIGCONTEXT_SS`].
    pub ss: u16,
    /// Error code of the exception.
    pub err: u64,
    /// Vector of the exception.
    pub trapno: u64,
    /// The mask's first word, again.
    pub oldmask: u64,
    /// Fault address.
    pub cr2: u64,
    /// Address of the [`FxSave`] area; 0 for none.
    pub fpstate: u64,
    /// Zero.
    pub reserved: [u64; 8],
}

bitflags! {
    /// Flags of a [`UContext`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct UContextFlags: u64 {
        /// The floating-point area is an xsave area.
        const FP_XSTATE = 1;
        /// `ss` is saved.
        const SIGCONTEXT_SS = 2;
        /// `ss` is restored even if it looks wrong.
        const STRICT_RESTORE_SS = 4;
    }
}

/// `struct ucontext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UContext {
    /// [`UContextFlags`].
    pub flags: u64,
    /// Zero.
    pub link: u64,
    /// The alternate stack at the time of the signal.
    pub stack: AltStack,
    /// Registers.
    pub mcontext: SigContext,
    /// Mask to restore.
    pub sigmask: SigSet,
}

/// What x86-64 pushes for a handler. The xsave area lies above it, 64-byte
/// aligned, and the whole is placed so that the stack is as after a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtSigFrame {
    /// Return address: the restorer.
    pub pretcode: u64,
    /// Context.
    pub uc: UContext,
    /// Cause.
    pub info: SigInfo,
}

/// First magic number of an xsave area in a frame.
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Second one, directly behind the area.
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the second one.
pub const FP_XSTATE_MAGIC2_SIZE: usize = 4;

/// The software bytes of an [`FxSave`] area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FpxSwBytes {
    /// [`FP_XSTATE_MAGIC1`].
    pub magic1: u32,
    /// Bytes of area and second magic.
    pub extended_size: u32,
    /// Features saved.
    pub xfeatures: u64,
    /// Bytes of the area.
    pub xstate_size: u32,
    /// Zero.
    pub padding: [u32; 7],
}

/// The legacy region of an xsave area: `struct _fpstate_64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FxSave {
    /// x87 control word.
    pub cwd: u16,
    /// x87 status word.
    pub swd: u16,
    /// x87 tag word, abridged.
    pub twd: u16,
    /// Last opcode.
    pub fop: u16,
    /// Last instruction.
    pub rip: u64,
    /// Last operand.
    pub rdp: u64,
    /// SSE control and status.
    pub mxcsr: u32,
    /// Bits of `mxcsr` that may be set.
    pub mxcsr_mask: u32,
    /// x87 registers, 16 bytes each.
    pub st: [[u8; 16]; 8],
    /// SSE registers.
    pub xmm: [[u8; 16]; 16],
    /// Zero.
    pub reserved: [u32; 12],
    /// What follows, for software.
    pub sw: FpxSwBytes,
}

impl FxSave {
    /// State after reset, as a new program finds it.
    pub const INITIAL: Self = Self {
        cwd: 0x37f,
        swd: 0,
        twd: 0,
        fop: 0,
        rip: 0,
        rdp: 0,
        mxcsr: 0x1f80,
        mxcsr_mask: 0,
        st: [[0; 16]; 8],
        xmm: [[0; 16]; 16],
        reserved: [0; 12],
        sw: FpxSwBytes {
            magic1: 0,
            extended_size: 0,
            xfeatures: 0,
            xstate_size: 0,
            padding: [0; 7],
        },
    };
}

/// The header behind the legacy region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct XsaveHeader {
    /// Features that are not in their initial state.
    pub xfeatures: u64,
    /// Compaction; zero in a frame.
    pub xcomp_bv: u64,
    /// Zero.
    pub reserved: [u64; 6],
}

const _: () = assert!(size_of::<SigContext>() == 256);
const _: () = assert!(size_of::<UContext>() == 304);
const _: () = assert!(size_of::<FxSave>() == 512);
const _: () = assert!(size_of::<XsaveHeader>() == 64);
const _: () = assert!(core::mem::offset_of!(RtSigFrame, info) == 312);
const _: () = assert!(core::mem::offset_of!(FxSave, sw) == 464);
