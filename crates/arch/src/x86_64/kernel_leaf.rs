//! The kernel's leaves on x86-64, with cache modes through the PAT as Linux
//! programs it: 0 WB, 1 WC, 2 UC-, 3 UC, 4 WB, 5 WP, 6 UC-, 7 WT.

use foliant_platform::Levels;
use foliant_units::Pfn;

use super::flags::PteFlags;
use super::format::LongMode;
use super::pte::Pte;
use crate::kernel_leaf::{CacheMode, KernelFormat, KernelProt};
use crate::level::Level;

/// The PAT index of a mode.
const fn pat_index(cache: CacheMode) -> u8 {
    match cache {
        CacheMode::WriteBack => 0,
        CacheMode::WriteCombining => 1,
        CacheMode::UncachedMinus => 2,
        CacheMode::Uncached => 3,
        CacheMode::WriteProtected => 5,
        CacheMode::WriteThrough => 7,
    }
}

/// What is behind a PAT index.
const fn mode_at(index: u8) -> CacheMode {
    match index & 7 {
        0 | 4 => CacheMode::WriteBack,
        1 => CacheMode::WriteCombining,
        2 | 6 => CacheMode::UncachedMinus,
        3 => CacheMode::Uncached,
        5 => CacheMode::WriteProtected,
        _ => CacheMode::WriteThrough,
    }
}

/// The highest bit of a PAT index lies elsewhere in a large leaf.
const fn pat_bit(level: Level) -> PteFlags {
    match level.index() {
        0 => PteFlags::PAT,
        _ => PteFlags::PAT_LARGE,
    }
}

impl<L: Levels> KernelFormat for LongMode<L> {
    #[inline]
    fn kernel_leaf(frame: Pfn, level: Level, prot: KernelProt) -> Pte {
        let mut flags = PteFlags::PRESENT | PteFlags::ACCESSED;
        if level != Level::PTE {
            flags |= PteFlags::LARGE;
        }
        flags.set(PteFlags::WRITE | PteFlags::DIRTY, prot.write);
        flags.set(PteFlags::NO_EXECUTE, !prot.execute);
        flags.set(PteFlags::GLOBAL, prot.global);
        let index = pat_index(prot.cache);
        flags.set(PteFlags::WRITE_THROUGH, index & 1 != 0);
        flags.set(PteFlags::CACHE_DISABLE, index & 2 != 0);
        if index & 4 != 0 {
            flags |= pat_bit(level);
        }
        Pte::new(frame, flags)
    }

    fn cache_mode(leaf: Pte, level: Level) -> CacheMode {
        let has = |flag: PteFlags| u8::from(leaf.raw() & flag.bits() != 0);
        let index =
            has(PteFlags::WRITE_THROUGH) | has(PteFlags::CACHE_DISABLE) << 1 | has(pat_bit(level)) << 2;
        mode_at(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x86_64::X86_64;

    #[test]
    fn every_cache_mode_comes_back_at_every_size() {
        for level in [Level::PTE, Level::PMD, Level::PUD] {
            for cache in CacheMode::ALL {
                let leaf = X86_64::kernel_leaf(Pfn::new(0x4_0000), level, KernelProt::io(cache));
                assert_eq!(X86_64::cache_mode(leaf, level), cache);
                assert_eq!(leaf.frame_at(level), Pfn::new(0x4_0000));
                assert!(!leaf.is_user() && leaf.is_writable() && !leaf.is_executable());
            }
        }
    }

    #[test]
    fn the_words_are_linux_words() {
        let word = |prot| X86_64::kernel_leaf(Pfn::ZERO, Level::PTE, prot).raw();
        assert_eq!(word(KernelProt::DATA), 0x8000_0000_0000_0163);
        assert_eq!(word(KernelProt::CODE), 0x121);
        assert_eq!(
            word(KernelProt::io(CacheMode::UncachedMinus)),
            0x8000_0000_0000_0173
        );
    }
}
