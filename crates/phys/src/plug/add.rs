//! Memory that comes.

use foliant_platform::Platform;
use foliant_platform::sync::atomic::Ordering;
use foliant_units::{Order, PfnRange, PhysRange};

use super::error::AddError;
use super::online::OnlineTo;
use crate::alloc::{AllocRequest, BLOCK, NodeChoice, block_of};
use crate::boot::NodeId;
use crate::frame::Frame;
use crate::phys::Phys;
use crate::ram::Found;
use crate::record::Owner;
use crate::sections::{Origin, Part, SECTION, SectionInfo, frames_of, section_of};

/// Where the records of new frames lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordsIn {
    /// In memory that is there already: all of the new memory can be used, and
    /// 2 MiB of the old for each section cannot.
    #[default]
    OldMemory,
    /// In the first frames of each section itself, so that the memory brings
    /// its records along however little is free (`memmap_on_memory`).
    NewMemory,
}

/// Memory to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewMemory {
    /// Whole sections.
    pub frames: PfnRange,
    /// The node they belong to.
    pub node: NodeId,
    /// Where their records lie.
    pub records: RecordsIn,
    /// All its bytes are zero now.
    pub is_zeroed: bool,
}

impl NewMemory {
    /// Memory of node 0, of any content, with its records in old memory.
    pub const fn new(frames: PfnRange) -> Self {
        Self {
            frames,
            node: NodeId(0),
            records: RecordsIn::OldMemory,
            is_zeroed: false,
        }
    }
}

impl<P: Platform> Phys<P> {
    /// Adds memory that the machine hands over with this call: RAM of the
    /// platform from now on. It is offline, unless the machine puts new memory
    /// online [by itself](Phys::set_auto_online).
    ///
    /// # Errors
    /// [`AddError`]; everything is as before then.
    ///
    /// # Locking
    /// The caller holds no spin lock: it may wait for memory.
    ///
    /// # Linux source concept
    /// `add_memory()`.
    pub fn add_memory(&self, new: NewMemory) -> Result<(), AddError> {
        let _one = self.plugging.lock();
        self.check_new(new)?;
        let mapper = self.mapper();
        let range = PhysRange::new(new.frames.start.base(), new.frames.end.base());
        if let Some(mapper) = &mapper {
            mapper.map(range).map_err(AddError::NotMapped)?;
        }
        let sections = section_of(new.frames.start)..section_of(new.frames.end);
        for section in sections.clone() {
            if let Err(error) = self.give_section(section, new) {
                (sections.start..section).for_each(|section| self.forget_section(section));
                if let Some(mapper) = mapper {
                    mapper.unmap(range);
                }
                return Err(error);
            }
        }
        if let Some(to) = self.auto_online() {
            for section in sections {
                // Memory that does not go online is added all the same.
                let _stays_offline = self.online_unlocked(frames_of(section).start, to);
            }
        }
        Ok(())
    }

    fn check_new(&self, new: NewMemory) -> Result<(), AddError> {
        let whole = [new.frames.start, new.frames.end];
        if new.frames.is_empty() || !whole.iter().all(|pfn| pfn.is_aligned_to(SECTION)) {
            return Err(AddError::Unaligned);
        }
        if section_of(new.frames.end) > self.sections.len() {
            return Err(AddError::TooHigh);
        }
        if new.node.0 >= self.sections.nodes() {
            return Err(AddError::NoNode);
        }
        let range = PhysRange::new(new.frames.start.base(), new.frames.end.base());
        if !self.platform.has_ram(range) {
            return Err(AddError::NotThisRam);
        }
        let taken = |section| {
            let first = block_of(frames_of(section).start);
            let blocks = &self.blocks.tags[first..first + SECTION as usize / BLOCK];
            let used = blocks.iter().any(|tag| tag.zone().is_some());
            used || self.sections.info(section).origin != Origin::Absent
        };
        match (section_of(new.frames.start)..section_of(new.frames.end)).any(taken) {
            true => Err(AddError::Exists),
            false => Ok(()),
        }
    }

