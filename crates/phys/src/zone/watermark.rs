//! How much free memory is kept back, and for whom.
//!
//! # Linux source concept
//! `__setup_per_zone_wmarks()`, `calculate_min_free_kbytes()` and
//! `setup_per_zone_lowmem_reserve()`, mm/page_alloc.c.

use super::kind::{ZONE_KINDS, ZoneKind};
use crate::alloc::Effort;
use crate::boot::MinFree;

/// The levels of a zone, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermarks {
    /// Below: only those who cannot wait, or who free memory.
    pub min: u64,
    /// Below: background reclaim starts.
    pub low: u64,
    /// Above: background reclaim stops.
    pub high: u64,
    /// Above: tiering stops promoting.
    pub promo: u64,
}

/// A level to compare with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// No level at all.
    None,
    /// The minimum.
    Min,
    /// Where background reclaim starts.
    Low,
    /// Where background reclaim stops.
    High,
}

impl Watermarks {
    /// The number of frames that `mark` stands for.
    pub const fn at(&self, mark: Mark) -> u64 {
        match mark {
            Mark::None => 0,
            Mark::Min => self.min,
            Mark::Low => self.low,
            Mark::High => self.high,
        }
    }
}

/// `vm.min_free_kbytes` for so much low memory: 4 times the square root of it
/// in KiB, within bounds; with huge pages at least two blocks for each zone and
/// one for each pair of mobilities in it, but no more than a twentieth.
///
/// # Linux source concept
/// `calculate_min_free_kbytes()`, `set_recommended_min_free_kbytes()`.
pub(crate) fn min_free_kib(setting: MinFree, lowmem_frames: u64, zones: u64) -> u64 {
    const BLOCK: u64 = 512;
    const MOBILITIES: u64 = 3;
    let by_size = (lowmem_frames * 4 * 16).isqrt().clamp(128, 262_144);
    match setting {
        MinFree::Kib(kib) => kib,
        MinFree::Linux => by_size,
        MinFree::LinuxWithHugePages => {
            let blocks = 2 + MOBILITIES * MOBILITIES;
            let frames = (BLOCK * zones * blocks).min(lowmem_frames / 20);
            by_size.max(frames * 4)
        }
    }
}

/// The watermarks of one zone: its share of the minimum, and equal distances
/// above it.
pub(crate) fn watermarks(
    kind: ZoneKind,
    managed: u64,
    lowmem_frames: u64,
    min_free_kib: u64,
    scale: u64,
) -> Watermarks {
    const FRAMES_PER_RECLAIM: u64 = 32;
    let share = min_free_kib / 4 * managed / lowmem_frames.max(1);
    let min = match kind {
        // Nothing that cannot wait allocates there.
        ZoneKind::Movable | ZoneKind::HighMem if min_free_kib > 0 => {
            (managed / 1024).clamp(FRAMES_PER_RECLAIM, 128)
        }
        _ => share,
    };
    let step = (share / 4).max(managed * scale / 10_000);
    Watermarks {
        min,
        low: min + step,
        high: min + 2 * step,
        promo: min + 3 * step,
    }
}

/// How many frames of each zone of a node are closed to requests that could
/// have used a higher zone: `result[zone][highest zone allowed]`.
pub(crate) fn lowmem_reserve(
    managed: [u64; ZONE_KINDS],
    ratio: [u64; ZONE_KINDS],
) -> [[u64; ZONE_KINDS]; ZONE_KINDS] {
    let mut reserve = [[0; ZONE_KINDS]; ZONE_KINDS];
    for low in 0..ZONE_KINDS {
        let mut above = 0;
        for high in low + 1..ZONE_KINDS {
            above += managed[high];
            if ratio[low] > 0 && managed[low] > 0 {
                reserve[low][high] = above / ratio[low];
            }
        }
    }
    reserve
}

/// What of `mark` someone who tries this hard must leave.
pub(crate) fn keep_back(mark: u64, effort: Effort) -> u64 {
    match effort {
        Effort::Atomic => {
            let half = mark - mark / 2;
            half - half / 4
        }
        Effort::Urgent | Effort::Victim => mark - mark / 2,
        Effort::Reserves => 0,
        Effort::NoWait | Effort::MayReclaim | Effort::RetryMayFail | Effort::NoFail | Effort::NoRetry => mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_grows_with_the_square_root() {
        // 2 GiB: 4 * sqrt(2 Mi) KiB.
        assert_eq!(min_free_kib(MinFree::Linux, 524_288, 1), 5792);
        assert_eq!(min_free_kib(MinFree::Linux, 64, 1), 128);
        assert_eq!(min_free_kib(MinFree::Linux, 1 << 34, 3), 262_144);
    }

    #[test]
    fn steps_are_a_quarter_of_the_minimum_or_a_thousandth_of_the_zone() {
        let small = watermarks(ZoneKind::Normal, 100_000, 100_000, 5_000, 10);
        assert_eq!(
            small,
            Watermarks {
                min: 1250,
                low: 1562,
                high: 1874,
                promo: 2186
            }
        );
        let large = watermarks(ZoneKind::Normal, 10_000_000, 10_000_000, 5_000, 10);
        assert_eq!((large.min, large.low), (1250, 11_250));
    }

    #[test]
    fn low_zones_are_closed_to_those_who_can_go_higher() {
        let reserve = lowmem_reserve([4000, 500_000, 1_000_000, 0, 0, 0], [256, 256, 32, 0, 0, 0]);
        assert_eq!(reserve[0], [0, 1953, 5859, 5859, 5859, 5859]);
        assert_eq!(reserve[1], [0, 0, 3906, 3906, 3906, 3906]);
        assert_eq!(reserve[2], [0; ZONE_KINDS]);
    }

    #[test]
    fn the_steps_below_the_minimum_are_those_of_the_kernel() {
        let left = |effort| keep_back(1000, effort);
        assert_eq!((left(Effort::MayReclaim), left(Effort::NoWait)), (1000, 1000));
        assert_eq!((left(Effort::Urgent), left(Effort::Victim)), (500, 500));
        assert_eq!((left(Effort::Atomic), left(Effort::Reserves)), (375, 0));
    }

    /// What a live Linux 6.18 with huge pages shows in /proc/zoneinfo and
    /// /proc/sys/vm/min_free_kbytes.
    #[test]
    fn the_numbers_are_those_of_a_live_host() {
        let managed = [3840, 772_918, 4_456_448, 0, 0, 0];
        let lowmem = managed.iter().sum();
        let min_free = min_free_kib(MinFree::LinuxWithHugePages, lowmem, 3);
        assert_eq!(min_free, 67_584);
        let marks = |kind: ZoneKind| {
            let marks = watermarks(kind, managed[kind.index()], lowmem, min_free, 10);
            [marks.min, marks.low, marks.high, marks.promo]
        };
        assert_eq!(marks(ZoneKind::Dma), [12, 15, 18, 21]);
        assert_eq!(marks(ZoneKind::Dma32), [2495, 3267, 4039, 4811]);
        assert_eq!(marks(ZoneKind::Normal), [14_388, 18_844, 23_300, 27_756]);
        assert_eq!(marks(ZoneKind::Movable), [32; 4]);
        let reserve = lowmem_reserve(managed, [256, 256, 32, 0, 0, 0]);
        assert_eq!(reserve[0], [0, 3019, 20_427, 20_427, 20_427, 20_427]);
        assert_eq!(reserve[1], [0, 0, 17_408, 17_408, 17_408, 17_408]);
    }
}
