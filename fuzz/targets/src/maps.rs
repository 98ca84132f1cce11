//! Maps as firmware hands them over, through the early boot to the zones.

use foliant_phys::boot::{
    BiosData, CrashKernel, Dialect, EarlyBoot, KernelImage, Log, MachineKind, Reservations,
};
use foliant_phys::{BootError, BootOptions, MemoryMap};
use foliant_soft::{SoftConfig, SoftMachine};
use foliant_units::{Pfn, PhysAddr, PhysRange};

use crate::input::Input;

/// Addresses of the machine's RAM.
const RAM: u64 = 1 << 40;
/// Usable RAM whose records the host can afford.
const MOST_RAM: u64 = 1 << 30;
const ROOM: usize = 256;
type Map = MemoryMap<ROOM>;

pub(crate) fn maps(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    let what = Wishes::read(&mut input);
    let entries = input.rest();
    let map = match how % 3 {
        0 => Map::from_e820(entries).ok(),
        1 => Map::from_pvh(entries).ok(),
        _ => Map::from_log(&String::from_utf8_lossy(entries)).ok(),
    };
    let Some(map) = map else { return };
    cleaned(&map);
    let kind = if how & 8 == 0 {
        MachineKind::X86_64 { physical_bits: 46 }
    } else {
        MachineKind::I386 {
            pae: how & 16 != 0,
            lowmem: Pfn::new(0x3_7ffe),
        }
    };
    if let Err(why) = boot(&map, kind, &what, how) {
        assert!(!why.to_string().is_empty(), "an error says why");
    }
}

/// What is to be reserved.
struct Wishes {
    kernel: (u64, u64),
    initrd: (u64, u64),
    bios: (u16, u16),
    crash: (u64, Option<u64>),
    limit: u64,
}

impl Wishes {
    fn read(input: &mut Input<'_>) -> Self {
        Self {
            kernel: (input.u64(), input.u64()),
            initrd: (input.u64(), input.u64()),
            bios: (input.u16(), input.u16()),
            crash: (input.u64(), (input.u8() & 1 != 0).then(|| input.u64())),
            limit: input.u64(),
        }
    }
}

/// The cleaned map is sorted, and says of every byte what the map says.
fn cleaned(map: &Map) {
    let mut before = 0;
    for piece in map.pieces() {
        assert!(
            !piece.range.is_empty() && piece.range.start.raw() >= before,
            "{piece:?}"
        );
        before = piece.range.end.raw();
        let of = |entry: &&foliant_phys::boot::MapEntry| entry.range.contains(piece.range.start);
        let most = map
            .entries()
            .iter()
            .filter(of)
            .map(|entry| entry.kind.code())
            .max();
        assert_eq!(most, Some(piece.kind.code()), "{piece:?}");
    }
    if let Ok(clean) = map.sanitised() {
        let again = clean.sanitised().map(|again| again.entries().to_vec());
        assert_eq!(
            again.as_deref(),
            Ok(clean.entries()),
            "cleaning twice changes nothing"
        );
    }
}

fn boot(map: &Map, kind: MachineKind, wishes: &Wishes, how: u8) -> Result<(), BootError> {
    let mut out = String::new();
    let mut log = Log::new(&mut out);
    let config = SoftConfig {
        ram: RAM,
        cpus: 1,
        tags: 8,
        ..SoftConfig::default()
    };
    let Ok(soft) = SoftMachine::try_new(config) else {
        return Ok(());
    };
    let mut early = EarlyBoot::new(&soft, kind, Dialect::Linux618, map, &mut log)?;
    if how & 32 != 0 {
        early.limit_memory(wishes.limit, &mut log)?;
    }
    let usable: u64 = early
        .map()
        .pieces()
        .filter(|piece| piece.kind == foliant_phys::boot::RegionKind::Usable)
        .map(|piece| piece.range.len())
        .fold(0, u64::saturating_add);
    if early.map().end_of_ram(Pfn::new(u64::MAX)).base().raw() > RAM || usable > MOST_RAM {
        return Ok(());
    }
    let range = |(start, size): (u64, u64)| PhysRange::sized(PhysAddr::new(start), size);
    let what = Reservations {
        kernel: KernelImage::sized(PhysAddr::new(wishes.kernel.0), wishes.kernel.1),
        initrd: range(wishes.initrd),
        bios: BiosData {
            conventional_kib: wishes.bios.0,
            ebda_segment: wishes.bios.1,
        },
    };
    // Both orders are used: Linux reserves first.
    if how & 64 != 0 {
        early.reserve(&what)?;
        early.add_ram()?;
    } else {
        early.add_ram()?;
        early.reserve(&what)?;
    }
    early.announce_initrd(&what, &mut log);
    early.announce_zones(&mut log);
    early.announce_gap(&mut log);
    let crash = CrashKernel {
        size: wishes.crash.0,
        at: wishes.crash.1.map(PhysAddr::new),
    };
    early.reserve_crash_kernel(crash, &mut log);
    assert!(early.memblock.audit(), "memblock's lists are in order");
    let free: u64 = early.memblock.free_ranges().map(|free| free.range.len()).sum();
    let phys = soft.take_over(early.memblock, BootOptions::default())?;
    assert!(phys.stats().free * 4096 <= free + (1 << 20));
    if phys.stats().total < 1 << 14 {
        let mut violations = 0;
        phys.audit(&mut |_| violations += 1);
        assert_eq!(violations, 0, "every frame is somewhere once");
    }
    Ok(())
}
