//! Who maps a frame.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_units::{Pfn, Vpn};

use super::uses::Use;
use crate::env::Env;
use crate::space::Space;

impl<P: Mmu> Env<P> {
    /// Every entry that maps `frame`, space by space.
    ///
    /// # Locking
    /// Takes the writer lock of one space after the other, so none may be held.
    /// Complete as far as no fork or fault adds entries meanwhile.
    ///
    /// # Linux source concept
    /// `rmap_walk()`.
    pub fn mappings(&self, frame: Pfn) -> Vec<(Arc<Space<P>>, Vpn)> {
        let mut found = Vec::new();
        let record = self.phys().find_record(frame);
        let Some(usage) = record.and_then(|record| Use::of(self.registry(), record)) else {
            return found;
        };
        for space in usage.spaces() {
            let _writer = space.map().book();
            let mut pages = Vec::new();
            usage.each_in(&space, frame, |_, page, _| pages.push(page));
            found.extend(pages.into_iter().map(|page| (space.clone(), page)));
        }
        found
    }
}
