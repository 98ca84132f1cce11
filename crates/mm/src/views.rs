//! What `/proc/PID/maps` and `smaps` say of a space, as data.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use foliant_platform::Mmu;
use foliant_uapi::Prot;
use foliant_uapi::text::{Device, MapsEntry, MapsPerms, Smaps, SmapsRollup, SmapsUsage, VmFlagNames};
use foliant_units::{PAGE_SHIFT, PAGE_SIZE, VirtRange};

use crate::flags::VmFlags;
use crate::layout::Layout;
use crate::pages::Residency;
use crate::space::Space;
use crate::vma::{Backing, Source, Vma};

/// KiB of a page.
const PAGE_KIB: u64 = PAGE_SIZE as u64 >> 10;

impl<B: Backing> Vma<B> {
    /// Its line of `/proc/PID/maps`. The layout says which one is the heap,
    /// and which one the first stack.
    ///
    /// # Linux source concept
    /// `show_map_vma()`, `get_vma_name()`.
    pub fn maps_entry(&self, layout: &Layout) -> MapsEntry<'static> {
        let mut entry = MapsEntry {
            range: self.range.bytes(),
            perms: MapsPerms {
                prot: Prot::from_bits_retain((self.flags & VmFlags::ACCESS).bits()),
                shared: self.flags.contains(VmFlags::MAYSHARE),
            },
            offset: 0,
            device: Device::default(),
            inode: 0,
            name: Cow::Owned(self.shown_name(layout).into_bytes()),
        };
        if let Source::Object(mapping) = &self.source {
            let (major, minor) = mapping.label.device();
            entry.device = Device { major, minor };
            entry.inode = mapping.label.inode();
            // What the kernel itself provides has no file, and so no offset.
            if (entry.device, entry.inode) != (Device::default(), 0) {
                entry.offset = self.pgoff << PAGE_SHIFT;
            }
        }
        entry
    }

    fn shown_name(&self, layout: &Layout) -> String {
        if let Source::Object(mapping) = &self.source {
            if let Some(name) = &self.name {
                return format!("[anon_shmem:{name}]");
            }
            let mut path = String::new();
            // Writing into a string cannot fail.
            let _ = mapping.label.write_path(&mut path);
            return path;
        }
        let bytes = self.range.bytes();
        if bytes.start < layout.heap.end && bytes.end > layout.heap.start {
            return "[heap]".into();
        }
        if bytes.start <= layout.stack_start && bytes.end >= layout.stack_start {
            return "[stack]".into();
        }
        self.name
            .as_ref()
            .map_or_else(String::new, |name| format!("[anon:{name}]"))
    }
}

impl<P: Mmu> Space<P> {
    /// `/proc/PID/maps`, from one moment.
    pub fn maps(&self) -> Vec<MapsEntry<'static>> {
        let layout = self.layout();
        self.vmas().iter().map(|vma| vma.maps_entry(&layout)).collect()
    }

    /// The record of one VMA in `/proc/PID/smaps`.
    ///
    /// # Linux source concept
    /// `show_smap()`.
    pub fn smaps(&self, vma: &Vma<P>, layout: &Layout) -> Smaps<'static> {
        Smaps {
            entry: vma.maps_entry(layout),
            size: vma.range.len() * PAGE_KIB,
            kernel_page_size: PAGE_KIB,
            mmu_page_size: PAGE_KIB,
            usage: usage(&self.residency(vma), SmapsUsage::of_zeroes()),
            thp_eligible: u64::from(!self.thp_orders(vma).is_empty()),
            protection_key: None,
            flags: VmFlagNames::from_bits_truncate(vma.flags.bits()),
        }
    }

    /// `/proc/PID/smaps_rollup`.
    pub fn smaps_rollup(&self) -> SmapsRollup<'static> {
        let tree = self.vmas();
        let sum = tree
            .iter()
            .fold(Residency::default(), |sum, vma| sum.plus(&self.residency(vma)));
        let start = tree.iter().next().map(|vma| vma.range.bytes().start);
        let end = tree.iter().last().map(|vma| vma.range.bytes().end);
        SmapsRollup {
            entry: MapsEntry {
                range: VirtRange::new(start.unwrap_or_default(), end.unwrap_or_default()),
                perms: MapsPerms {
                    prot: Prot::NONE,
                    shared: false,
                },
                offset: 0,
                device: Device::default(),
                inode: 0,
                name: Cow::Borrowed(b"[rollup]"),
            },
            usage: usage(&sum, SmapsUsage::of_zeroes_rollup()),
        }
    }
}

/// Bytes to KiB, for the lines that `shape` has.
fn usage(of: &Residency, shape: SmapsUsage) -> SmapsUsage {
    let kib = |bytes: u64| Some(bytes >> 10);
    // Proportional shares are summed in 1/4096 of a byte.
    let share = |parts: u64| Some(parts >> 22);
    let part = |wanted: Option<u64>, parts: u64| wanted.and(share(parts));
    SmapsUsage {
        rss: kib(of.rss),
        pss: share(of.pss),
        pss_dirty: share(of.pss_dirty),
        pss_anon: part(shape.pss_anon, of.pss_anon),
        pss_file: part(shape.pss_file, of.pss_file),
        pss_shmem: part(shape.pss_shmem, of.pss_shmem),
        shared_clean: kib(of.shared_clean),
        shared_dirty: kib(of.shared_dirty),
        private_clean: kib(of.private_clean),
        private_dirty: kib(of.private_dirty),
        referenced: kib(of.referenced),
        anonymous: kib(of.anonymous),
        lazy_free: kib(of.lazy_free),
        swap: kib(of.swap),
        swap_pss: share(of.swap_pss),
        locked: share(of.pss_locked),
        ..shape
    }
}
