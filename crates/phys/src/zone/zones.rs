//! All zones of a machine, and in which order to ask them.

use foliant_units::{Pfn, PfnRange};

use super::distances::Distances;
use super::kind::{ZONE_KINDS, ZoneKind, ZoneLayout};
use super::levels::Shape;
use super::policy::Policy;
use super::watermark::{lowmem_reserve, min_free_kib, watermarks};
use super::zone_state::Zone;
use crate::alloc::{NodeChoice, RingSize};
use crate::boot::{BootOptions, NodeId};

/// How many nodes a machine may have.
pub const MAX_NODES: usize = 8;
/// How many zones that makes.
pub(crate) const MAX_ZONES: usize = MAX_NODES * ZONE_KINDS;

/// Number of a zone among those of the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ZoneId(pub(crate) u8);

impl ZoneId {
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The zones of a machine: those that have RAM, by node and then by kind.
#[derive(Debug)]
pub struct Zones {
    list: [Zone; MAX_ZONES],
    len: usize,
    layout: ZoneLayout,
    /// For each node, the zones in the order in which to ask them.
    fallback: [[ZoneId; MAX_ZONES]; MAX_NODES],
}

impl Zones {
    pub(crate) fn new() -> Self {
        Self {
            list: core::array::from_fn(|_| Zone::new(ZoneId(0), ZoneKind::Normal, NodeId(0))),
            len: 0,
            layout: ZoneLayout::X86_64,
            fallback: [[ZoneId(0); MAX_ZONES]; MAX_NODES],
        }
    }

    /// Every zone with its number.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (ZoneId, &Zone)> {
        self.list[..self.len]
            .iter()
            .enumerate()
            .map(|(at, zone)| (ZoneId(at as u8), zone))
    }

