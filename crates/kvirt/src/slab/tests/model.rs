//! Random operations next to a map from addresses to contents.

use core::ptr::NonNull;
use std::collections::BTreeMap;

use foliant_phys::testing;
use foliant_platform::CpuId;
use foliant_platform::testing::TestPlatform;

use super::super::{Debug, How, Slab};
use super::{audit, bytes, fill, gone, kfree, krealloc, strict};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

/// What the naive model knows: every object, its size and its byte.
#[derive(Default)]
struct Model(BTreeMap<NonNull<u8>, (usize, u8)>);

impl Model {
    fn add(&mut self, at: NonNull<u8>, size: usize, byte: u8) {
        let end = at.as_ptr().addr() + size;
        if let Some((next, _)) = self.0.range(at..).next() {
            assert!(end <= next.as_ptr().addr(), "overlaps the next object");
        }
        if let Some((last, (len, _))) = self.0.range(..at).next_back() {
            assert!(
                last.as_ptr().addr() + len <= at.as_ptr().addr(),
                "overlaps the last object"
            );
        }
        self.0.insert(at, (size, byte));
    }

    fn any(&self, random: &mut Random) -> Option<(NonNull<u8>, usize, u8)> {
        let nth = random.below(self.0.len().max(1));
        let (&at, &(size, byte)) = self.0.iter().nth(nth)?;
        assert!(
            bytes(at, size).iter().all(|&found| found == byte),
            "content changed"
        );
        Some((at, size, byte))
    }
}

fn run(slab: &Slab<TestPlatform>, cpus: u32, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut model = Model::default();
    for step in 0..steps {
        let cpu = CpuId(random.below(cpus as usize) as u32);
        let platform = slab.phys().platform().clone();
        let byte = step as u8;
        platform.on_cpu(cpu, || match random.below(20) {
            0..=9 => {
                let most = [16, 100, 1000, 9000, 30_000][random.below(5)];
                let size = 1 + random.below(most);
                if let Ok(at) = slab.kmalloc(size, How::NOWAIT) {
                    fill(at, size, byte);
                    model.add(at, size, byte);
                }
            }
            10..=16 => {
                if let Some((at, ..)) = model.any(&mut random) {
                    model.0.remove(&at);
                    kfree(slab, at);
                }
            }
            17 | 18 => {
                if let Some((at, size, old)) = model.any(&mut random) {
                    let wanted = 1 + random.below(2 * size + 20);
                    let new = krealloc(slab, at, wanted);
                    if let Ok(new) = new {
                        let kept = bytes(new, size.min(wanted));
                        assert!(kept.iter().all(|&found| found == old));
                        model.0.remove(&at);
                        fill(new, wanted, byte);
                        model.add(new, wanted, byte);
                    }
                }
            }
            _ => {
                slab.shrink();
            }
        });
        let census = audit(slab);
        let objects = model.0.iter().filter(|(at, _)| slab.ksize(**at) <= 8192).count();
        assert_eq!(census.in_use, objects as u64, "step {step}");
    }
    model.0.into_keys().for_each(|at| kfree(slab, at));
}

#[test]
fn random_operations_agree_with_a_map() {
    for (seed, cpus) in [(1, 1), (2, 3), (3, 9)] {
        for debug in [Debug::empty(), Debug::all()] {
            let phys = testing::boot_with(400, cpus, foliant_phys::BootOptions::test());
            let slab = Slab::new(phys, strict(debug)).unwrap();
            run(&slab, cpus, seed, 250);
            gone(slab);
        }
    }
}
