//! The processor and its memory.

use core::ptr::NonNull;

use foliant_units::{PhysAddr, PhysRange};

/// Number of a CPU, dense from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CpuId(pub u32);

impl CpuId {
    /// The number as an index into per-CPU arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Nanoseconds of a monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(pub u64);

/// A machine as the memory manager sees it: RAM, CPUs and a clock.
///
/// Zero-sized on bare metal; on hosted machines a cheap handle to the machine.
///
/// # Safety
///
/// 1. [`ram`](Platform::ram) returns, for every address of the RAM ranges that
///    the machine handed over, the same valid pointer for as long as any clone
///    of the platform lives; pointers of consecutive addresses are consecutive.
///    [`has_ram`](Platform::has_ram) is false where that is not so.
/// 2. If [`CPU_IS_EXCLUSIVE`](Platform::CPU_IS_EXCLUSIVE), then between
///    [`preempt_off`](Platform::preempt_off) and
///    [`preempt_on`](Platform::preempt_on) no other thread of execution sees
///    the same [`cpu`](Platform::cpu), interrupt handlers excepted.
pub unsafe trait Platform: Clone + Send + Sync + 'static {
    /// Whether [`cpu`](Platform::cpu) names this thread alone while preemption
    /// is off. Where it is false (threads of a host that come and go), per-CPU
    /// data is guarded by an atomic exchange instead of a plain flag.
    const CPU_IS_EXCLUSIVE: bool;

    /// Where the direct map shows physical address `at`.
    fn ram(&self, at: PhysAddr) -> NonNull<u8>;

    /// Whether all of `range` is RAM that the machine hands over, or can hand
    /// over: where [`ram`](Platform::ram) keeps its promise. A machine that
    /// cannot tell trusts whoever gives it a memory map, and says yes.
    fn has_ram(&self, range: PhysRange) -> bool;

    /// The CPU this code runs on.
    fn cpu(&self) -> CpuId;

    /// How many CPUs there are; every [`cpu`](Platform::cpu) is below it.
    fn cpus(&self) -> u32;

    /// Keeps this thread on its CPU. Nests.
    fn preempt_off(&self) {}

    /// Ends one [`preempt_off`](Platform::preempt_off).
    fn preempt_on(&self) {}

    /// Masks interrupts and returns what [`irq_restore`](Platform::irq_restore) needs.
    fn irq_save(&self) -> usize {
        0
    }

    /// Puts the interrupt mask back.
    fn irq_restore(&self, _saved: usize) {}

    /// Monotonic time.
    fn now(&self) -> Nanos;
}
