//! The instructions that make a TLB forget (Intel SDM volume 3, 4.10.4
//! "Invalidation of TLBs and paging-structure caches").

use foliant_units::Vpn;

use super::model::{Pcid, Tlb};
use crate::format::Format;

/// An instruction that invalidates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Invalidate {
    /// INVLPG: one page of the current space, global or not.
    Page(Vpn),
    /// INVPCID 0: one page of a space, unless it is global.
    OwnPage(Pcid, Vpn),
    /// INVPCID 1: a space, but nothing global.
    Space(Pcid),
    /// INVPCID 2: everything.
    All,
    /// INVPCID 3: all spaces, but nothing global.
    AllButGlobal,
    /// MOV to CR3: the new space, but nothing global; nothing at all if bit 63
    /// of the value is set (and CR4.PCIDE).
    LoadRoot {
        /// The space that CR3 now names.
        space: Pcid,
        /// Bit 63: keep what is there.
        keep: bool,
    },
    /// MOV to CR4 that changes PGE or PSE, or clears PCIDE: everything.
    ChangePaging,
}

impl<F: Format> Tlb<F> {
    /// Does what an instruction asks for, executed in the space `current`.
    pub fn invalidate(&mut self, current: Pcid, what: Invalidate) {
        match what {
            Invalidate::Page(page) => self.flush_page(current, page),
            Invalidate::OwnPage(space, page) => self.flush_own_page(space, page),
            Invalidate::Space(space) | Invalidate::LoadRoot { space, keep: false } => self.flush_tag(space),
            Invalidate::All | Invalidate::ChangePaging => self.flush_all(),
            Invalidate::AllButGlobal => self.flush_all_but_global(),
            Invalidate::LoadRoot { keep: true, .. } => {}
        }
    }
}
