//! The model: a vector of booleans.

use foliant_units::{Order, Pfn};

use super::law::Frames;

/// Which frames are free, one boolean each; takes the lowest that fits.
#[derive(Clone, Debug)]
pub struct Naive {
    free: Vec<bool>,
}

impl Naive {
    /// Frames `0..count`, all free.
    pub fn new(count: usize) -> Self {
        Self {
            free: vec![true; count],
        }
    }

    /// Whether some aligned run of `order` is free.
    pub fn has(&self, order: Order) -> bool {
        self.find(order).is_some()
    }

    /// Takes a folio that another allocator chose.
    ///
    /// # Panics
    /// If any of its frames is not free.
    pub fn take(&mut self, pfn: Pfn, order: Order) {
        let frames = pfn.index()..pfn.index() + order.frames() as usize;
        assert!(
            self.free[frames.clone()].iter().all(|&free| free),
            "{pfn:?}/{order:?} was given out twice"
        );
        self.free[frames].fill(false);
    }

    /// How many frames are free.
    pub fn count(&self) -> u64 {
        self.free.iter().filter(|&&free| free).count() as u64
    }

    fn find(&self, order: Order) -> Option<usize> {
        let size = order.frames() as usize;
        (0..self.free.len()).step_by(size).find(|&at| {
            self.free
                .get(at..at + size)
                .is_some_and(|run| run.iter().all(|&free| free))
        })
    }
}

impl Frames for Naive {
    fn managed(&self) -> Vec<Pfn> {
        (0..self.free.len() as u64).map(Pfn::new).collect()
    }

    fn alloc(&mut self, order: Order) -> Option<Pfn> {
        let at = self.find(order)?;
        let pfn = Pfn::new(at as u64);
        self.take(pfn, order);
        Some(pfn)
    }

    fn free(&mut self, pfn: Pfn, order: Order) {
        self.free[pfn.index()..pfn.index() + order.frames() as usize].fill(true);
    }

    fn audit(&self, allocated: u64) {
        assert_eq!(self.count() + allocated, self.free.len() as u64);
    }
}
