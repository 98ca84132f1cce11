//! The frames of a device's memory, as they are taken and come back.

use std_alloc::sync::Arc;

use foliant_platform::Platform;
use foliant_units::{Order, Pfn, PfnRange};

use super::memory::DeviceMap;
use crate::alloc::block_of;
use crate::frame::Frame;
use crate::phys::Phys;
use crate::record::Owner;

impl<P: Platform> Phys<P> {
    /// Whether a frame is a device's.
    #[inline]
    pub fn is_device(&self, pfn: Pfn) -> bool {
        let tag = self.blocks.tags.get(block_of(pfn));
        tag.is_some_and(|tag| tag.is_device())
    }

    /// The map that a device's frame is part of.
    ///
    /// # Linux source concept
    /// `get_dev_pagemap()`.
    pub fn device_of(&self, pfn: Pfn) -> Option<Arc<DeviceMap>> {
        let maps = self.devices.lock();
        maps.iter().find(|map| map.frames().contains(pfn)).cloned()
    }

    /// Takes a folio of a device's memory that nobody has, to hand it to a
    /// program: its only reference. `None` if somebody has some of it, or it is
    /// generic memory, whose frames are [found](Phys::try_get) at any time.
    ///
    /// # Linux source concept
    /// `zone_device_page_init()`.
    pub fn take_device(&self, pfn: Pfn, order: Order) -> Option<Frame<'_, P>> {
        let map = self.device_of(pfn)?;
        let end = pfn + order.frames();
        let inside = pfn >= map.usable.start && end <= map.usable.end;
        if !inside || !pfn.is_aligned_to(order.frames()) || map.kind().is_held() {
            return None;
        }
        let idle = |pfn| self.head(pfn) == pfn && self.record(pfn).is_idle();
        let begin = || {
            let all = PfnRange::new(pfn, end).iter().all(idle);
            if all {
                let record = self.record(pfn);
                record.begin(order, Owner::Device);
                record.refs.make_findable();
            }
            all
        };
        map.take(begin).then(|| Frame::new(self, pfn))
    }

    /// The last reference to a device's folio has gone.
    ///
    /// # Linux source concept
    /// `free_zone_device_folio()`.
    pub(crate) fn give_to_device(&self, pfn: Pfn, order: Order) {
        let Some(map) = self.device_of(pfn) else { return };
        if map.kind().is_held() {
            // The map's own reference: nobody but the map may put it.
            self.hold(pfn);
        }
        if let Some(ops) = &map.memory.ops {
            ops.freed(pfn, order);
        }
        if !map.kind().is_held() {
            map.give();
        }
    }

    /// How many folios of a map have references that are not the map's own.
    pub(crate) fn taken_of(&self, map: &DeviceMap) -> u64 {
        let held = map.kind().is_held();
        let taken = |&pfn: &Pfn| !held && self.record(pfn).refs.get() != 0;
        map.usable.iter().filter(taken).count() as u64
    }

    /// Gives a frame of generic memory its map's reference.
    pub(super) fn hold(&self, pfn: Pfn) {
        let record = self.record(pfn);
        record.begin(Order::ZERO, Owner::Device);
        record.refs.make_findable();
    }
}
