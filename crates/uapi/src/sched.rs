//! Scheduling, processes, capabilities.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Argument of `sched_setparam(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SchedParam {
    /// Real-time priority.
    pub priority: i32,
}

/// Argument of `sched_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SchedAttr {
    /// Bytes of this structure.
    pub size: u32,
    /// [`SchedPolicy`].
    pub policy: u32,
    /// Flags.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Deadline: run time, ns.
    pub runtime: u64,
    /// Deadline, ns.
    pub deadline: u64,
    /// Deadline: period, ns.
    pub period: u64,
    /// Utilisation clamp.
    pub util_min: u32,
    /// Utilisation clamp.
    pub util_max: u32,
}

/// How a task is scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum SchedPolicy {
    /// `SCHED_OTHER`.
    Normal = 0,
    /// `SCHED_FIFO`.
    Fifo = 1,
    /// `SCHED_RR`.
    RoundRobin = 2,
    /// `SCHED_BATCH`.
    Batch = 3,
    /// `SCHED_IDLE`.
    Idle = 5,
    /// `SCHED_DEADLINE`.
    Deadline = 6,
    /// `SCHED_EXT`.
    Ext = 7,
}

/// Header of `capget(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapHeader {
    /// [`CapHeader::VERSION_3`].
    pub version: u32,
    /// Task; 0 is the caller.
    pub pid: i32,
}

impl CapHeader {
    /// 32-bit sets.
    pub const VERSION_1: u32 = 0x1998_0330;
    /// 64-bit sets, deprecated.
    pub const VERSION_2: u32 = 0x2007_1026;
    /// 64-bit sets, in two [`CapData`].
    pub const VERSION_3: u32 = 0x2008_0522;
}

/// Half of the sets of `capget(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapData {
    /// In force.
    pub effective: u32,
    /// May be put in force.
    pub permitted: u32,
    /// Kept over exec.
    pub inheritable: u32,
}

/// The area that `rseq(2)` registers, in its first version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rseq {
    /// CPU when the sequence started.
    pub cpu_id_start: u32,
    /// CPU now, or a negative state.
    pub cpu_id: u32,
    /// Address of the running critical section's descriptor.
    pub rseq_cs: u64,
    /// Flags.
    pub flags: u32,
    /// NUMA node.
    pub node_id: u32,
    /// Compact id.
    pub mm_cid: u32,
    /// Padding.
    pub pad: u32,
}

const _: () = assert!(size_of::<SchedAttr>() == 56);
const _: () = assert!(size_of::<Rseq>() == 32);
