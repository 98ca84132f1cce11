//! The texts of `/proc`, written and read back.
//!
//! Each type is one file (or one entry of one) as data. [`Text::write`] gives
//! the bytes that Linux 6.18 gives for that data, spaces included; `parse`
//! takes them apart again. What was parsed from a kernel is written back to
//! equal bytes.

mod buddyinfo;
mod counters;
mod escape;
mod extfrag;
mod iomem;
mod labelled;
mod maps;
mod meminfo;
mod memory_block;
mod pagetypeinfo;
mod pid_stat;
mod scan;
mod slabinfo;
mod smaps;
mod smaps_usage;
mod statm;
mod status;
mod status_value;
mod vm_flags;
mod vmallocinfo;
mod vmstat;
mod write;
mod zoneinfo;

pub use buddyinfo::{Buddyinfo, BuddyinfoZone};
pub use counters::Counters;
pub use extfrag::{Extfrag, ExtfragKind, ExtfragZone};
pub use iomem::{Iomem, IomemEntry};
pub use maps::{Device, MapsEntry, MapsPerms, parse_maps};
pub use meminfo::Meminfo;
pub use memory_block::{MemoryBlock, OnlineType, block_size_bytes};
pub use pagetypeinfo::{MOBILITY_NAMES, MobilityRow, Pagetypeinfo, ZoneBlocks};
pub use pid_stat::PidStat;
pub use scan::ParseError;
pub use slabinfo::{Slabinfo, SlabinfoCache};
pub use smaps::{Smaps, SmapsRollup, parse_smaps};
pub use smaps_usage::SmapsUsage;
pub use statm::Statm;
pub use status::Status;
pub use status_value::{
    AddressMask, Capabilities, Groups, Ids, Kib, NamespaceIds, SignalQueue, TaskState, Umask,
};
pub use vm_flags::VmFlagNames;
pub use vmallocinfo::{VmallocArea, VmallocMarks, VmallocUse, Vmallocinfo};
pub use vmstat::vmstat_of_zeroes;
pub use write::Text;
pub use zoneinfo::{Pageset, Zoneinfo, ZoneinfoPopulated, ZoneinfoZone};
