//! The words for entries and levels of each format.

use foliant_arch::arm64::{Arm64, ArmRights, Descriptor, DescriptorFlags, hardware_level};
use foliant_arch::ept::{Ept, EptEntry, EptFlags, EptRights};
use foliant_arch::npt::Npt;
use foliant_arch::x86_64::{Levels, LongMode, Pte, Rights};
use foliant_arch::x86_legacy::{LegacyEntry, X86Legacy};
use foliant_arch::x86_pae::X86Pae;
use foliant_arch::{Entry, Format, Level, Mode};

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Can {
    /// Programs reach it.
    pub user: bool,
    /// It can be written.
    pub write: bool,
    /// Somebody can execute it.
    pub execute: bool,
}

/// A format that can be shown.
pub trait Describe: Format {
    /// Whether Linux writes its text as on arm64, not as on x86.
    const ARM_TEXT: bool;

    /// What the architecture calls an entry of `level`.
    fn entry_name(level: Level) -> &'static str;

    /// What a present `entry` of `level` says besides its address, in the
    /// architecture's words.
    fn words(entry: Self::Entry, level: Level) -> String;

    /// What rights come to.
    fn can(rights: Self::Rights, control: &Self::Control) -> Can;

    /// Linux's name of the level of a leaf, or of a hole: where a level is
    /// folded, its leaves count as those of the lowest level folded into it.
    fn linux_level(level: Level, leaf: bool) -> Level {
        let mut at = level;
        while let Some(below) = at.down()
            && leaf
            && Self::GEOMETRY.is_folded(below)
        {
            at = below;
        }
        at
    }
}

/// Names of bits, in the order given.
fn named(word: u64, names: &[(u32, &str)]) -> Vec<String> {
    let set = names.iter().filter(|(bit, _)| word >> bit & 1 != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

const X86: [(u32, &str); 8] = [
    (0, "P"),
    (1, "RW"),
    (2, "US"),
    (3, "PWT"),
    (4, "PCD"),
    (5, "A"),
    (6, "D"),
    (8, "G"),
];

/// Bits of x86 entries: those of all, then size, PAT, key and NX.
fn x86_words(word: u64, level: Level, leaf: bool) -> String {
    let mut words = named(word, &X86);
    if !leaf {
        // A link has no dirty and no global bit.
        words.retain(|word| word != "D" && word != "G");
    }
    let large = level != Level::PTE && leaf;
    if large {
        words.push("PS".to_owned());
    }
    let pat = if large { 12 } else { 7 };
    if leaf && word >> pat & 1 != 0 {
        words.push("PAT".to_owned());
    }
    words.join(" ")
}

fn long_words(entry: Pte, level: Level, leaf: bool) -> String {
    let mut words = x86_words(entry.raw(), level, leaf);
    if leaf && entry.key() != 0 {
        words += &format!(" key={}", entry.key());
    }
    if entry.raw() >> 63 != 0 {
        words += " NX";
    }
    words
}

fn x86_can(rights: Rights, no_execute: bool) -> Can {
    Can {
        user: rights.user,
        write: rights.write,
        execute: rights.execute || !no_execute,
    }
}

fn long_name(level: Level, five: bool) -> &'static str {
    match level.index() {
        0 => "PTE",
        1 => "PDE",
        2 => "PDPTE",
        3 => "PML4E",
        _ if five => "PML5E",
        _ => "PML4E",
    }
}

impl<L: Levels> Describe for LongMode<L> {
    const ARM_TEXT: bool = false;

    fn entry_name(level: Level) -> &'static str {
        long_name(level, L::FIVE)
    }

    fn words(entry: Pte, level: Level) -> String {
        long_words(entry, level, !entry.is_table(level))
    }

    fn can(rights: Rights, control: &Self::Control) -> Can {
        x86_can(rights, control.no_execute)
    }
}

impl<const FIVE: bool> Describe for Npt<FIVE> {
    const ARM_TEXT: bool = false;

    fn entry_name(level: Level) -> &'static str {
        long_name(level, FIVE)
    }

    fn words(entry: Pte, level: Level) -> String {
        long_words(entry, level, !entry.is_table(level))
    }

    fn can(rights: Rights, control: &Self::Control) -> Can {
        x86_can(rights, control.no_execute)
    }
}

impl Describe for X86Pae {
    const ARM_TEXT: bool = false;

