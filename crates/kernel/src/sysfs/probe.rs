//! `/sys/devices/system/memory/probe`: tells the kernel of memory that came.

use foliant_phys::{NewMemory, Phys, SECTION, SectionState};
use foliant_platform::Platform;
use foliant_units::{Errno, PAGE_SHIFT, PfnRange, PhysAddr, PhysRange};

/// Bytes of a block.
const BLOCK: u64 = SECTION << PAGE_SHIFT;

/// Adds the block whose address is `text`, out of the memory that the machine
/// keeps ready in `hotplug`.
///
/// # Errors
/// `INVAL` for what is no address, no beginning of a block, or no memory; `EXIST`
/// for memory that is there already; those of [`Phys::add_memory`].
///
/// # Linux source concept
/// `probe_store()`. Differs: Linux believes that there is memory.
pub(super) fn probe<P: Platform>(phys: &Phys<P>, hotplug: PhysRange, text: &[u8]) -> Result<(), Errno> {
    let at = address(text)?;
    let end = at.checked_add(BLOCK).ok_or(Errno::INVAL)?;
    if !at.is_multiple_of(BLOCK) {
        return Err(Errno::INVAL);
    }
    let range = PhysRange::new(PhysAddr::new(at), PhysAddr::new(end));
    let frames = PfnRange::new(range.start.frame(), range.end.frame());
    if phys.section_state(frames.start) != SectionState::Absent {
        return Err(Errno::EXIST);
    }
    if !hotplug.covers(range) {
        return Err(Errno::INVAL);
    }
    // Nobody has used it: it can be added once, and does not go.
    let new = NewMemory {
        is_zeroed: true,
        ..NewMemory::new(frames)
    };
    phys.add_memory(new).map_err(|error| error.errno())
}

/// A number as `kstrtoull(text, 0)` takes it.
fn address(text: &[u8]) -> Result<u64, Errno> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    let text = text.strip_prefix('+').unwrap_or(text);
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Errno::INVAL);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Errno::RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use foliant_phys::{BootOptions, MemoryMap, OnlineTo};
    use foliant_platform::testing::TestPlatform;
    use foliant_units::Pfn;

    const MIB: u64 = 1 << 20;

    fn mib(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start * MIB), PhysAddr::new(end * MIB))
    }

    fn machine() -> Phys<TestPlatform> {
        let options = BootOptions {
            hotplug_below: 640 * MIB,
            ..BootOptions::test()
        };
        let map = MemoryMap::ram(mib(0, 256));
        Phys::boot(TestPlatform::new(640 << 20, 1), &map, options).unwrap()
    }

    #[test]
    fn numbers_are_read_as_linux_reads_them() {
        assert_eq!(address(b"0x8000000\n"), Ok(128 * MIB));
        assert_eq!(address(b"134217728"), Ok(128 * MIB));
        assert_eq!(address(b"01000000000\n"), Ok(128 * MIB));
        assert_eq!(address(b"+0\n"), Ok(0));
        for bad in [
            &b""[..],
            b"\n",
            b"0x",
            b" 1",
            b"1 ",
            b"-1",
            b"08",
            b"1\n\n",
            b"+-1",
        ] {
            assert_eq!(address(bad), Err(Errno::INVAL), "{bad:?}");
        }
        assert_eq!(address(b"0x10000000000000000"), Err(Errno::RANGE));
    }

    #[test]
    fn a_block_is_added_once_and_only_where_the_machine_has_memory() {
        let phys = machine();
        let spare = mib(384, 640);
        let add = |text: &str| probe(&phys, spare, text.as_bytes());
        let (first, before) = (Pfn::new(384 * 256), phys.stats());
        assert_eq!(add("0x18001000"), Err(Errno::INVAL), "not at a block");
        assert_eq!(add("0x8000000"), Err(Errno::EXIST), "RAM of boot");
        assert_eq!(add("0x10000000"), Err(Errno::INVAL), "nothing is there");
        assert_eq!(add("0x28000000"), Err(Errno::INVAL), "behind the end");
        assert_eq!(phys.section_state(first), SectionState::Absent);
        assert_eq!(add("0x18000000\n"), Ok(()));
        assert_eq!(phys.section_state(first), SectionState::Offline);
        assert_eq!(add("0x18000000\n"), Err(Errno::EXIST));
        let taken = before.free - phys.stats().free;
        assert_eq!(phys.stats().total, before.total, "it is offline");
        assert_eq!(phys.frames_for_added(), taken, "its records lie in old memory");
        assert_eq!(phys.added_sections().collect::<Vec<_>>(), [first]);

        phys.set_auto_online(Some(OnlineTo::Movable));
        assert_eq!(add("0x20000000"), Ok(()));
        let second = Pfn::new(512 * 256);
        assert_eq!(phys.section_state(second), SectionState::Online);
        assert_eq!(phys.stats().total, before.total + SECTION);
    }
}
