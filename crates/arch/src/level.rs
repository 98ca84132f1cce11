//! The five levels that a table can have.

use core::fmt;

/// One of the five generic levels, counted from the leaf up.
///
/// A format with fewer levels folds some: a folded level has one entry, which
/// is the entry of the level above, and no memory.
///
/// # Linux source concept
/// `pgd_t` to `pte_t` and the `pgtable-nop*d.h` headers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Level(u8);

impl Level {
    /// Entries that map base pages.
    pub const PTE: Self = Self(0);
    /// Page middle directory: entries of 2 MiB on x86-64.
    pub const PMD: Self = Self(1);
    /// Page upper directory: entries of 1 GiB on x86-64.
    pub const PUD: Self = Self(2);
    /// The fourth level, folded unless there are five.
    pub const P4D: Self = Self(3);
    /// The top, never folded.
    pub const PGD: Self = Self(4);
    /// How many levels there are, folded ones included.
    pub const COUNT: usize = 5;

    /// Level `raw` from the leaf; `None` above [`PGD`](Self::PGD).
    #[inline]
    pub const fn new(raw: u8) -> Option<Self> {
        if (raw as usize) < Self::COUNT {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// The level as an index into an array of [`COUNT`](Self::COUNT).
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// One level nearer to the leaf, folded or not.
    #[inline]
    pub const fn down(self) -> Option<Self> {
        match self.0 {
            0 => None,
            raw => Some(Self(raw - 1)),
        }
    }

    /// One level nearer to the top, folded or not.
    #[inline]
    pub const fn up(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }

    /// All levels, leaf first.
    #[inline]
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The level's name in lower case, as Linux spells it.
    #[inline]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "pte",
            1 => "pmd",
            2 => "pud",
            3 => "p4d",
            _ => "pgd",
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
