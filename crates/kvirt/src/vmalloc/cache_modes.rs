//! How devices' memory is cached, wherever it is mapped: one frame must not be
//! cached in two ways at once, or processors read and write what never was.

use core::fmt;

use alloc::collections::BTreeMap;

use foliant_arch::CacheMode;
use foliant_platform::sync::SpinLock;
use foliant_units::{Pfn, PfnRange};

use super::request::VmallocError;

/// The video memory and the ROMs of a PC: the range registers of the processor
/// say how each part is cached, and a mapping does not ask for more.
const FIRST_MEGABYTE: PfnRange = PfnRange::new(Pfn::new(0xa0), Pfn::new(0x100));

/// What is mapped of devices, and how.
///
/// # Linux source concept
/// arch/x86/mm/pat/memtype.c. Differs: a mapping counts until the flush after
/// its end.
pub(super) struct CacheModes {
    /// By first frame and end, with the number of mappings.
    mapped: SpinLock<BTreeMap<(Pfn, Pfn), (CacheMode, u64)>>,
}

impl CacheModes {
    pub(super) fn new() -> Self {
        Self {
            mapped: SpinLock::new(BTreeMap::new()),
        }
    }

    /// Notes a mapping of `frames` and says how they are to be cached in it: as
    /// they are already, where that will do.
    ///
    /// # Errors
    /// [`VmallocError::CacheModes`], [`VmallocError::CacheMode`]; nothing is noted.
    ///
    /// # Linux source concept
    /// `memtype_reserve()`, and what `__ioremap_caller()` makes of its answer.
    pub(super) fn reserve(&self, frames: PfnRange, wanted: CacheMode) -> Result<CacheMode, VmallocError> {
        if FIRST_MEGABYTE.covers(frames) {
            return Ok(CacheMode::WriteBack);
        }
        let mut mapped = self.mapped.lock();
        let before = mapped.range(..(frames.end, Pfn::ZERO));
        let existing = before
            .filter(|((_, end), _)| *end > frames.start)
            .map(|(_, (mode, _))| *mode);
        let mode = decide(existing, wanted)?;
        let at = mapped.entry((frames.start, frames.end)).or_insert((mode, 0));
        at.1 += 1;
        Ok(mode)
    }

    /// Forgets one mapping that [`reserve`](Self::reserve) noted.
    ///
    /// # Linux source concept
    /// `memtype_free()`.
    pub(super) fn release(&self, frames: PfnRange) {
        let mut mapped = self.mapped.lock();
        let key = (frames.start, frames.end);
        if let Some((_, count)) = mapped.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                mapped.remove(&key);
            }
        }
    }

    pub(super) fn list(&self) -> CacheModeList {
        let mapped = self.mapped.lock();
        CacheModeList(mapped.clone())
    }
}

/// The mode of a mapping of what is mapped as `existing` say.
///
/// # Linux source concept
/// `memtype_check_conflict()`.
fn decide(
    mut existing: impl Iterator<Item = CacheMode>,
    wanted: CacheMode,
) -> Result<CacheMode, VmallocError> {
    let Some(first) = existing.next() else {
        return Ok(wanted);
    };
    if existing.any(|mode| mode != first) {
        return Err(VmallocError::CacheModes);
    }
    match will_do(wanted, first) {
        true => Ok(first),
        false => Err(VmallocError::CacheMode(first)),
    }
}

/// Whether who wanted one mode can live with another: caches must not keep what
/// was to reach the device, nor hold back what was to be written through.
///
/// # Linux source concept
/// `is_new_memtype_allowed()`.
const fn will_do(wanted: CacheMode, existing: CacheMode) -> bool {
    use CacheMode::{Uncached, UncachedMinus, WriteBack, WriteCombining, WriteProtected, WriteThrough};
    match (wanted, existing) {
        (UncachedMinus | WriteCombining | WriteThrough, WriteBack) => false,
        (WriteThrough, WriteCombining) => false,
        (
            WriteBack | WriteCombining | UncachedMinus | Uncached | WriteThrough | WriteProtected,
            WriteBack | WriteCombining | UncachedMinus | Uncached | WriteThrough | WriteProtected,
        ) => true,
    }
}

/// What is mapped of devices, and how, at some moment. As text it is the
/// kernel's.
///
/// # Linux source concept
/// `/sys/kernel/debug/x86/pat_memtype_list`.
#[derive(Clone, Debug)]
pub struct CacheModeList(BTreeMap<(Pfn, Pfn), (CacheMode, u64)>);

