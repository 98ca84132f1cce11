//! A small machine in one call, for tests here and in the layers above.

use std_alloc::sync::Arc;
use std_alloc::vec::Vec;

use foliant_platform::Platform;
use foliant_platform::testing::TestPlatform;

use crate::audit::{Census, Violation};
use crate::boot::{BootOptions, MemoryMap};
use crate::phys::Phys;

/// A machine of one CPU and at least `frames` free frames, with
/// [`BootOptions::test`].
pub fn boot(frames: u64) -> Arc<Phys<TestPlatform>> {
    boot_with(frames, 1, BootOptions::test())
}

/// A machine of `cpus` CPUs, each a thread's alone, and at least `frames` free frames.
pub fn boot_with(frames: u64, cpus: u32, options: BootOptions) -> Arc<Phys<TestPlatform>> {
    boot_on(frames, |bytes| TestPlatform::<true>::new(bytes, cpus), options)
}

/// A machine whose threads may meet on a CPU, as those of a host do.
pub fn boot_shared(frames: u64, cpus: u32, options: BootOptions) -> Arc<Phys<TestPlatform<false>>> {
    boot_on(frames, |bytes| TestPlatform::<false>::new(bytes, cpus), options)
}

fn boot_on<const EXCLUSIVE: bool>(
    frames: u64,
    make: impl Fn(usize) -> TestPlatform<EXCLUSIVE>,
    options: BootOptions,
) -> Arc<Phys<TestPlatform<EXCLUSIVE>>> {
    // Grow RAM until the tables fit beside the frames that were asked for.
    let mut bytes = (frames << 12) as usize;
    loop {
        bytes += 16 << 12;
        let platform = make(bytes);
        let map = MemoryMap::ram(platform.memory());
        if let Ok(phys) = Phys::boot(platform, &map, options.clone())
            && phys.stats().total >= frames
        {
            return Arc::new(phys);
        }
    }
}

/// Audits and panics on any violation.
pub fn audit<P: Platform>(phys: &Phys<P>) -> Census {
    let mut violations: Vec<Violation> = Vec::new();
    let census = phys.audit(&mut |violation| violations.push(violation));
    assert!(violations.is_empty(), "{violations:?}");
    census
}

/// Audits, and panics if any folio is still allocated.
pub fn assert_all_free<P: Platform>(phys: &Phys<P>) {
    let census = audit(phys);
    assert_eq!(census.allocated, 0, "frames were leaked: {census:?}");
}