    /// Gives a section its records and lines.
    fn give_section(&self, section: usize, new: NewMemory) -> Result<(), AddError> {
        let frames = frames_of(section);
        let on_itself = new.records == RecordsIn::NewMemory;
        let (records, found) = match on_itself {
            true if new.is_zeroed => (None, Found::Zeroes),
            true => (None, Found::Garbage),
            false => (Some(self.table_memory(Order::PMD, new.node)?), Found::Zeroes),
        };
        let lines = self.table_memory(ORDER_OF_LINES, new.node)?;
        let home = records.as_ref().map_or(frames.start, Frame::pfn);
        if let Some(mapper) = self.mapper() {
            let home = PfnRange::new(home, home + BLOCK as u64);
            mapper.map_records(frames, home).map_err(AddError::NotMapped)?;
        }
        let lines = lines.into_pfn();
        let records = records.map_or(frames.start, Frame::into_pfn);

        let homes = [(records, BLOCK as u64), (lines, 1), (lines + 1, 1)];
        for (part, (start, len)) in Part::ALL.into_iter().zip(homes) {
            let home = PfnRange::new(start, start + len);
            self.sections.set_home(section, part, home);
            let found = if part == Part::Records {
                found
            } else {
                Found::Zeroes
            };
            // SAFETY:
            // 1. The allocator gave the frames, or the machine handed them over
            //    with `add_memory`; a piece of records is a block.
            // 2. They are marked as tables, which no `Content` reaches, and are
            //    neither freed nor given out until the section is forgotten.
            // 3. Allocated frames were asked for zeroed, and of others the
            //    machine says so.
            unsafe { self.give_part(section, part, home, found) };
        }
        // Their own records are there only now.
        for part in Part::ALL {
            self.own_tables().mark(self.sections.home(section, part));
        }
        self.note_section(section);
        let zeroed = new.is_zeroed && self.blocks.ram_was_zeroed;
        for block in block_of(frames.start)..block_of(frames.end) {
            self.blocks.whole.forget_stale(block);
            if !zeroed {
                self.blocks.used[block].mark(0, Order::PMD);
            }
        }
        self.sections.set(
            section,
            SectionInfo {
                origin: Origin::Added,
                offline: true,
                on_itself,
                node: new.node,
            },
        );
        Ok(())
    }

    /// Memory for tables, which must not move.
    pub(crate) fn table_memory(&self, order: Order, node: NodeId) -> Result<Frame<'_, P>, AddError> {
        let request = AllocRequest::kernel(Owner::Records)
            .order(order)
            .zeroed()
            .silent();
        let request = request.node(NodeChoice::Prefer(node));
        self.alloc(request).map_err(|_| AddError::OutOfMemory)
    }

    /// What becomes of memory that is added: offline, or online right away.
    ///
    /// # Linux source concept
    /// `/sys/devices/system/memory/auto_online_blocks`.
    pub fn auto_online(&self) -> Option<OnlineTo> {
        match self.auto_online.load(Ordering::Relaxed) {
            1 => Some(OnlineTo::Default),
            2 => Some(OnlineTo::Kernel),
            3 => Some(OnlineTo::Movable),
            _ => None,
        }
    }

    /// See [`auto_online`](Phys::auto_online).
    pub fn set_auto_online(&self, to: Option<OnlineTo>) {
        let word = match to {
            None => 0,
            Some(OnlineTo::Default) => 1,
            Some(OnlineTo::Kernel) => 2,
            Some(OnlineTo::Movable) => 3,
        };
        self.auto_online.store(word, Ordering::Relaxed);
    }
}

/// One frame for the lines of a section, one for those of what was used.
const ORDER_OF_LINES: Order = match Order::new(1) {
    Some(order) => order,
    None => Order::ZERO,
};