impl CacheModeList {
    /// The frames and how they are cached, ascending; those that are mapped
    /// more than once, so often.
    pub fn iter(&self) -> impl Iterator<Item = (PfnRange, CacheMode)> {
        self.0.iter().flat_map(|(&(start, end), &(mode, count))| {
            let one = (PfnRange::new(start, end), mode);
            core::iter::repeat_n(one, count as usize)
        })
    }
}

impl fmt::Display for CacheModeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "PAT memtype list:")?;
        self.iter().try_for_each(|(frames, mode)| {
            let (start, end) = (frames.start.base().raw(), frames.end.base().raw());
            writeln!(f, "PAT: [mem {start:#018x}-{end:#018x}] {}", name(mode))
        })
    }
}

const fn name(mode: CacheMode) -> &'static str {
    match mode {
        CacheMode::WriteBack => "write-back",
        CacheMode::WriteCombining => "write-combining",
        CacheMode::UncachedMinus => "uncached-minus",
        CacheMode::Uncached => "uncached",
        CacheMode::WriteThrough => "write-through",
        CacheMode::WriteProtected => "write-protected",
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn frames(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn::new(start), Pfn::new(end))
    }

    #[test]
    fn who_wants_another_mode_gets_the_existing_one_where_that_will_do() {
        use CacheMode::{UncachedMinus, WriteBack, WriteCombining, WriteThrough};
        let refused = [
            (UncachedMinus, WriteBack),
            (WriteCombining, WriteBack),
            (WriteThrough, WriteBack),
            (WriteThrough, WriteCombining),
        ];
        for existing in CacheMode::ALL {
            for wanted in CacheMode::ALL {
                let modes = CacheModes::new();
                assert_eq!(modes.reserve(frames(0x1000, 0x1010), existing), Ok(existing));
                let expected = match refused.contains(&(wanted, existing)) {
                    true => Err(VmallocError::CacheMode(existing)),
                    false => Ok(existing),
                };
                for part in [(0xfff, 0x1001), (0x1003, 0x1004), (0x100f, 0x1100)] {
                    assert_eq!(modes.reserve(frames(part.0, part.1), wanted), expected);
                }
                for beside in [(0x100, 0xfff), (0x1100, 0x1101)] {
                    assert_eq!(modes.reserve(frames(beside.0, beside.1), wanted), Ok(wanted));
                }
            }
        }
    }

    #[test]
    fn frames_that_are_cached_in_two_ways_are_no_one_mapping() {
        let modes = CacheModes::new();
        modes
            .reserve(frames(0x1000, 0x1010), CacheMode::WriteCombining)
            .unwrap();
        modes
            .reserve(frames(0x1010, 0x1020), CacheMode::Uncached)
            .unwrap();
        let over_both = frames(0x100f, 0x1011);
        for wanted in CacheMode::ALL {
            assert_eq!(modes.reserve(over_both, wanted), Err(VmallocError::CacheModes));
        }
        modes.release(frames(0x1010, 0x1020));
        assert_eq!(
            modes.reserve(over_both, CacheMode::Uncached),
            Ok(CacheMode::WriteCombining)
        );
        let whole = frames(0x1000, 0x1010);
        modes.reserve(whole, CacheMode::WriteCombining).unwrap();
        assert_eq!(
            modes.list().to_string(),
            "PAT memtype list:\n\
             PAT: [mem 0x0000000001000000-0x0000000001010000] write-combining\n\
             PAT: [mem 0x0000000001000000-0x0000000001010000] write-combining\n\
             PAT: [mem 0x000000000100f000-0x0000000001011000] write-combining\n"
        );
        for range in [whole, whole, over_both, over_both] {
            modes.release(range);
        }
        assert_eq!(modes.list().iter().collect::<Vec<_>>(), []);
    }

    #[test]
    fn what_the_range_registers_know_is_nobodys_business() {
        let modes = CacheModes::new();
        for wanted in CacheMode::ALL {
            let video = modes.reserve(frames(0xa0, 0xc0), wanted);
            assert_eq!(video, Ok(CacheMode::WriteBack));
        }
        assert_eq!(modes.list().iter().count(), 0);
        let beyond = frames(0xff, 0x101);
        assert_eq!(
            modes.reserve(beyond, CacheMode::Uncached),
            Ok(CacheMode::Uncached)
        );
    }
}
