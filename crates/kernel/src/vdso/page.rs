//! The data page: what the machine tells programs of the time, without a call.
//!
//! ```text
//! nanoseconds = base + offset of the clock + ((ticks - first) * multiplier >> 32)
//!               while ticks - first < window
//! ```
//!
//! The sequence is odd while the rest changes, and different afterwards.

use foliant_phys::Content;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::PAGE_SIZE;

use super::line::Line;

/// Pages below the code: four of `[vvar]`, two of `[vvar_vclock]`, as in Linux 6.18.
pub(super) const DATA_PAGES: u64 = 4;
/// Pages of `[vvar_vclock]`, which show clocks of hypervisors: none here.
pub(super) const VCLOCK_PAGES: u64 = 2;
/// Bytes from the data page to the code's image.
pub(super) const DISTANCE: u64 = (DATA_PAGES + VCLOCK_PAGES) * PAGE_SIZE as u64;

/// Offsets of the words.
pub(super) const SEQUENCE: usize = 0;
pub(super) const FIRST_TICK: usize = 8;
pub(super) const WINDOW: usize = 16;
pub(super) const MULTIPLIER: usize = 24;
pub(super) const BASE: usize = 32;
pub(super) const OFFSETS: usize = 64;

/// Clock numbers that the code looks at.
pub(super) const CLOCKS: u32 = 12;
/// Clocks that are served, as bits: all that count nanoseconds since boot or
/// since 1970, and do so for whoever makes the call.
pub(super) const SERVED: u32 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 7 | 1 << 11;
/// Those of them that count since 1970.
const REAL: [usize; 2] = [0, 11];

/// Writes a line. One writer at a time.
pub(super) fn write(page: Content<'_>, line: &Line) {
    let put = |at: usize, value| page.word(at).store(value, Ordering::Release);
    let sequence = page.word(SEQUENCE).load(Ordering::Relaxed);
    put(SEQUENCE, sequence | 1);
    put(FIRST_TICK, line.first);
    put(WINDOW, line.window);
    put(MULTIPLIER, line.multiplier);
    put(BASE, line.base);
    for clock in REAL {
        put(OFFSETS + 8 * clock, line.since_1970);
    }
    put(SEQUENCE, (sequence | 1).wrapping_add(1));
}
