//! Texts about the machine's memory and time.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use foliant_platform::Nanos;
use foliant_uapi::text::{Counters, Meminfo, Text as _, vmstat_of_zeroes};
use foliant_units::PAGE_SIZE;

use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::procfs::zones;

/// KiB of a page.
const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;
/// Nanoseconds of a second and of a clock tick.
const SECOND: u64 = 1_000_000_000;
const TICK: u64 = 10_000_000;

/// A file of `/proc` that this machine writes itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Meminfo,
    Vmstat,
    Zoneinfo,
    Buddyinfo,
    Pagetypeinfo,
    Slabinfo,
    Vmallocinfo,
    Stat,
    Uptime,
    Loadavg,
    Swaps,
}

impl Text {
    pub(super) const EVERY: [Self; 11] = [
        Self::Meminfo,
        Self::Vmstat,
        Self::Zoneinfo,
        Self::Buddyinfo,
        Self::Pagetypeinfo,
        Self::Slabinfo,
        Self::Vmallocinfo,
        Self::Stat,
        Self::Uptime,
        Self::Loadavg,
        Self::Swaps,
    ];

    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Meminfo => b"meminfo",
            Self::Vmstat => b"vmstat",
            Self::Zoneinfo => b"zoneinfo",
            Self::Buddyinfo => b"buddyinfo",
            Self::Pagetypeinfo => b"pagetypeinfo",
            Self::Slabinfo => b"slabinfo",
            Self::Vmallocinfo => b"vmallocinfo",
            Self::Stat => b"stat",
            Self::Uptime => b"uptime",
            Self::Loadavg => b"loadavg",
            Self::Swaps => b"swaps",
        }
    }

    /// Permissions: what tells addresses or how memory is used is root's.
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Pagetypeinfo | Self::Slabinfo | Self::Vmallocinfo => 0o400,
            _ => 0o444,
        }
    }

    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Self::EVERY.into_iter().find(|text| text.name() == name)
    }

    pub(super) fn make<M: UserMachine>(self, kernel: &Kernel<M>) -> Vec<u8> {
        match self {
            Self::Meminfo => meminfo(kernel).to_bytes(),
            Self::Vmstat => vmstat(kernel).to_bytes(),
            Self::Zoneinfo => zones::zoneinfo(kernel.memory().phys(), &vmstat(kernel)).to_bytes(),
            Self::Buddyinfo => zones::buddyinfo(kernel.memory().phys()).to_bytes(),
            Self::Pagetypeinfo => zones::pagetypeinfo(kernel.memory().phys()).to_bytes(),
            Self::Slabinfo => kernel.machine().kernel_memory().slabinfo.to_bytes(),
            Self::Vmallocinfo => kernel.machine().kernel_memory().vmallocinfo.to_bytes(),
            Self::Stat => stat(kernel).into_bytes(),
            Self::Uptime => uptime(kernel).into_bytes(),
            Self::Loadavg => {
                let tasks = kernel.tree().task_count();
                alloc::format!("0.00 0.00 0.00 1/{tasks} {tasks}\n").into_bytes()
            }
            Self::Swaps => b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec(),
        }
    }
}

/// Sums over all processes, pages.
#[derive(Default)]
struct Sums {
    anon: u64,
    mapped: u64,
    shmem: u64,
    locked: u64,
    table_kib: u64,
    minor: u64,
    major: u64,
}

fn sums<M: UserMachine>(kernel: &Kernel<M>) -> Sums {
    let processes: Vec<_> = kernel
        .tree()
        .nodes()
        .map(|(_, node)| node.process.clone())
        .collect();
    let mut sums = Sums::default();
    for space in processes.iter().filter_map(|process| process.any_task()?.space()) {
        let count = space.count();
        sums.anon += count.rss.anon;
        sums.mapped += count.rss.file + count.rss.shmem;
        sums.shmem += count.rss.shmem;
        sums.locked += count.locked_vm;
        sums.table_kib += space.table_bytes() / 1024;
        sums.minor += count.minor_faults;
        sums.major += count.major_faults;
    }
    sums
}

