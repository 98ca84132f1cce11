//! Time as a straight line over a counter, drawn anew before it bends away.
//!
//! The machine's clocks are somebody else's, who may slew and step them. Each
//! sample of counter and clocks gives a slope, by how far the clock came since
//! a sample one or two seconds ago, and a line that holds for a tenth of a
//! second, or for as long as was measured if that is less. So a line is off
//! by no more than the samples are. It never runs back: a new one starts where
//! the old one is by then, if the clock says less.

use foliant_platform::Nanos;

/// A counter that runs at a constant rate on all CPUs, and what the clocks
/// showed when it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockSample {
    /// The counter.
    pub ticks: u64,
    /// The monotonic clock.
    pub now: Nanos,
    /// The wall clock: since 1970.
    pub real: Nanos,
}

/// Time from `first` on, in units of the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Line {
    /// Where it starts.
    pub(super) first: u64,
    /// For how many ticks it holds.
    pub(super) window: u64,
    /// Nanoseconds per tick, times 2^32.
    pub(super) multiplier: u64,
    /// The monotonic clock at `first`.
    pub(super) base: u64,
    /// What to add for the wall clock.
    pub(super) since_1970: u64,
}

/// Longest time that a line holds; a stepped wall clock is noticed after it.
const WINDOW: u64 = 100_000_000;
/// Least time between the two samples of a slope.
const SPAN_MIN: u64 = 1_000_000;
/// Time after which a sample becomes the older one.
const SPAN: u64 = 1_000_000_000;
/// Wall clock against monotonic clock: what is less was the sampling.
const NOISE: u64 = 1_000;
/// log2 of how many ticks one CPU's counter may be behind another's.
pub(super) const BEHIND: u32 = 20;
/// Slopes that differ by more than one in this many are of two clocks.
const ALIKE: u64 = 500;

impl Line {
    /// The monotonic clock at `ticks`; the line's end if they are behind it.
    pub(super) fn at(&self, ticks: u64) -> u64 {
        let passed = ticks.saturating_sub(self.first).min(self.window);
        self.base + ((u128::from(passed) * u128::from(self.multiplier)) >> 32) as u64
    }

    /// Whether most of it is over, or the counter has started again.
    pub(super) fn is_old(&self, ticks: u64) -> bool {
        let reset = ticks.saturating_add(1 << BEHIND) < self.first;
        reset || ticks.saturating_sub(self.first) >= self.window / 4 * 3
    }
}

/// What was seen so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Slope {
    older: Option<ClockSample>,
    newer: Option<ClockSample>,
    line: Line,
}

impl Slope {
    /// The line that holds from `sample` on; `None` if the present one still
    /// does, or if it is too early for one.
    pub(super) fn advance(&mut self, sample: ClockSample) -> Option<Line> {
        if self.line.window != 0 && !self.line.is_old(sample.ticks) {
            return None;
        }
        let older = *self.older.get_or_insert(sample);
        let newer = *self.newer.get_or_insert(sample);
        let ticks = sample.ticks.checked_sub(older.ticks);
        let nanos = sample.now.0.checked_sub(older.now.0);
        let (Some(ticks), Some(nanos)) = (ticks, nanos) else {
            return self.start_over(sample);
        };
        if nanos < SPAN_MIN || ticks == 0 {
            return None;
        }
        let multiplier = ((u128::from(nanos) << 32) / u128::from(ticks)) as u64;
        if self.line.window != 0 && self.line.multiplier.abs_diff(multiplier) > multiplier / ALIKE {
            // The host slept, or moved to another.
            return self.start_over(sample);
        }
        if sample.now.0 - newer.now.0.min(sample.now.0) > SPAN {
            (self.older, self.newer) = (Some(newer), Some(sample));
        }
        self.line = self.draw(sample, multiplier, nanos.min(WINDOW));
        Some(self.line)
    }

