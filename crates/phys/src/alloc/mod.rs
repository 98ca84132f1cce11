//! The frame allocator: per-CPU rings over bit lines of 2 MiB blocks.
//!
//! # Lock protocol
//!
//! 1. A CPU's rings, current blocks and counters are changed under its
//!    [guard](cpu::CpuGuard). Whoever finds the guard taken does not wait: it
//!    goes to the lines.
//! 2. Bits of a [line](line::Line) are set by anybody and cleared under the
//!    [claim](tag::Claim) of the block. Quick searches skip claimed blocks;
//!    only a search that is about to fail waits, holding at most its CPU's guard.
//!    Interrupts are masked while a claim is held, so a handler never waits for
//!    the code it interrupted.
//! 3. Blocks that are free from end to end are bits of a [map](whole::Whole), and
//!    belong to whoever clears the bit. They go between the map and their line
//!    under the claim, of which nobody holds two.
//! 4. Whoever has a reason for caution (rings are to be emptied, a failure is to
//!    be injected) gives it and then closes the short ways to a CPU's rings; the
//!    CPU takes the reason back, opens them, and looks for reasons again.
//!
//! So no cycle of waiting exists, and no lock is held across a call out of
//! this crate.

mod blocks;
mod bulk;
mod contig;
mod cpu;
mod entry;
mod events;
mod exact;
mod fold;
mod gfp;
mod high_atomic;
mod hints;
mod inject;
mod kind;
mod ladder;
mod line;
mod release;
mod request;
mod ring;
mod search;
mod tag;
mod whole;
mod whole_blocks;

pub(crate) use blocks::{Blocks, Lines, block_of, frame_at, place_of};
pub use contig::ContigError;
pub(crate) use cpu::{CpuArea, Cpus, ZoneShare};
pub(crate) use entry::PFN_LIMIT;
pub(crate) use entry::{Batch, Entry};
pub(crate) use events::Counters;
pub use events::Event;
pub use exact::Run;
pub use gfp::Gfp;
#[cfg(all(test, loom))]
pub(crate) use hints::map_of;
pub(crate) use hints::{HINT_MAPS, HintWord, Hints, whole_maps};
pub(crate) use inject::Injector;
pub use kind::BlockKind;
pub(crate) use line::{BLOCK, Line};
pub use request::{Account, AllocError, AllocRequest, Effort, Fill, Mobility, NodeChoice, OnFailure};
pub(crate) use ring::{RING_CLASSES, Ring, RingClass, RingSize};
#[cfg(all(test, loom))]
pub(crate) use search::Want;
#[cfg(all(test, loom))]
pub(crate) use tag::Level;
pub(crate) use tag::Tag;
pub(crate) use whole::{Some64, Whole, WholeWord};
