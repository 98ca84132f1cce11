//! Geometry, and how rights narrow from level to level.

use super::flags::PteFlags;
use super::pte::{MAX_PHYS_BITS, Pte};
use crate::access::{Access, AccessKind, ErrorCode, Mode};
use crate::format::{Format, Refusal};
use crate::geometry::{Geometry, LevelShape};
use crate::level::Level;

/// x86-64 paging with four levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct X86_64;

/// The protection-key rights register: two bits per key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pkru(pub u32);

impl Pkru {
    /// What Linux starts a task with: only key 0 open.
    pub const LINUX_DEFAULT: Self = Self(0x5555_5554);

    /// Whether the key forbids all data accesses.
    pub const fn disables_access(self, key: u8) -> bool {
        self.0 >> (2 * key as u32) & 1 != 0
    }

    /// Whether the key forbids writes.
    pub const fn disables_write(self, key: u8) -> bool {
        self.0 >> (2 * key as u32 + 1) & 1 != 0
    }
}

/// The control registers that decide about an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// CR0.WP: read-only entries bind the kernel too.
    pub write_protect: bool,
    /// EFER.NXE: bit 63 means no-execute; without it the bit is reserved.
    pub no_execute: bool,
    /// CR4.SMEP: the kernel must not execute user pages.
    pub smep: bool,
    /// CR4.SMAP with RFLAGS.AC clear: the kernel must not touch user pages.
    pub smap: bool,
    /// CR4.PKE: the protection keys of user pages, judged by this register.
    pub pkru: Option<Pkru>,
    /// CR4.PKS: the same for supervisor pages.
    pub pkrs: Option<Pkru>,
    /// Bits of a physical address; higher bits of an entry are reserved.
    pub physical_bits: u32,
}

impl Default for Control {
    /// As Linux runs: WP, NX, SMEP and SMAP on, keys off.
    fn default() -> Self {
        Self {
            write_protect: true,
            no_execute: true,
            smep: true,
            smap: true,
            pkru: None,
            pkrs: None,
            physical_bits: MAX_PHYS_BITS,
        }
    }
}

/// What the entries of all levels allow together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rights {
    /// Every level has R/W set.
    pub write: bool,
    /// Every level has U/S set: a user page.
    pub user: bool,
    /// No level has NX set.
    pub execute: bool,
    /// The leaf's protection key.
    pub key: u8,
}

const fn shape(shift: u32, bits: u32, leaf: bool) -> LevelShape {
    LevelShape { shift, bits, leaf }
}

impl Format for X86_64 {
    type Entry = Pte;
    type Rights = Rights;
    type Control = Control;

    const GEOMETRY: Geometry = Geometry {
        levels: [
            shape(12, 9, true),
            shape(21, 9, true),
            shape(30, 9, true),
            shape(39, 0, false),
            shape(39, 9, false),
        ],
        entry_bytes: 8,
        address_bits: 48,
        canonical: true,
    };

    const OPEN: Rights = Rights {
        write: true,
        user: true,
        execute: true,
        key: 0,
    };

    #[inline]
    fn narrow(rights: Rights, entry: Pte, _level: Level) -> Rights {
        let flags = PteFlags::from_bits_truncate(entry.raw());
        Rights {
            write: rights.write && flags.contains(PteFlags::WRITE),
            user: rights.user && flags.contains(PteFlags::USER),
            execute: rights.execute && !flags.contains(PteFlags::NO_EXECUTE),
            // The last entry passed is the leaf, the only one with a key.
            key: entry.key(),
        }
    }

    #[inline]
    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        let beyond_memory = !0u64 << control.physical_bits & ((1 << MAX_PHYS_BITS) - 1);
        let no_execute = if control.no_execute {
            0
        } else {
            PteFlags::NO_EXECUTE.bits()
        };
        let large = level != Level::PTE && entry.is_large();
        let size = match level {
            Level::PMD if large => (1 << 21) - (1 << 13),
            Level::PUD if large => (1 << 30) - (1 << 13),
            _ if large => PteFlags::LARGE.bits(),
            _ => 0,
        };
        entry.raw() & (beyond_memory | no_execute | size) != 0
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        if !allows(rights, access, control) {
            return Err(Refusal(ErrorCode::empty()));
        }
        let register = if rights.user { control.pkru } else { control.pkrs };
        match register {
            Some(keys) if !key_allows(keys, rights, access, control) => Err(Refusal(ErrorCode::KEY)),
            _ => Ok(()),
        }
    }

    #[inline]
    fn describe(access: Access, control: &Control) -> ErrorCode {
        let mut code = match access.kind {
            AccessKind::Read => ErrorCode::empty(),
            AccessKind::Write => ErrorCode::WRITE,
            AccessKind::Execute if control.no_execute || control.smep => ErrorCode::FETCH,
            AccessKind::Execute => ErrorCode::empty(),
        };
        code.set(ErrorCode::USER, access.mode == Mode::User);
        code
    }

    #[inline]
    fn exceeds(more: Rights, less: Rights) -> bool {
        more.write && !less.write
            || more.user && !less.user
            || more.execute && !less.execute
            || more.key != less.key
    }
}

/// R/W, U/S and NX, as CR0.WP, SMEP and SMAP have them bind the kernel.
fn allows(rights: Rights, access: Access, control: &Control) -> bool {
    let supervisor = access.mode == Mode::Supervisor;
    if !supervisor && !rights.user {
        return false;
    }
    if supervisor && rights.user {
        match access.kind {
            AccessKind::Execute if control.smep => return false,
            AccessKind::Read | AccessKind::Write if control.smap => return false,
            _ => {}
        }
    }
    match access.kind {
        AccessKind::Read => true,
        AccessKind::Write => rights.write || supervisor && !control.write_protect,
        AccessKind::Execute => rights.execute || !control.no_execute,
    }
}

fn key_allows(keys: Pkru, rights: Rights, access: Access, control: &Control) -> bool {
    match access.kind {
        AccessKind::Execute => true,
        _ if keys.disables_access(rights.key) => false,
        AccessKind::Read => true,
        AccessKind::Write => {
            !keys.disables_write(rights.key) || access.mode == Mode::Supervisor && !control.write_protect
        }
    }
}
