//! The host's clocks.

use foliant_kernel::ClockSample;
use foliant_platform::Nanos;

/// Time since some moment before the machine started.
pub(crate) fn monotonic() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// Time since 1970, UTC.
pub(crate) fn realtime() -> Nanos {
    read(libc::CLOCK_REALTIME)
}

/// Attempts at a sample that nothing came between.
const ATTEMPTS: usize = 4;

/// Whether the processor's counter is what the host itself tells time by, and
/// so is one for all CPUs and of constant rate.
pub(crate) fn counter_is_time() -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(path).is_ok_and(|source| source.trim() == "tsc")
}

/// The clocks together with the processor's counter.
pub(crate) fn sample() -> ClockSample {
    let attempt = || {
        let before = counter();
        let (now, real) = (monotonic(), realtime());
        let took = counter().wrapping_sub(before);
        // The first clock was read about a third through.
        let ticks = before.wrapping_add(took / 3);
        (took, ClockSample { ticks, now, real })
    };
    let mut best = attempt();
    for _ in 1..ATTEMPTS {
        let next = attempt();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the fence.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

fn read(clock: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
