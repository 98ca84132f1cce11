//! Mapping a device's memory, and the end of that.

use std_alloc::sync::Arc;

use foliant_platform::Platform;
use foliant_units::{Order, Pfn, PfnRange, PhysRange};

use super::error::DeviceError;
use super::memory::{DeviceMap, DeviceMemory};
use crate::alloc::{BLOCK, block_of};
use crate::frame::Frame;
use crate::phys::Phys;
use crate::plug::RecordsIn;
use crate::ram::Found;
use crate::record::FrameFlags;
use crate::sections::{Origin, Part, SECTION, SectionInfo, frames_of, section_of};
use crate::zone::{ZoneId, ZoneKind};

impl<P: Platform> Phys<P> {
    /// Maps a device's memory: its frames have records from now on.
    ///
    /// # Errors
    /// [`DeviceError`]; everything is as before then.
    ///
    /// # Locking
    /// The caller holds no spin lock: it may wait for memory.
    ///
    /// # Linux source concept
    /// `memremap_pages()`.
    pub fn map_device(&self, memory: DeviceMemory) -> Result<Arc<DeviceMap>, DeviceError> {
        let _one = self.plugging.lock();
        let id = self.check_device(&memory)?;
        let frames = memory.frames;
        let sections = section_of(frames.start)..section_of(Pfn::new(frames.end.raw() - 1)) + 1;
        let own = match memory.records {
            RecordsIn::OldMemory => 0,
            RecordsIn::NewMemory => (sections.end - sections.start) as u64 * BLOCK as u64,
        };
        let usable = PfnRange::new(frames.start + own, frames.end);
        let map = Arc::new(DeviceMap::new(memory, usable));
        self.show_device(&map)?;
        for section in sections.clone() {
            if let Err(error) = self.give_device_section(section, &map) {
                (sections.start..section).for_each(|section| self.forget_device_section(section));
                self.hide_device(&map);
                return Err(error);
            }
        }
        if map.kind().is_held() {
            map.usable.iter().for_each(|pfn| self.hold(pfn));
        }
        for block in block_of(frames.start)..block_of(frames.end) {
            self.blocks.tags[block].set_device(id, map.kind().is_reachable());
        }
        self.zones.get(id).stretch(frames);
        self.devices.lock().push(map.clone());
        Ok(map)
    }

    /// Maps memory that CPUs reach where RAM is mapped, too.
    fn show_device(&self, map: &DeviceMap) -> Result<(), DeviceError> {
        match self.mapper().filter(|_| map.kind().is_reachable()) {
            Some(mapper) => mapper.map(bytes_of(map)).map_err(DeviceError::NotShown),
            None => Ok(()),
        }
    }

    fn hide_device(&self, map: &DeviceMap) {
        if let Some(mapper) = self.mapper().filter(|_| map.kind().is_reachable()) {
            mapper.unmap(bytes_of(map));
        }
    }

    /// The zone that the memory goes to, if nothing is wrong with it.
    fn check_device(&self, memory: &DeviceMemory) -> Result<ZoneId, DeviceError> {
        let frames = memory.frames;
        let whole = |unit: u64| frames.start.is_aligned_to(unit) && frames.end.is_aligned_to(unit);
        if frames.is_empty() || !whole(BLOCK as u64) {
            return Err(DeviceError::Unaligned);
        }
        if frames.end.raw() > self.sections.len() as u64 * SECTION {
            return Err(DeviceError::TooHigh);
        }
        if memory.kind.needs_ops() && memory.ops.is_none() {
            return Err(DeviceError::NoOps);
        }
        let in_itself = memory.records == RecordsIn::NewMemory;
        if in_itself && !(whole(SECTION) && memory.kind.is_reachable()) {
            return Err(DeviceError::NoRoomForRecords);
        }
        let range = PhysRange::new(frames.start.base(), frames.end.base());
        if memory.kind.is_reachable() && !self.platform.has_ram(range) {
            return Err(DeviceError::Unreachable);
        }
        let zone = self.zones.find(ZoneKind::Device, memory.node);
        let (id, _) = zone.ok_or(DeviceError::NoNode)?;
        for block in block_of(frames.start)..block_of(frames.end) {
            let first = Pfn::new((block * BLOCK) as u64);
            let ram = PfnRange::new(first, first + BLOCK as u64);
            let mut there = self.sections.in_section(section_of(first));
            if there.any(|range| range.overlaps(ram)) {
                return Err(DeviceError::Ram);
            }
            if self.blocks.tags[block].is_device() {
                return Err(DeviceError::Exists);
            }
        }
        Ok(id)
    }

