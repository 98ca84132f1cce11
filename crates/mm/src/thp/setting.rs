//! The words of the settings, and the decision that they make.

use super::orders::Orders;
use crate::flags::VmFlags;

/// A setting that has a word for each of its values.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            /// Every value, in the order in which files show them.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }

            /// The value of a word.
            pub fn from_word(word: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word().as_bytes() == word)
            }
        }
    )*};
}

words! {
    /// Whether one size is used (`hugepages-*kB/enabled`).
    SizeSetting {
        /// Wherever it fits.
        Always = "always",
        /// As the [global](Global) setting says.
        Inherit = "inherit",
        /// In mappings with `MADV_HUGEPAGE`.
        Madvise = "madvise",
        /// Nowhere.
        Never = "never",
    }

    /// What sizes do that [inherit](SizeSetting::Inherit) (`enabled`).
    Global {
        /// As [`SizeSetting::Always`].
        Always = "always",
        /// As [`SizeSetting::Madvise`].
        Madvise = "madvise",
        /// As [`SizeSetting::Never`].
        Never = "never",
    }

    /// Who may wait until memory for a folio is reclaimed (`defrag`).
    Defrag {
        /// Everybody.
        Always = "always",
        /// Nobody.
        Defer = "defer",
        /// Mappings with `MADV_HUGEPAGE`. The others would have memory
        /// compacted in the background, where somebody does that.
        DeferMadvise = "defer+madvise",
        /// Mappings with `MADV_HUGEPAGE`.
        Madvise = "madvise",
        /// Nobody.
        Never = "never",
    }
}

impl Defrag {
    /// Whether a fault on a mapping with this advice may wait.
    ///
    /// # Linux source concept
    /// `vma_thp_gfp_mask()`.
    pub(crate) const fn lets_wait(self, advice: Advice) -> bool {
        match self {
            Self::Always => true,
            Self::DeferMadvise | Self::Madvise => matches!(advice, Advice::Huge),
            Self::Defer | Self::Never => false,
        }
    }
}

/// What a process says of large folios (`PR_SET_THP_DISABLE`).
///
/// # Linux source concept
/// `MMF_DISABLE_THP_COMPLETELY`, `MMF_DISABLE_THP_EXCEPT_ADVISED`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum ThpMode {
    /// As the machine's settings say.
    #[default]
    Usual,
    /// Only in mappings with `MADV_HUGEPAGE`, however the settings allow more.
    Advised,
    /// Nowhere.
    Off,
}

impl ThpMode {
    pub(crate) const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::Usual,
            1 => Self::Advised,
            _ => Self::Off,
        }
    }
}

/// What was said of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Advice {
    /// Nothing.
    None,
    /// `MADV_HUGEPAGE`.
    Huge,
    /// `MADV_NOHUGEPAGE`, or a stack of a thread.
    NoHuge,
}

impl Advice {
    /// The advice in a mapping's flags.
    pub(crate) fn of(flags: VmFlags) -> Self {
        match (
            flags.contains(VmFlags::HUGEPAGE),
            flags.contains(VmFlags::NOHUGEPAGE),
        ) {
            (_, true) => Self::NoHuge,
            (true, false) => Self::Huge,
            (false, false) => Self::None,
        }
    }
}

/// The sizes that are always used, used where advised, and as the global setting says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sizes {
    pub(super) always: Orders,
    pub(super) madvise: Orders,
    pub(super) inherit: Orders,
}

/// The sizes that a mapping may have.
///
/// # Linux source concept
/// `thp_vma_allowable_orders()` of anonymous memory.
pub(super) fn allowed(sizes: Sizes, global: Global, mode: ThpMode, advice: Advice) -> Orders {
    let advised = match (mode, advice) {
        (_, Advice::NoHuge) | (ThpMode::Off, _) | (ThpMode::Advised, Advice::None) => {
            return Orders::NONE;
        }
        (ThpMode::Usual | ThpMode::Advised, Advice::Huge) => true,
        (ThpMode::Usual, Advice::None) => false,
    };
    let mut orders = sizes.always;
    if advised {
        orders = orders.union(sizes.madvise);
    }
    match global {
        Global::Always => orders.union(sizes.inherit),
        Global::Madvise if advised => orders.union(sizes.inherit),
        Global::Madvise | Global::Never => orders,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foliant_units::Order;

    fn of(raw: u8) -> Orders {
        Orders::of(Order::new(raw).expect("an order"))
    }

    #[test]
    fn settings_advice_and_process_decide_together() {
        let sizes = Sizes {
            always: of(2),
            madvise: of(3),
            inherit: of(4),
        };
        let (none, huge, no) = (Advice::None, Advice::Huge, Advice::NoHuge);
        let both = of(2).union(of(3));
        let table = [
            (Global::Never, ThpMode::Usual, none, of(2)),
            (Global::Never, ThpMode::Usual, huge, both),
            (Global::Madvise, ThpMode::Usual, none, of(2)),
            (Global::Madvise, ThpMode::Usual, huge, both.union(of(4))),
            (Global::Always, ThpMode::Usual, none, of(2).union(of(4))),
            (Global::Always, ThpMode::Usual, huge, both.union(of(4))),
            (Global::Always, ThpMode::Usual, no, Orders::NONE),
            (Global::Always, ThpMode::Advised, none, Orders::NONE),
            (Global::Always, ThpMode::Advised, huge, both.union(of(4))),
            (Global::Always, ThpMode::Off, huge, Orders::NONE),
        ];
        for (global, mode, advice, orders) in table {
            let decided = allowed(sizes, global, mode, advice);
            assert_eq!(decided, orders, "{global:?} {mode:?} {advice:?}");
        }
    }

    #[test]
    fn who_may_wait_for_memory() {
        let waits = |advice| {
            Defrag::ALL
                .iter()
                .map(|defrag| defrag.lets_wait(advice))
                .collect()
        };
        let (huge, none): (std::vec::Vec<_>, std::vec::Vec<_>) = (waits(Advice::Huge), waits(Advice::None));
        assert_eq!(huge, [true, false, true, true, false]);
        assert_eq!(none, [true, false, false, false, false]);
    }

    #[test]
    fn every_word_is_read_back() {
        for setting in SizeSetting::ALL {
            assert_eq!(SizeSetting::from_word(setting.word().as_bytes()), Some(*setting));
        }
        assert_eq!(Global::from_word(b"inherit"), None);
        assert_eq!(Defrag::from_word(b"defer+madvise"), Some(Defrag::DeferMadvise));
    }
}