    fn entry_name(level: Level) -> &'static str {
        match level {
            Level::PTE => "PTE",
            Level::PMD => "PDE",
            _ => "PDPTE",
        }
    }

    fn words(entry: Pte, level: Level) -> String {
        if level == Level::PGD {
            return named(entry.raw(), &[(0, "P"), (3, "PWT"), (4, "PCD")]).join(" ");
        }
        long_words(entry, level, !entry.is_table(level))
    }

    fn can(rights: Rights, control: &Self::Control) -> Can {
        x86_can(rights, control.no_execute)
    }
}

impl Describe for X86Legacy {
    const ARM_TEXT: bool = false;

    fn entry_name(level: Level) -> &'static str {
        match level {
            Level::PTE => "PTE",
            _ => "PDE",
        }
    }

    fn words(entry: LegacyEntry, level: Level) -> String {
        x86_words(entry.raw(), level, !entry.is_table(level))
    }

    fn can(rights: Rights, _control: &Self::Control) -> Can {
        x86_can(rights, false)
    }
}

impl<const FIVE: bool> Describe for Ept<FIVE> {
    const ARM_TEXT: bool = false;

    fn entry_name(level: Level) -> &'static str {
        match level.index() {
            0 => "EPT PTE",
            1 => "EPT PDE",
            2 => "EPT PDPTE",
            4 if FIVE => "EPT PML5E",
            _ => "EPT PML4E",
        }
    }

    fn words(entry: EptEntry, level: Level) -> String {
        let bits = [(0, "R"), (1, "W"), (2, "X"), (8, "A"), (9, "D"), (10, "XU")];
        let mut words = named(entry.raw(), &bits);
        if !entry.is_table(level) {
            let kind = match entry.memory_type() {
                0 => "UC",
                1 => "WC",
                4 => "WT",
                5 => "WP",
                6 => "WB",
                _ => "reserved type",
            };
            words.push(kind.to_owned());
            if entry.flags().contains(EptFlags::IGNORE_PAT) {
                words.push("IPAT".to_owned());
            }
        }
        words.join(" ")
    }

    fn can(rights: EptRights, _control: &Self::Control) -> Can {
        Can {
            user: true,
            write: rights.flags().contains(EptFlags::WRITE),
            execute: rights.flags().intersects(EptFlags::EXECUTE),
        }
    }
}

impl<const GRANULE: u32, const BITS: u32> Describe for Arm64<GRANULE, BITS> {
    const ARM_TEXT: bool = true;

    fn entry_name(level: Level) -> &'static str {
        match hardware_level(&Self::GEOMETRY, level) {
            3 => "level 3",
            2 => "level 2",
            1 => "level 1",
            0 => "level 0",
            _ => "level -1",
        }
    }

    fn words(entry: Descriptor<GRANULE, BITS>, level: Level) -> String {
        if entry.is_table(level) {
            let limits = [
                (59, "PXNTable"),
                (60, "UXNTable"),
                (61, "APTable0"),
                (62, "APTable1"),
                (63, "NSTable"),
            ];
            let mut words = vec!["table".to_owned()];
            words.extend(named(entry.raw(), &limits));
            return words.join(" ");
        }
        let flags = entry.flags();
        let mut words = vec![
            if level == Level::PTE { "page" } else { "block" }.to_owned(),
            format!("AttrIndx={}", entry.attribute()),
        ];
        let access = match (
            flags.contains(DescriptorFlags::USER),
            flags.contains(DescriptorFlags::READ_ONLY),
        ) {
            (false, false) => "AP=RW/--",
            (true, false) => "AP=RW/RW",
            (false, true) => "AP=RO/--",
            (true, true) => "AP=RO/RO",
        };
        words.push(access.to_owned());
        if BITS <= 48 || GRANULE == 16 {
            let share = [
                "non-shareable",
                "SH=reserved",
                "outer-shareable",
                "inner-shareable",
            ];
            words.push(share[(entry.raw() >> 8 & 3) as usize].to_owned());
        }
        let bits = [
            (5, "NS"),
            (10, "AF"),
            (11, "nG"),
            (50, "GP"),
            (51, "DBM"),
            (52, "contiguous"),
            (53, "PXN"),
            (54, "UXN"),
        ];
        words.extend(named(entry.raw(), &bits));
        words.join(" ")
    }

    fn can(rights: ArmRights, control: &Self::Control) -> Can {
        Can {
            user: rights.is_user(control),
            write: rights.is_writable(control),
            execute: rights.is_executable(Mode::User, control)
                || rights.is_executable(Mode::Supervisor, control),
        }
    }
}
