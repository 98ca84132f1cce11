//! Descriptor tables.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_platform::sync::SpinLock;
use foliant_units::Errno;

use crate::fs::OpenFile;

/// A reference to an open description.
pub type OpenRef<M> = Arc<OpenFile<M>>;

/// A descriptor: a small number, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fd(u32);

impl Fd {
    /// The descriptor that a program named.
    ///
    /// # Errors
    /// `BADF` if it is negative.
    pub fn new(raw: i32) -> Result<Self, Errno> {
        u32::try_from(raw).map(Self).map_err(|_| Errno::BADF)
    }

    /// The number.
    pub const fn raw(self) -> u32 {
        self.0
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

struct Slot<M: Mmu> {
    open: OpenRef<M>,
    cloexec: bool,
}

impl<M: Mmu> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self {
            open: self.open.clone(),
            cloexec: self.cloexec,
        }
    }
}

struct Slots<M: Mmu> {
    list: Vec<Option<Slot<M>>>,
    /// No slot below this is free.
    full_below: usize,
}

/// Which description each descriptor stands for.
///
/// # Locking
/// One spin lock; descriptions leave it before they are dropped, because
/// closing may sleep.
///
/// # Linux source concept
/// `struct files_struct`.
pub struct FdTable<M: Mmu> {
    slots: SpinLock<Slots<M>>,
}

impl<M: Mmu> FdTable<M> {
    /// No descriptors.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            slots: SpinLock::new(Slots {
                list: Vec::new(),
                full_below: 0,
            }),
        })
    }

    /// A copy that shares the descriptions.
    pub fn fork(&self) -> Arc<Self> {
        let slots = self.slots.lock();
        let copy = Slots {
            list: slots.list.clone(),
            full_below: slots.full_below,
        };
        Arc::new(Self {
            slots: SpinLock::new(copy),
        })
    }

    /// The description behind `fd`.
    ///
    /// # Errors
    /// `BADF`.
    pub fn get(&self, fd: Fd) -> Result<OpenRef<M>, Errno> {
        self.slots.lock().slot(fd).map(|slot| slot.open.clone())
    }

    /// Gives `open` the lowest free descriptor from `lowest` on.
    ///
    /// # Errors
    /// `MFILE` if none below `limit` is free.
    pub fn add(&self, open: OpenRef<M>, cloexec: bool, lowest: u32, limit: u64) -> Result<Fd, Errno> {
        let mut slots = self.slots.lock();
        let from = slots.full_below.max(lowest as usize);
        let at = (from..slots.list.len())
            .find(|&at| slots.list[at].is_none())
            .unwrap_or(slots.list.len().max(from));
        if at as u64 >= limit {
            return Err(Errno::MFILE);
        }
        if at >= slots.list.len() {
            slots.list.resize_with(at + 1, || None);
        }
        slots.list[at] = Some(Slot { open, cloexec });
        if from == slots.full_below {
            slots.full_below = at + 1;
        }
        Ok(Fd(at as u32))
    }

    /// Makes `fd` stand for `open`, and returns what it stood for before.
    ///
    /// # Errors
    /// `BADF` at or above `limit`.
    pub fn replace(
        &self,
        fd: Fd,
        open: OpenRef<M>,
        cloexec: bool,
        limit: u64,
    ) -> Result<Option<OpenRef<M>>, Errno> {
        if u64::from(fd.0) >= limit {
            return Err(Errno::BADF);
        }
        let mut slots = self.slots.lock();
        if fd.index() >= slots.list.len() {
            slots.list.resize_with(fd.index() + 1, || None);
        }
        let old = slots.list[fd.index()].replace(Slot { open, cloexec });
        Ok(old.map(|slot| slot.open))
    }

    /// Frees `fd` and returns what it stood for.
    ///
    /// # Errors
    /// `BADF`.
    pub fn remove(&self, fd: Fd) -> Result<OpenRef<M>, Errno> {
        let mut slots = self.slots.lock();
        let slot = slots
            .list
            .get_mut(fd.index())
            .and_then(Option::take)
            .ok_or(Errno::BADF)?;
        slots.full_below = slots.full_below.min(fd.index());
        Ok(slot.open)
    }

    /// Whether `fd` is closed by exec.
    ///
    /// # Errors
    /// `BADF`.
    pub fn cloexec(&self, fd: Fd) -> Result<bool, Errno> {
        self.slots.lock().slot(fd).map(|slot| slot.cloexec)
    }

    /// Sets whether `fd` is closed by exec.
    ///
    /// # Errors
    /// `BADF`.
    pub fn set_cloexec(&self, fd: Fd, cloexec: bool) -> Result<(), Errno> {
        let mut slots = self.slots.lock();
        let slot = slots
            .list
            .get_mut(fd.index())
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)?;
        slot.cloexec = cloexec;
        Ok(())
    }

    /// Frees all descriptors from `first` to `last` and returns what they stood for.
    pub fn remove_range(&self, first: u32, last: u32) -> Vec<OpenRef<M>> {
        self.take_if(|at, _| (first..=last).contains(&at))
    }

    /// Marks all descriptors from `first` to `last` as closed by exec.
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        let mut slots = self.slots.lock();
        for (at, slot) in slots.list.iter_mut().enumerate() {
            if let (Some(slot), true) = (slot, (first..=last).contains(&(at as u32))) {
                slot.cloexec = true;
            }
        }
    }

    /// Frees what exec closes and returns what it stood for.
    pub fn take_cloexec(&self) -> Vec<OpenRef<M>> {
        self.take_if(|_, cloexec| cloexec)
    }

    fn take_if(&self, wanted: impl Fn(u32, bool) -> bool) -> Vec<OpenRef<M>> {
        let mut slots = self.slots.lock();
        let mut taken = Vec::new();
        let mut lowest = slots.full_below;
        for (at, place) in slots.list.iter_mut().enumerate() {
            if place.as_ref().is_some_and(|slot| wanted(at as u32, slot.cloexec)) {
                taken.extend(place.take().map(|slot| slot.open));
                lowest = lowest.min(at);
            }
        }
        slots.full_below = lowest;
        taken
    }

    /// The descriptors in use, ascending, with their descriptions.
    pub fn list(&self) -> Vec<(Fd, OpenRef<M>)> {
        let slots = self.slots.lock();
        let used = slots.list.iter().enumerate();
        used.filter_map(|(at, slot)| slot.as_ref().map(|slot| (Fd(at as u32), slot.open.clone())))
            .collect()
    }

    /// Slots that the table has room for (`FDSize` of `/proc/PID/status`).
    pub fn capacity(&self) -> usize {
        self.slots.lock().list.len().next_power_of_two().max(64)
    }
}

impl<M: Mmu> Slots<M> {
    fn slot(&self, fd: Fd) -> Result<&Slot<M>, Errno> {
        self.list
            .get(fd.index())
            .and_then(Option::as_ref)
            .ok_or(Errno::BADF)
    }
}
