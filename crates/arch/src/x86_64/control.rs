//! The registers that decide about an access, and the decision, which all
//! x86 formats share.

use super::pte::MAX_PHYS_BITS;
use crate::access::{Access, AccessKind, ErrorCode, Mode};
use crate::format::Refusal;

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

/// The control registers that decide about an access (Intel SDM volume 3,
/// 4.1.3 "Paging-mode modifiers").
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
    /// CR4.PSE: 4 MiB pages in the 32-bit format with two levels; the other
    /// formats always have large pages.
    pub large_pages: bool,
    /// Whether the processor has 1 GiB pages; without them bit 7 of an entry
    /// at that level is reserved.
    pub gigabyte_pages: bool,
    /// Bits of a physical address; higher bits of an entry are reserved.
    pub physical_bits: u32,
}

impl Default for Control {
    /// As Linux runs: WP, NX, SMEP and SMAP on, all page sizes, keys off.
    fn default() -> Self {
        Self {
            write_protect: true,
            no_execute: true,
            smep: true,
            smap: true,
            pkru: None,
            pkrs: None,
            large_pages: true,
            gigabyte_pages: true,
            physical_bits: MAX_PHYS_BITS,
        }
    }
}

impl Control {
    /// The bits of an entry above the processor's physical addresses, up to `top`.
    pub(crate) const fn beyond_memory(&self, top: u32) -> u64 {
        if self.physical_bits >= top {
            return 0;
        }
        !0u64 << self.physical_bits & ((1 << top) - 1)
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

impl Rights {
    /// The rights before any entry was seen.
    pub const OPEN: Self = Self {
        write: true,
        user: true,
        execute: true,
        key: 0,
    };

    /// Whether these allow any access that `less` does not.
    pub(crate) const fn exceed(self, less: Self) -> bool {
        self.write && !less.write
            || self.user && !less.user
            || self.execute && !less.execute
            || self.key != less.key
    }

    /// Whether `access` is allowed (SDM 3, 4.6 "Access rights").
    ///
    /// # Errors
    /// [`ErrorCode::KEY`] if the key forbids it, whatever else does too: the
    /// bit tells about the key alone (SDM 3, 4.7).
    #[inline]
    pub(crate) fn permit(self, access: Access, control: &Control) -> Result<(), Refusal> {
        // A program has no key to the kernel's pages.
        let foreign = access.mode == Mode::User && !self.user;
        let register = if self.user { control.pkru } else { control.pkrs };
        match register {
            Some(keys) if !foreign && !self.key_allows(keys, access, control) => Err(Refusal(ErrorCode::KEY)),
            _ if !self.allow(access, control) => Err(Refusal(ErrorCode::empty())),
            _ => Ok(()),
        }
    }

    /// R/W, U/S and NX, as CR0.WP, SMEP and SMAP have them bind the kernel.
    fn allow(self, access: Access, control: &Control) -> bool {
        let supervisor = access.mode == Mode::Supervisor;
        if !supervisor && !self.user {
            return false;
        }
        if supervisor && self.user {
            match access.kind {
                AccessKind::Execute if control.smep => return false,
                AccessKind::Read | AccessKind::Write if control.smap => return false,
                _ => {}
            }
        }
        match access.kind {
            AccessKind::Read => true,
            AccessKind::Write => self.write || supervisor && !control.write_protect,
            AccessKind::Execute => self.execute || !control.no_execute,
        }
    }

    fn key_allows(self, keys: Pkru, access: Access, control: &Control) -> bool {
        match access.kind {
            AccessKind::Execute => true,
            _ if keys.disables_access(self.key) => false,
            AccessKind::Read => true,
            AccessKind::Write => {
                !keys.disables_write(self.key) || access.mode == Mode::Supervisor && !control.write_protect
            }
        }
    }
}

/// The bits of an error code that describe `access`; fetches are told apart
/// only where something can forbid them (SDM 3, 4.7, flag I/D).
#[inline]
pub(crate) fn describe(access: Access, fetches_are_told: bool) -> ErrorCode {
    let mut code = match access.kind {
        AccessKind::Read => ErrorCode::empty(),
        AccessKind::Write => ErrorCode::WRITE,
        AccessKind::Execute if fetches_are_told => ErrorCode::FETCH,
        AccessKind::Execute => ErrorCode::empty(),
    };
    code.set(ErrorCode::USER, access.mode == Mode::User);
    code
}
