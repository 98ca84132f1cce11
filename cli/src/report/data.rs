//! What memory did during a run, as plain data.
//!
//! Everything here is counted below, by machine, kernel and memory manager;
//! this is the form in which it is shown and kept. Field names are those of
//! the JSON report.

use serde::Serialize;

/// One run of a program.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// Wall time, milliseconds.
    pub(crate) elapsed_ms: u64,
    /// The machine it ran on.
    pub(crate) machine: Machine,
    /// Processes that ran, in the order of their start.
    pub(crate) processes: Vec<Process>,
    /// Processes that are not listed, because there were too many.
    pub(crate) processes_left_out: u64,
    /// Faults of all processes, by kind.
    pub(crate) faults: Vec<Count>,
    /// Faults that filled a block of private memory, or had no memory for one,
    /// by its size; empty where no size is switched on.
    pub(crate) blocks: Vec<Count>,
    /// The machine's zones at the end.
    pub(crate) zones: Vec<Zone>,
    /// Who had the machine's frames when the first process was about to end, the
    /// most frames first; empty unless that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) owners: Vec<Owned>,
    /// Cached translations.
    pub(crate) tlb: Vec<Count>,
    /// System calls of memory management.
    pub(crate) memory_calls: Vec<Count>,
    /// All other system calls.
    pub(crate) other_calls: Vec<Count>,
    /// What the program asked for and the machine does not have.
    pub(crate) unsupported: Vec<Count>,
    /// Resident memory and faults over time.
    pub(crate) timeline: Vec<Moment>,
    /// Translations that were to be explained.
    pub(crate) walks: Vec<Walk>,
    /// Whether all frames came back, if that was asked for.
    #[serde(flatten)]
    pub(crate) audit: Option<Audit>,
}

/// How the page tables of a process translate an address.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Walk {
    /// The address as it was asked for.
    pub(crate) asked: String,
    /// The process.
    pub(crate) pid: u64,
    /// Its name.
    pub(crate) name: String,
    /// The address.
    pub(crate) address: u64,
    /// The mapping that it is in, as `/proc/PID/maps` has it.
    pub(crate) mapping: String,
    /// The tables.
    pub(crate) tables: String,
    /// The entries read, from the top, under a heading.
    pub(crate) steps: Vec<String>,
    /// What reading, writing and fetching come to.
    pub(crate) accesses: Vec<String>,
    /// Who has the frame.
    pub(crate) frame: Option<String>,
}

/// What became of the machine's frames once all programs were gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Audit {
    /// Frame allocations from the start of the program: what `--fail-frame` counts.
    pub(crate) allocations: u64,
    /// Frames that nobody is left to give back.
    pub(crate) leaked_frames: u64,
    /// The same by what they were for.
    pub(crate) leaked: Vec<Count>,
    /// Tasks that did not end when they were killed.
    pub(crate) stuck_tasks: u64,
    /// Rules of the frame allocator that were broken.
    pub(crate) audit: Vec<String>,
}

impl Audit {
    /// Whether everything is as it must be.
    pub(crate) fn is_clean(&self) -> bool {
        self.leaked_frames == 0 && self.stuck_tasks == 0 && self.audit.is_empty()
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// With this code.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

impl Default for Ending {
    fn default() -> Self {
        Self::Exited(0)
    }
}

/// The machine.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// RAM, bytes.
    pub(crate) ram: u64,
    /// CPUs.
    pub(crate) cpus: u32,
    /// Where the randomness of layouts started; `None` without randomness.
    pub(crate) seed: Option<u64>,
    /// Memory that could be plugged in, and what was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hotplug: Option<Hotplug>,
}

/// Memory that can be plugged in, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hotplug {
    /// Its physical address.
    pub(crate) start: u64,
    /// All of it.
    pub(crate) size: u64,
    /// What was there at the end.
    pub(crate) plugged: u64,
    /// What of that was in use.
    pub(crate) online: u64,
}

/// A name and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    /// What.
    pub(crate) name: String,
    /// How often.
    pub(crate) count: u64,
}

impl Count {
    /// A name and how often.
    pub(crate) fn new(name: impl Into<String>, count: u64) -> Self {
        Self {
            name: name.into(),
            count,
        }
    }
}

/// Resident memory, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Resident {
    /// Private memory.
    pub(crate) anon: u64,
    /// Pages of files.
    pub(crate) file: u64,
    /// Shared memory.
    pub(crate) shmem: u64,
}

impl Resident {
    /// All of it.
    pub(crate) fn total(self) -> u64 {
        self.anon + self.file + self.shmem
    }
}

/// One process.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Process {
    /// Its id on the machine.
    pub(crate) pid: u64,
    /// Its name.
    pub(crate) name: String,
    /// Most memory at one time; the parts may have peaked at different times.
    pub(crate) peak: Resident,
    /// Most memory at one time, all sorts together, KiB.
    pub(crate) peak_total: u64,
    /// Memory at the end.
    pub(crate) last: Resident,
    /// Minor faults.
    pub(crate) minor_faults: u64,
    /// Major faults.
    pub(crate) major_faults: u64,
    /// Page tables without the top one, KiB (`VmPTE`).
    pub(crate) table_kib: u64,
    /// Most of them at one time, KiB.
    pub(crate) peak_table_kib: u64,
    /// Page tables by level, the lowest first: PTE, PMD, PUD.
    pub(crate) tables: Vec<Count>,
    /// Its mappings at the end, ascending.
    pub(crate) areas: Vec<Area>,
    /// Mappings that were gone before the end, by what they mapped; without addresses.
    pub(crate) gone: Vec<Area>,
}

/// One mapping.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Area {
    /// First address.
    pub(crate) start: u64,
    /// First address past the end.
    pub(crate) end: u64,
    /// `rwxp`.
    pub(crate) perms: String,
    /// File, `[heap]` and the like; empty for none.
    pub(crate) name: String,
    /// Resident, KiB.
    pub(crate) resident: u64,
    /// Faults by kind; kinds that did not happen are left out.
    pub(crate) faults: Vec<Count>,
}

impl Area {
    /// Size, KiB.
    pub(crate) fn size(&self) -> u64 {
        (self.end - self.start) / 1024
    }
}

/// One zone of the machine's memory.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Zone {
    /// Node.
    pub(crate) node: u32,
    /// Name.
    pub(crate) name: String,
    /// Frames of the allocator.
    pub(crate) managed: u64,
    /// Free frames.
    pub(crate) free: u64,
    /// Free blocks by order.
    pub(crate) free_by_order: Vec<u64>,
}

/// Frames that were allocated alike.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Owned {
    /// The process that they were allocated for; 0 before there was one.
    pub(crate) pid: u64,
    /// The name of its task then.
    pub(crate) name: String,
    /// What for.
    pub(crate) purpose: String,
    /// By which call or event.
    pub(crate) doing: String,
    /// Allocations.
    pub(crate) folios: u64,
    /// Frames in them.
    pub(crate) frames: u64,
}

/// The state at one time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Moment {
    /// Milliseconds since the start.
    pub(crate) ms: u64,
    /// Resident memory of all processes.
    pub(crate) resident: Resident,
    /// Faults so far.
    pub(crate) faults: u64,
}