fn meminfo<M: UserMachine>(kernel: &Kernel<M>) -> Meminfo {
    let stats = kernel.memory().phys().stats();
    let sums = sums(kernel);
    let kib = |pages: u64| Some(pages * PAGE_KIB);
    let used = stats.total.saturating_sub(stats.free);
    let tables = sums.table_kib / PAGE_KIB;
    let own = kernel.machine().kernel_memory();
    // What is neither private memory nor tables nor the kernel's is cached files.
    let cached = used.saturating_sub(sums.anon + tables + own.frames());
    let zero = Some(0);
    let mut meminfo = Meminfo {
        mem_total: kib(stats.total),
        mem_free: kib(stats.free),
        mem_available: kib(stats.free + cached.saturating_sub(sums.mapped)),
        buffers: zero,
        cached: kib(cached),
        swap_cached: zero,
        active: kib(sums.anon),
        inactive: kib(cached),
        active_anon: kib(sums.anon),
        inactive_anon: zero,
        active_file: zero,
        inactive_file: kib(cached),
        unevictable: kib(sums.locked),
        mlocked: kib(sums.locked),
        swap_total: zero,
        swap_free: zero,
        dirty: zero,
        writeback: zero,
        anon_pages: kib(sums.anon),
        mapped: kib(sums.mapped),
        shmem: kib(sums.shmem),
        page_tables: Some(sums.table_kib),
        sec_page_tables: zero,
        nfs_unstable: zero,
        bounce: zero,
        writeback_tmp: zero,
        commit_limit: kib(stats.total / 2),
        committed_as: kib(sums.anon),
        vmalloc_total: Some(34_359_738_367),
        anon_huge_pages: zero,
        shmem_huge_pages: zero,
        shmem_pmd_mapped: zero,
        file_huge_pages: zero,
        file_pmd_mapped: zero,
        huge_pages_total: zero,
        huge_pages_free: zero,
        huge_pages_rsvd: zero,
        huge_pages_surp: zero,
        hugepagesize: Some(2048),
        hugetlb: zero,
        ..Meminfo::default()
    };
    own.tell_meminfo(&mut meminfo);
    meminfo
}

fn vmstat<M: UserMachine>(kernel: &Kernel<M>) -> Counters {
    let stats = kernel.memory().phys().stats();
    let sums = sums(kernel);
    let tables = sums.table_kib / PAGE_KIB;
    let own = kernel.machine().kernel_memory();
    let used = sums.anon + tables + own.frames();
    let files = stats.total.saturating_sub(stats.free + used);
    let mut counters = vmstat_of_zeroes();
    own.tell_vmstat(&mut counters);
    for (name, value) in [
        ("nr_free_pages", stats.free),
        ("nr_active_anon", sums.anon),
        ("nr_zone_active_anon", sums.anon),
        ("nr_inactive_file", files),
        ("nr_zone_inactive_file", files),
        ("nr_anon_pages", sums.anon),
        ("nr_mapped", sums.mapped),
        ("nr_file_pages", files),
        ("nr_shmem", sums.shmem),
        ("nr_mlock", sums.locked),
        ("nr_page_table_pages", tables),
        ("pgfault", sums.minor + sums.major),
        ("pgmajfault", sums.major),
    ] {
        counters.set(name, value);
    }
    for &event in foliant_phys::Event::ALL {
        // Not all that is counted has a line.
        counters.set(event.name(), kernel.memory().phys().events(event));
    }
    counters
}

fn uptime<M: UserMachine>(kernel: &Kernel<M>) -> String {
    let hundredths = |time: Nanos| alloc::format!("{}.{:02}", time.0 / SECOND, time.0 % SECOND / TICK);
    let up = kernel.uptime();
    alloc::format!("{} {}\n", hundredths(up), hundredths(Nanos(0)))
}

fn stat<M: UserMachine>(kernel: &Kernel<M>) -> String {
    let processes: Vec<_> = kernel
        .tree()
        .nodes()
        .map(|(_, node)| node.process.clone())
        .collect();
    let mut times = [0; 10];
    for process in &processes {
        let usage = kernel.process_usage(process);
        times[0] += usage.times.user.0 / TICK;
        times[2] += usage.times.system.0 / TICK;
    }
    let cpus = u64::from(kernel.machine().cpus());
    times[3] = (kernel.uptime().0 / TICK * cpus).saturating_sub(times[0] + times[2]);
    let line = |name: &str, times: &[u64; 10], share: u64| {
        let words = times.map(|time| (time / share).to_string());
        alloc::format!("{name} {}\n", words.join(" "))
    };
    let mut text = line("cpu ", &times, 1);
    for cpu in 0..cpus {
        text += &line(&alloc::format!("cpu{cpu}"), &times, cpus);
    }
    let booted = kernel.machine().realtime().0.saturating_sub(kernel.uptime().0) / SECOND;
    let count = kernel.tree().task_count();
    let zeroes = ["0"; 10].join(" ");
    text += &alloc::format!(
        "intr 0\nctxt 0\nbtime {booted}\nprocesses {count}\nprocs_running 1\nprocs_blocked 0\nsoftirq 0 {zeroes}\n"
    );
    text
}
