//! The sums that `smaps` and `smaps_rollup` share.

use super::labelled::labelled;

labelled! {
    /// What a mapping uses, in KiB. The three `Pss_` parts stand only in
    /// `smaps_rollup`.
    SmapsUsage {
        rss = "Rss", " kB";
        pss = "Pss", " kB";
        pss_dirty = "Pss_Dirty", " kB";
        pss_anon = "Pss_Anon", " kB";
        pss_file = "Pss_File", " kB";
        pss_shmem = "Pss_Shmem", " kB";
        shared_clean = "Shared_Clean", " kB";
        shared_dirty = "Shared_Dirty", " kB";
        private_clean = "Private_Clean", " kB";
        private_dirty = "Private_Dirty", " kB";
        referenced = "Referenced", " kB";
        anonymous = "Anonymous", " kB";
        ksm = "KSM", " kB";
        lazy_free = "LazyFree", " kB";
        anon_huge_pages = "AnonHugePages", " kB";
        shmem_pmd_mapped = "ShmemPmdMapped", " kB";
        file_pmd_mapped = "FilePmdMapped", " kB";
        shared_hugetlb = "Shared_Hugetlb", " kB";
        private_hugetlb = "Private_Hugetlb", " kB";
        swap = "Swap", " kB";
        swap_pss = "SwapPss", " kB";
        locked = "Locked", " kB";
    }
}

impl SmapsUsage {
    /// Takes one line if it belongs here.
    pub(super) fn accept(&mut self, label: &str, value: u64) -> bool {
        self.take(label, value)
    }

    /// Everything that `smaps` shows, at zero.
    pub fn of_zeroes() -> Self {
        let mut usage = Self::of_zeroes_rollup();
        usage.pss_anon = None;
        usage.pss_file = None;
        usage.pss_shmem = None;
        usage
    }

    /// Everything that `smaps_rollup` shows, at zero.
    pub fn of_zeroes_rollup() -> Self {
        Self {
            rss: Some(0),
            pss: Some(0),
            pss_dirty: Some(0),
            pss_anon: Some(0),
            pss_file: Some(0),
            pss_shmem: Some(0),
            shared_clean: Some(0),
            shared_dirty: Some(0),
            private_clean: Some(0),
            private_dirty: Some(0),
            referenced: Some(0),
            anonymous: Some(0),
            ksm: Some(0),
            lazy_free: Some(0),
            anon_huge_pages: Some(0),
            shmem_pmd_mapped: Some(0),
            file_pmd_mapped: Some(0),
            shared_hugetlb: Some(0),
            private_hugetlb: Some(0),
            swap: Some(0),
            swap_pss: Some(0),
            locked: Some(0),
        }
    }
}
