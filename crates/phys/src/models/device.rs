//! Folios of a device whose driver goes.

use foliant_platform::sync::Arc;
use foliant_units::{Order, Pfn, PfnRange};
use loom::thread;

use super::holds_and_catches;
use super::world::Word;
use crate::device::{DeviceKind, DeviceMap, DeviceMemory};
use crate::mutant::Mutant;
use crate::record::{FrameRecord, Left, Owner};

/// One folio, and its bytes.
struct Device {
    map: DeviceMap,
    record: FrameRecord,
    content: Word,
}

impl Device {
    fn new() -> Arc<Self> {
        let frames = PfnRange::new(Pfn::ZERO, Pfn::new(1));
        Arc::new(Self {
            map: DeviceMap::new(DeviceMemory::new(frames, DeviceKind::FsDax), frames),
            record: FrameRecord::default(),
            content: Word::default(),
        })
    }

    /// Takes the folio if nobody has it, uses it and gives it back.
    fn visit(&self) {
        let begin = || {
            let idle = self.record.is_idle();
            if idle {
                self.record.begin(Order::ZERO, Owner::Device);
                self.record.refs.make_findable();
            }
            idle
        };
        if self.map.take(begin) {
            self.content.write();
            assert_eq!(self.record.owner(), Owner::Device, "its record was cleared");
            if self.record.refs.put() == Left::None {
                assert!(self.record.end_of_use().is_some());
                self.map.give();
            }
        }
    }
}

#[test]
fn loom_memory_of_a_device_ends_when_nobody_has_it() {
    holds_and_catches(
        || {
            let one = Device::new();
            let two = one.clone();
            let other = thread::spawn(move || two.visit());
            one.visit();
            if one.map.end(|| Ok(())).is_ok() {
                // It is the driver's again, who does what he likes.
                one.content.write();
                assert!(one.map.end(|| Ok(())).is_err(), "it ended twice");
            }
            other.join().unwrap();
        },
        &[Mutant::EndTaken, Mutant::TakeEnded, Mutant::TakeHalfEnded],
    );
}
