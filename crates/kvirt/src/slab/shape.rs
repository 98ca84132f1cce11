//! How a slab is cut into objects.

use foliant_units::{Order, PAGE_SIZE};

use super::spec::{CacheSpec, Debug, SlabError, Typesafe};

/// Slabs of an order above this are made only for objects that need it.
///
/// # Linux source concept
/// `slub_max_order`, which is `PAGE_ALLOC_COSTLY_ORDER`.
const MAX_ORDER: Order = match Order::new(3) {
    Some(order) => order,
    None => Order::ZERO,
};

/// Bits of free objects that fit into the frame's record; those of slabs with
/// more objects lie at the slab's end.
pub(crate) const RECORD_WORDS: usize = 3;

/// Bytes that say who allocated or freed an object.
pub(crate) const TRACK: usize = 24;

/// Red zones are at least this long.
const RED_ZONE: usize = 8;

/// The geometry of a cache: decided once, then only read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Bytes that the user may use.
    pub(crate) size: usize,
    /// From one object to the next.
    pub(crate) stride: usize,
    /// Frames of a slab.
    pub(crate) order: Order,
    /// Objects of a slab.
    pub(crate) objects: u32,
    /// Words of free bits.
    pub(crate) words: usize,
    /// Where the words lie in the slab, if not in the record.
    pub(crate) map: Option<usize>,
    /// Bytes before the object in its stride.
    pub(crate) left: usize,
    /// Where, from the stride's start, the bytes after the object end.
    pub(crate) right_end: usize,
    /// Where, from the stride's start, it says who allocated and freed.
    pub(crate) tracks: Option<usize>,
    /// What is looked for.
    pub(crate) debug: Debug,
    /// The objects without what is before the first.
    pub(crate) grid: Grid,
}

/// Objects that lie one stride apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Grid {
    objects: u32,
    /// The odd part of the stride times this is one.
    inverse: u32,
    /// How often two divides the stride.
    twos: u32,
}

impl Grid {
    fn new(stride: usize, objects: u32) -> Self {
        let twos = stride.trailing_zeros();
        let odd = (stride >> twos) as u32;
        // Each step doubles the bits that are right, of which odd itself has three.
        let mut inverse = odd;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        Self {
            objects,
            inverse,
            twos,
        }
    }

    /// Which object begins `offset` bytes behind the first, if one does.
    ///
    /// What is multiplied and turned is the quotient if the stride divides the
    /// offset, and larger than every quotient if not: one comparison asks both
    /// whether an object begins there and whether there are so many.
    #[inline(always)]
    pub(crate) fn index_of(self, offset: usize) -> Option<u32> {
        let product = (offset as u32).wrapping_mul(self.inverse);
        let index = product.rotate_right(self.twos);
        (index < self.objects).then_some(index)
    }
}

impl Shape {
    /// The geometry for a cache on a machine of `cpus` CPUs.
    pub(crate) fn new(spec: &CacheSpec, cpus: u32) -> Result<Self, SlabError> {
        if spec.size == 0 {
            return Err(SlabError::NoSize);
        }
        let align = spec.align.max(align_of::<usize>());
        if !align.is_power_of_two() || align > PAGE_SIZE {
            return Err(SlabError::BadAlign);
        }
        if spec.size > Order::PMD.bytes() {
            return Err(SlabError::TooLarge);
        }
        let debug = effective(spec);
        let zones = debug.contains(Debug::RED_ZONES);
        let left = if zones { align } else { 0 };
        let right_end = if zones {
            (left + spec.size + RED_ZONE).next_multiple_of(8)
        } else {
            left + spec.size
        };
        let owner = debug.contains(Debug::OWNER);
        let tracks = owner.then(|| right_end.next_multiple_of(8));
        let end = tracks.map_or(right_end, |at| at + 2 * TRACK);
        let stride = end.next_multiple_of(align);

        let order = slab_order(stride, cpus).ok_or(SlabError::TooLarge)?;
        let (objects, map) = cut(order, stride);
        Ok(Self {
            size: spec.size,
            stride,
            order,
            objects,
            words: objects.div_ceil(64) as usize,
            map,
            left,
            right_end,
            tracks,
            debug,
            grid: Grid::new(stride, objects),
        })
    }

    /// Which object lies `offset` bytes into the slab; `None` if that is not
    /// where one begins.
    #[inline]
    pub(crate) fn index_of(&self, offset: usize) -> Option<u32> {
        self.grid.index_of(offset.wrapping_sub(self.left))
    }

    /// How far into the slab an object begins.
    #[inline]
    pub(crate) fn offset_of(&self, index: u32) -> usize {
        index as usize * self.stride + self.left
    }

    /// The free bits of a word when all objects are free.
    pub(crate) fn all_free(&self, word: usize) -> u64 {
        match (self.objects as usize).saturating_sub(word * 64) {
            0 => 0,
            bits @ 1..=63 => (1 << bits) - 1,
            _ => u64::MAX,
        }
    }
}

