//! Objects: caches, and memory of any size.
//!
//! A [`Cache`] cuts folios (*slabs*) into objects of one size; [`Slab`] has
//! caches for general sizes, the memory that is too large for them, and the
//! caches that others make. [`Heap`] makes it a kernel's global allocator.
//!
//! ```
//! use foliant_kvirt::slab::{CacheSpec, How, Slab, SlabOptions};
//!
//! let phys = foliant_phys::testing::boot(256);
//! let slab = Slab::new(phys, SlabOptions::default())?;
//! let name = slab.kmalloc(100, How::KERNEL.zeroed())?;
//! assert_eq!(slab.ksize(name), 128);
//!
//! let inodes = slab.create(CacheSpec::new("inode", 600).reclaimable())?;
//! let inode = inodes.alloc(How::KERNEL)?;
//! # #[allow(unsafe_code)]
//! // SAFETY: both are from here, and not used any more.
//! unsafe {
//!     inodes.free(inode);
//!     slab.kfree(name);
//! }
//! # Ok::<(), foliant_kvirt::slab::SlabError>(())
//! ```
//!
//! # Where a free object is
//!
//! 1. *At hand* of a CPU ([`cpu`]): a stack, used under the CPU's guard. An
//!    allocation and a free are a few plain instructions there.
//! 2. In the cache's *depot* ([`depot`]): what one CPU frees and another
//!    allocates goes through here, some at a time.
//! 3. In its *slab* ([`page`]): one bit. Slabs are in the lists of a *shard*
//!    ([`shard`]), of which each group of CPUs has one.
//!
//! # Lock protocol
//!
//! 1. What is at hand of a CPU changes under its [guard](cpu::CpuGuard).
//!    Whoever finds the guard taken does not wait, and goes to the slabs.
//! 2. Below a guard, one of these at a time: the depot's lock, the lock of one
//!    shard, the lock of the limbo. Interrupts are masked while one is held.
//!    Frames are allocated with none of them and without a guard, because that
//!    may sleep, and reclaim may come back to shrink this very cache.
//! 3. A slab changes its shard under the lock of the old one. Whoever frees an
//!    object reads the shard, locks it, and reads again.
//! 4. The frames of an empty slab are given back when it is in no list any
//!    more; if readers may still look at its objects ([`Typesafe::Rcu`]), after
//!    a grace period that began then.

mod audit;
mod batch;
mod cache;
mod checks;
mod cpu;
mod depot;
#[cfg(any(not(loom), test))]
mod early;
mod find;
mod grace;
#[cfg(not(loom))]
mod heap;
mod info;
#[cfg(any(not(loom), test))]
mod installed;
mod kmalloc;
mod limbo;
#[cfg(all(test, loom))]
mod models;
mod mutant;
mod name;
mod object;
mod page;
mod places;
mod refill;
mod release;
mod report;
mod shape;
mod shard;
mod size_class;
mod spec;
mod tables;
#[cfg(all(test, not(loom)))]
mod tests;
mod violations;

pub use audit::SlabCensus;
pub use cache::Cache;
pub use grace::Grace;
#[cfg(not(loom))]
pub use heap::Heap;
pub use kmalloc::{Slab, SlabOptions};
pub use name::Name;
pub use object::Constructor;
pub use report::{Problem, Report, Track};
pub use size_class::{LARGEST, SIZES};
pub use spec::{Account, CacheSpec, Debug, How, SlabError, Typesafe};