    /// Makes sure that a section has records.
    fn give_device_section(&self, section: usize, map: &DeviceMap) -> Result<(), DeviceError> {
        let info = self.sections.info(section);
        match info.origin {
            Origin::Device => return Ok(()),
            Origin::Boot | Origin::Added => {
                let last = Pfn::new(frames_of(section).end.raw() - 1);
                let whole = self.records.get(last).is_some();
                return if whole { Ok(()) } else { Err(DeviceError::TooHigh) };
            }
            Origin::Absent => {}
        }
        let on_itself = map.memory.records == RecordsIn::NewMemory;
        let (start, found) = if on_itself {
            let at = section - section_of(map.frames().start);
            let start = map.frames().start + (at * BLOCK) as u64;
            self.show_records(section, start)?;
            (start, Found::Garbage)
        } else {
            let frame = self.table_memory(Order::PMD, map.memory.node);
            let frame = frame.map_err(|_| DeviceError::OutOfMemory)?;
            self.show_records(section, frame.pfn())?;
            (Frame::into_pfn(frame), Found::Zeroes)
        };
        let home = PfnRange::new(start, start + BLOCK as u64);
        self.sections.set_home(section, Part::Records, home);
        // SAFETY:
        // 1. The allocator gave the frames, or the driver handed them over and
        //    said that CPUs reach them; a piece of records is a block.
        // 2. They are marked as tables, which no `Content` reaches, and are
        //    neither freed nor taken until the section is forgotten.
        // 3. The allocated ones were asked for zeroed.
        unsafe { self.give_part(section, Part::Records, home, found) };
        self.own_tables().mark(home);
        self.sections.set(
            section,
            SectionInfo {
                origin: Origin::Device,
                on_itself,
                node: map.memory.node,
                ..SectionInfo::default()
            },
        );
        Ok(())
    }

    fn show_records(&self, section: usize, home: Pfn) -> Result<(), DeviceError> {
        let home = PfnRange::new(home, home + BLOCK as u64);
        match self.mapper() {
            Some(mapper) => mapper
                .map_records(frames_of(section), home)
                .map_err(DeviceError::NotShown),
            None => Ok(()),
        }
    }

    /// Takes the records back from a section in which no device's memory is left.
    fn forget_device_section(&self, section: usize) {
        let info = self.sections.info(section);
        let blocks = frames_of(section);
        let left =
            (block_of(blocks.start)..block_of(blocks.end)).any(|block| self.blocks.tags[block].is_device());
        if info.origin != Origin::Device || left {
            return;
        }
        if let Some(mapper) = self.mapper() {
            mapper.unmap_records(blocks);
        }
        let home = self.sections.home(section, Part::Records);
        self.own_tables().unmark(home);
        self.near.end_at(blocks.start.index());
        self.records.pieces().take_back(section);
        self.sections.set(section, SectionInfo::default());
        let nowhere = PfnRange::new(Pfn::ZERO, Pfn::ZERO);
        self.sections.set_home(section, Part::Records, nowhere);
        if !info.on_itself {
            drop(self.adopt(home.start));
        }
    }

    /// Ends a map whose folios have all come back.
    ///
    /// # Errors
    /// [`DeviceError::Busy`] while somebody has some of them; nothing changes
    /// then. [`DeviceError::NotMapped`] the second time.
    ///
    /// # Locking
    /// The caller holds no spin lock.
    ///
    /// # Linux source concept
    /// `memunmap_pages()`. Differs: it does not wait.
    pub fn unmap_device(&self, map: &DeviceMap) -> Result<(), DeviceError> {
        let _one = self.plugging.lock();
        self.end_map(map)?;
        let frames = map.frames();
        for pfn in map.usable.iter() {
            self.record(pfn).end(FrameFlags::empty());
        }
        for block in block_of(frames.start)..block_of(frames.end) {
            self.blocks.tags[block].leave_zone();
        }
        self.devices
            .lock()
            .retain(|other| !core::ptr::eq(&raw const **other, map));
        if let Some((id, zone)) = self.zones.find(ZoneKind::Device, map.memory.node) {
            zone.shrink(|block| self.blocks.tags[block].zone() == Some(id));
        }
        let sections = section_of(frames.start)..section_of(Pfn::new(frames.end.raw() - 1)) + 1;
        sections.for_each(|section| self.forget_device_section(section));
        self.hide_device(map);
        Ok(())
    }

    /// From here on nobody can take or find a folio of the map.
    fn end_map(&self, map: &DeviceMap) -> Result<(), DeviceError> {
        map.end(|| match map.kind().is_held() {
            true => self.freeze_all(map.usable),
            false => Ok(()),
        })
    }

    /// Takes the map's own references to all frames, unless somebody has one too.
    fn freeze_all(&self, frames: PfnRange) -> Result<(), DeviceError> {
        let freeze = |&pfn: &Pfn| self.record(pfn).refs.freeze(1);
        let frozen = frames.iter().take_while(freeze).count() as u64;
        if frozen == frames.len() {
            return Ok(());
        }
        let back = PfnRange::new(frames.start, frames.start + frozen);
        back.iter().for_each(|pfn| self.record(pfn).refs.thaw(1));
        let used = frames.iter().filter(|&pfn| self.record(pfn).refs.get() > 1);
        Err(DeviceError::Busy(used.count().max(1) as u64))
    }
}

fn bytes_of(map: &DeviceMap) -> PhysRange {
    PhysRange::new(map.frames().start.base(), map.frames().end.base())
}