    /// One zone.
    #[inline]
    pub fn get(&self, id: ZoneId) -> &Zone {
        &self.list[id.index()]
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none: never, after boot.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which kinds such a machine has, with or without memory.
    pub fn layout(&self) -> ZoneLayout {
        self.layout
    }

    /// The zone of this kind and node, if it has memory.
    pub fn find(&self, kind: ZoneKind, node: NodeId) -> Option<(ZoneId, &Zone)> {
        self.iter()
            .find(|(_, zone)| (zone.kind(), zone.node()) == (kind, node))
    }

    /// Finds or makes the zone of this kind and node.
    pub(crate) fn obtain(&mut self, kind: ZoneKind, node: NodeId) -> ZoneId {
        let known = self
            .iter()
            .find(|(_, zone)| (zone.kind(), zone.node()) == (kind, node))
            .map(|(id, _)| id);
        known.unwrap_or_else(|| {
            let id = ZoneId(self.len as u8);
            self.list[self.len] = Zone::new(id, kind, node);
            self.len += 1;
            id
        })
    }

    /// Adds RAM to a zone.
    pub(crate) fn grow(&self, id: ZoneId, frames: PfnRange) {
        self.list[id.index()].grow(frames);
    }

    /// The zones that may serve a request, in order.
    ///
    /// # Linux source concept
    /// `struct zonelist`: own node first, then by distance;
    /// in each, the highest allowed zone first.
    #[inline]
    pub(crate) fn for_request(
        &self,
        highest: ZoneKind,
        node: NodeChoice,
        local: NodeId,
    ) -> impl Iterator<Item = (ZoneId, &Zone)> {
        let (first, only) = match node {
            NodeChoice::Local => (local, None),
            NodeChoice::Prefer(node) => (node, None),
            NodeChoice::Only(node) => (node, Some(node)),
        };
        let order = &self.fallback[first.index() % MAX_NODES][..self.len];
        order
            .iter()
            .map(|&id| (id, self.get(id)))
            .filter(move |(_, zone)| zone.kind() <= highest && only.is_none_or(|node| node == zone.node()))
    }

    /// The zone that CPUs of a node ask first: the first that has memory.
    pub(crate) fn first(&self, highest: ZoneKind, node: NodeId) -> Option<ZoneId> {
        let mut zones = self.for_request(highest, NodeChoice::Prefer(node), node);
        let zone = zones.find(|(_, zone)| zone.managed() > 0);
        zone.map(|(id, _)| id)
    }

    /// Says which kinds there may be and in which order to ask, once all zones
    /// are made.
    pub(crate) fn arrange(&mut self, options: &BootOptions) {
        self.layout = options.zones;
        self.settle_fallback(&options.distances);
    }

    /// Works out everything that depends on the sizes of all zones.
    ///
    /// # Linux source concept
    /// `init_per_zone_wmark_min()`.
    pub(crate) fn settle(&self, policy: &Policy, cpus: u32) {
        let lowmem: u64 = self
            .iter()
            .filter(|(_, zone)| zone.kind().is_low())
            .map(|(_, zone)| zone.managed())
            .sum();
        let populated = self.iter().filter(|(_, zone)| zone.managed() > 0).count() as u64;
        let min_free = min_free_kib(policy.min_free, lowmem, populated);
        for node in 0..MAX_NODES {
            let node = NodeId(node as u8);
            let managed = ZoneKind::ALL.map(|kind| self.managed_of(kind, node));
            let reserve = lowmem_reserve(managed, ratios(policy.reserve_ratio));
            for (_, zone) in self.iter().filter(|(_, zone)| zone.node() == node) {
                let frames = zone.managed();
                let marks = watermarks(zone.kind(), frames, lowmem, min_free, policy.watermark_scale);
                zone.settle(Shape {
                    marks,
                    boost_limit: marks.high * policy.watermark_boost / 10_000,
                    reserve: reserve[zone.kind().index()],
                    fold_at: (frames / (64 * u64::from(cpus))).clamp(1, 32_768) as i64,
                    rings: RingSize::for_batch(batch(frames, cpus), batch_of_blocks(frames, cpus)),
                });
            }
        }
    }

    fn managed_of(&self, kind: ZoneKind, node: NodeId) -> u64 {
        let zone = self
            .iter()
            .find(|(_, zone)| (zone.kind(), zone.node()) == (kind, node));
        zone.map_or(0, |(_, zone)| zone.managed())
    }

    fn settle_fallback(&mut self, distances: &Distances) {
        for node in 0..MAX_NODES {
            let nodes = distances.order(NodeId(node as u8), MAX_NODES);
            let place = |of: NodeId| nodes.iter().position(|&node| node == of);
            let mut order: [ZoneId; MAX_ZONES] = core::array::from_fn(|at| ZoneId(at as u8));
            order[..self.len].sort_by_key(|&id| {
                let zone = self.get(id);
                (place(zone.node()), core::cmp::Reverse(zone.kind()))
            });
            self.fallback[node] = order;
        }
    }
}

/// The ratios of all kinds: nobody who could go higher than Movable needs less.
fn ratios(of_low: [u64; 4]) -> [u64; ZONE_KINDS] {
    let mut all = [0; ZONE_KINDS];
    all[..of_low.len()].copy_from_slice(&of_low);
    all
}

/// How many frames a CPU takes at once: one word of a line, less in a machine
/// where the rings of all CPUs would then hold a good part of memory.
fn batch(managed: u64, cpus: u32) -> u32 {
    (managed / (u64::from(cpus) * 64)).clamp(1, 64) as u32
}

/// How many blocks a CPU takes at once; what the rings of all CPUs hold of one
/// mobility is at most an eighth of memory.
fn batch_of_blocks(managed: u64, cpus: u32) -> u32 {
    (managed / 512 / (u64::from(cpus) * 16)).clamp(1, 8) as u32
}

/// The first frame of the Movable zone, for `bytes` from the top of RAM.
pub(crate) fn movable_start(memory: impl DoubleEndedIterator<Item = PfnRange>, bytes: u64) -> Pfn {
    const LARGEST_BLOCK: u64 = 1024;
    let mut left = bytes >> 12;
    if left == 0 {
        return Pfn::new(u64::MAX);
    }
    for range in memory.rev() {
        if range.len() >= left {
            return Pfn::new(range.end.raw() - left).align_up(LARGEST_BLOCK);
        }
        left -= range.len();
    }
    Pfn::new(LARGEST_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_takes_a_word_of_frames_at_once_and_less_where_memory_is_short() {
        assert_eq!(batch(1 << 18, 4), 64);
        assert_eq!(batch(4096, 4), 16);
        assert_eq!(batch(64, 8), 1);
        let blocks = |managed| batch_of_blocks(managed, 4);
        assert_eq!([1 << 13, 1 << 17, 1 << 20].map(blocks), [1, 4, 8]);
        let of_order_9 = RingSize::for_batch(64, 6)[4];
        assert_eq!((of_order_9.batch, of_order_9.limit), (6, 11));
    }
}