    fn draw(&self, sample: ClockSample, multiplier: u64, nanos: u64) -> Line {
        let floor = if self.line.window == 0 {
            0
        } else {
            self.line.at(sample.ticks)
        };
        let ahead = floor.saturating_sub(sample.now.0);
        // A line that starts ahead meets the clock at its end.
        let slower = (u128::from(multiplier) * u128::from(ahead.min(nanos / 2)) / u128::from(nanos)) as u64;
        let since_1970 = sample.real.0.wrapping_sub(sample.now.0);
        let before = self.line.since_1970;
        Line {
            first: sample.ticks,
            window: ((u128::from(nanos) << 32) / u128::from(multiplier.max(1))) as u64,
            multiplier: multiplier - slower,
            base: floor.max(sample.now.0),
            since_1970: if since_1970.abs_diff(before) < NOISE {
                before
            } else {
                since_1970
            },
        }
    }

    /// Forgets the slope; until there is one again, programs make the call.
    fn start_over(&mut self, sample: ClockSample) -> Option<Line> {
        (self.older, self.newer) = (Some(sample), Some(sample));
        self.line = Line {
            window: 0,
            ..self.line
        };
        Some(self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three ticks are a nanosecond; the wall clock started 1000 s earlier.
    fn sample(nanos: u64) -> ClockSample {
        ClockSample {
            ticks: 7_000 + nanos * 3,
            now: Nanos(nanos),
            real: Nanos(nanos + 1_000_000_000_000),
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_slope_takes_two_samples_and_a_line_holds_no_longer_than_was_measured() {
        let mut slope = Slope::default();
        assert_eq!(slope.advance(sample(5 * MS)), None);
        assert_eq!(slope.advance(sample(5 * MS + 10)), None);
        let line = slope.advance(sample(8 * MS)).unwrap();
        assert!((9 * MS..=9 * MS + 1).contains(&line.window), "{line:?}");
        assert!(line.at(7_000 + 30 * MS).abs_diff(10 * MS) <= 1);
        assert_eq!(line.since_1970, 1_000_000_000_000);
        assert_eq!(slope.advance(sample(9 * MS)), None, "it still holds");
        let line = slope.advance(sample(3000 * MS)).unwrap();
        assert!(line.window.abs_diff(300 * MS) <= 1);
    }

    #[test]
    fn a_line_never_starts_below_the_last() {
        let mut slope = Slope::default();
        let mut last = Line::default();
        // The clock slows down by a thousandth, then runs as before.
        for at in (0..2000).map(|i| i * MS) {
            let mut sample = sample(at);
            sample.now = Nanos(at - at.min(1000 * MS) / 1000);
            if let Some(line) = slope.advance(sample).filter(|line| line.window != 0) {
                assert!(line.base >= last.at(line.first), "{line:?}");
                assert!(line.base < sample.now.0 + 200_000, "{line:?}");
                last = line;
            }
        }
        assert!(last.base > 1900 * MS);
    }

    #[test]
    fn noise_does_not_move_the_wall_clock_and_steps_do() {
        let mut slope = Slope::default();
        let mut with = |at: u64, shift: u64| {
            let mut sample = sample(at);
            sample.real = Nanos(sample.real.0 + shift);
            slope.advance(sample)
        };
        with(0, 0);
        assert_eq!(with(2 * MS, 40).unwrap().since_1970, 1_000_000_000_040);
        assert_eq!(with(10 * MS, 900).unwrap().since_1970, 1_000_000_000_040);
        assert_eq!(with(100 * MS, 9_000).unwrap().since_1970, 1_000_000_009_000);
    }

    #[test]
    fn a_counter_that_starts_again_is_measured_again() {
        let mut slope = Slope::default();
        slope.advance(sample(0));
        assert!(slope.advance(sample(500 * MS)).unwrap().window > 0);
        let mut other = sample(900 * MS);
        other.ticks = 5;
        assert_eq!(slope.advance(other).unwrap().window, 0);
        other.ticks += 30 * MS;
        other.now = Nanos(910 * MS);
        assert!(slope.advance(other).unwrap().window > 0);
    }
}
