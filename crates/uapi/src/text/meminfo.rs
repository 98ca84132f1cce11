//! `/proc/meminfo`.

use super::labelled::{labelled, parse_line};
use super::scan::{ParseError, ascii, expected, lines};

labelled! {
    /// The machine's memory, KiB. A line that is `None` belongs to something
    /// that the kernel was built without.
    Meminfo {
        mem_total = "MemTotal", " kB";
        mem_free = "MemFree", " kB";
        mem_available = "MemAvailable", " kB";
        buffers = "Buffers", " kB";
        cached = "Cached", " kB";
        swap_cached = "SwapCached", " kB";
        active = "Active", " kB";
        inactive = "Inactive", " kB";
        active_anon = "Active(anon)", " kB";
        inactive_anon = "Inactive(anon)", " kB";
        active_file = "Active(file)", " kB";
        inactive_file = "Inactive(file)", " kB";
        unevictable = "Unevictable", " kB";
        mlocked = "Mlocked", " kB";
        high_total = "HighTotal", " kB";
        high_free = "HighFree", " kB";
        low_total = "LowTotal", " kB";
        low_free = "LowFree", " kB";
        swap_total = "SwapTotal", " kB";
        swap_free = "SwapFree", " kB";
        zswap = "Zswap", " kB";
        zswapped = "Zswapped", " kB";
        dirty = "Dirty", " kB";
        writeback = "Writeback", " kB";
        anon_pages = "AnonPages", " kB";
        mapped = "Mapped", " kB";
        shmem = "Shmem", " kB";
        k_reclaimable = "KReclaimable", " kB";
        slab = "Slab", " kB";
        s_reclaimable = "SReclaimable", " kB";
        s_unreclaim = "SUnreclaim", " kB";
        kernel_stack = "KernelStack", " kB";
        shadow_call_stack = "ShadowCallStack", " kB";
        page_tables = "PageTables", " kB";
        sec_page_tables = "SecPageTables", " kB";
        nfs_unstable = "NFS_Unstable", " kB";
        bounce = "Bounce", " kB";
        writeback_tmp = "WritebackTmp", " kB";
        commit_limit = "CommitLimit", " kB";
        committed_as = "Committed_AS", " kB";
        vmalloc_total = "VmallocTotal", " kB";
        vmalloc_used = "VmallocUsed", " kB";
        vmalloc_chunk = "VmallocChunk", " kB";
        percpu = "Percpu", " kB";
        early_memtest_bad = "EarlyMemtestBad", " kB";
        hardware_corrupted = "HardwareCorrupted", " kB";
        anon_huge_pages = "AnonHugePages", " kB";
        shmem_huge_pages = "ShmemHugePages", " kB";
        shmem_pmd_mapped = "ShmemPmdMapped", " kB";
        file_huge_pages = "FileHugePages", " kB";
        file_pmd_mapped = "FilePmdMapped", " kB";
        cma_total = "CmaTotal", " kB";
        cma_free = "CmaFree", " kB";
        unaccepted = "Unaccepted", " kB";
        balloon = "Balloon", " kB";
        gpu_active = "GPUActive", " kB";
        gpu_reclaim = "GPUReclaim", " kB";
        huge_pages_total = "HugePages_Total", "";
        huge_pages_free = "HugePages_Free", "";
        huge_pages_rsvd = "HugePages_Rsvd", "";
        huge_pages_surp = "HugePages_Surp", "";
        hugepagesize = "Hugepagesize", " kB";
        hugetlb = "Hugetlb", " kB";
        direct_map_4k = "DirectMap4k", " kB";
        direct_map_2m = "DirectMap2M", " kB";
        direct_map_4m = "DirectMap4M", " kB";
        direct_map_1g = "DirectMap1G", " kB";
    }
}

impl Meminfo {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else, or a label that Linux 6.18 does not have.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut meminfo = Self::default();
        for line in lines(text) {
            let (label, value) = parse_line(ascii(line, "a label")?)?;
            if !meminfo.take(label, value) {
                return Err(expected("a known label"));
            }
        }
        Ok(meminfo)
    }
}
