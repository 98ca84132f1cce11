//! Foliant's allocator under the laws.

use std::sync::Arc;

use foliant_phys::{AllocRequest, Frame, Mobility, Owner, Phys, ZoneKind, testing};
use foliant_platform::Platform;
use foliant_units::{Order, Pfn};

use super::law::Frames;
use crate::random::Random;

/// A machine's allocator, asked for every mobility in turn.
#[derive(Debug)]
pub struct Foliant<P: Platform> {
    phys: Arc<Phys<P>>,
    random: Random,
}

impl<P: Platform> Foliant<P> {
    /// Over a machine from which nothing is allocated.
    pub fn new(phys: Arc<Phys<P>>) -> Self {
        Self {
            phys,
            random: Random::new(0),
        }
    }
}

impl<P: Platform> Frames for Foliant<P> {
    fn managed(&self) -> Vec<Pfn> {
        let mut frames = Vec::new();
        let everything = AllocRequest::movable(Owner::Test)
            .zone(ZoneKind::Movable)
            .silent();
        while let Ok(frame) = self.phys.alloc(everything) {
            frames.push(frame.into_pfn());
        }
        for &pfn in &frames {
            drop(self.phys.adopt(pfn));
        }
        frames.sort();
        frames
    }

    fn alloc(&mut self, order: Order) -> Option<Pfn> {
        let mobility = Mobility::ALL[self.random.below(3) as usize];
        let request = AllocRequest {
            mobility,
            ..AllocRequest::movable(Owner::Test).silent()
        };
        self.phys.alloc(request.order(order)).ok().map(Frame::into_pfn)
    }

    fn free(&mut self, pfn: Pfn, order: Order) {
        let frame = self.phys.adopt(pfn);
        assert_eq!(frame.order(), order);
        drop(frame);
    }

    fn audit(&self, allocated: u64) {
        assert_eq!(testing::audit(&self.phys).allocated, allocated);
    }
}