/// What is looked for: an object that outlives its freeing, or is to be found
/// as it was constructed, is not poisoned.
fn effective(spec: &CacheSpec) -> Debug {
    let keeps_content = spec.constructor.is_some() || matches!(spec.typesafe, Typesafe::Rcu(_));
    if keeps_content {
        spec.debug.difference(Debug::POISON)
    } else {
        spec.debug
    }
}

/// The order of slabs of objects of `stride` bytes: large enough for some
/// objects for each CPU and for little waste, not larger than it must be.
///
/// # Linux source concept
/// `calculate_order()`.
fn slab_order(stride: usize, cpus: u32) -> Option<Order> {
    let wanted = 4 * (u32::BITS - cpus.leading_zeros() + 1) as usize;
    let most = (MAX_ORDER.bytes() / stride).max(1);
    let frames = |bytes: usize| Order::covering(bytes.div_ceil(PAGE_SIZE) as u64);
    let least = frames(wanted.min(most) * stride)?;

    let wastes_at_most = |part: usize| {
        Order::all()
            .filter(|order| (least..=MAX_ORDER).contains(order))
            .find(|order| order.bytes() % stride <= order.bytes() / part)
    };
    [16, 8, 4, 2]
        .into_iter()
        .find_map(wastes_at_most)
        .or_else(|| frames(stride))
}

/// How many objects a slab has, and where its free bits lie.
fn cut(order: Order, stride: usize) -> (u32, Option<usize>) {
    let objects = order.bytes() / stride;
    if objects <= RECORD_WORDS * 64 {
        return (objects as u32, None);
    }
    // Each object costs its bytes and a bit; round the bits up to words.
    let map = |objects: usize| order.bytes() - objects.div_ceil(64) * 8;
    let fitting = (1..=objects)
        .rev()
        .find(|&objects| objects * stride <= map(objects));
    let objects = fitting.unwrap_or(1);
    (objects as u32, Some(map(objects)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shape(size: usize, align: usize, debug: Debug) -> Shape {
        Shape::new(&CacheSpec::new("test", size).align(align).debug(debug), 2).unwrap()
    }

    #[test]
    fn every_object_is_found_at_its_start_and_nowhere_else() {
        let sizes = (1..=600).chain([696, 1000, 1024, 2048, 4095, 4096, 4288, 8192, 20000, 1 << 21]);
        for size in sizes {
            for debug in [Debug::empty(), Debug::all()] {
                let shape = shape(size, 8, debug);
                for index in 0..shape.objects {
                    let offset = shape.offset_of(index);
                    assert_eq!(shape.index_of(offset), Some(index));
                    assert_eq!(shape.index_of(offset + 1), None);
                    assert_eq!(shape.index_of(offset.wrapping_sub(1)), None);
                }
                let end = shape.objects as usize * shape.stride;
                assert!(end <= shape.map.unwrap_or(shape.order.bytes()), "{shape:?}");
                assert_eq!(shape.index_of(end + shape.left), None);
            }
        }
    }

    #[test]
    fn no_other_offset_is_taken_for_an_object() {
        for size in [8, 24, 64, 96, 192, 696, 1000, 4288, 8192, 20000] {
            for debug in [Debug::empty(), Debug::all()] {
                let shape = shape(size, 8, debug);
                for offset in 0..shape.order.bytes() {
                    let index = shape.index_of(offset);
                    let behind = offset.checked_sub(shape.left);
                    let expected = behind.filter(|behind| behind.is_multiple_of(shape.stride));
                    let expected = expected.map(|behind| (behind / shape.stride) as u32);
                    assert_eq!(index, expected.filter(|&index| index < shape.objects));
                }
            }
        }
    }

    #[test]
    fn slabs_on_two_cpus_are_as_large_as_linux_makes_them() {
        let linux = [
            (32, 128, 1),
            (64, 64, 1),
            (96, 42, 1),
            (192, 21, 1),
            (256, 16, 1),
            (512, 16, 2),
            (696, 23, 4),
            (1024, 16, 4),
            (2048, 16, 8),
            (4096, 8, 8),
            (4288, 7, 8),
            (8192, 4, 8),
        ];
        for (size, objects, frames) in linux {
            let shape = shape(size, 8, Debug::empty());
            assert_eq!((shape.objects, shape.order.frames()), (objects, frames), "{size}");
        }
    }

    #[test]
    fn small_objects_leave_room_for_their_bits() {
        let shape = shape(8, 8, Debug::empty());
        assert_eq!((shape.objects, shape.words, shape.map), (504, 8, Some(4032)));
    }

    #[test]
    fn alignment_holds_with_red_zones() {
        for align in [8, 16, 64, 512, 4096] {
            let shape = shape(align, align, Debug::all());
            assert!((0..shape.objects).all(|index| shape.offset_of(index).is_multiple_of(align)));
        }
    }

    #[test]
    fn impossible_objects_are_refused() {
        let new = |size, align| Shape::new(&CacheSpec::new("test", size).align(align), 1);
        assert_eq!(new(0, 8), Err(SlabError::NoSize));
        assert_eq!(new(8, 24), Err(SlabError::BadAlign));
        assert_eq!(new(8, 8192), Err(SlabError::BadAlign));
        assert_eq!(new(usize::MAX, 8), Err(SlabError::TooLarge));
    }
}
