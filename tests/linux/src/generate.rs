//! Random sequences, the same for the same seed.

use crate::op::{Behind, FILE_PAGES, Op};

const PAGE: u64 = 4096;
/// Pages that the operations concentrate on.
const PAGES: u64 = 40;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that `seed` decides.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A sequence of `count` operations; `anywhere` mappings only where both sides
/// have the same layout.
pub fn sequence(seed: u64, count: usize, anywhere: bool) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    // Some sequences stay with few kinds, so that states pile up.
    let kinds: Vec<u64> = (0..rng.pick(&[3, 6, 20])).map(|_| rng.below(100)).collect();
    (0..count)
        .map(|at| {
            if anywhere && rng.one_in(12) {
                return map_anywhere(&mut rng);
            }
            let kind = if at < 4 || rng.one_in(3) {
                rng.below(30)
            } else {
                rng.pick(&kinds)
            };
            operation(&mut rng, kind)
        })
        .collect()
}

fn operation(rng: &mut Rng, kind: u64) -> Op {
    let (at, len) = (address(rng), length(rng));
    match kind {
        0..30 => {
            let len = any_length(rng);
            map(rng, at, len)
        }
        30..40 => Op::Unmap { at, len },
        40..52 => Op::Protect {
            at,
            len,
            prot: prot(rng, true),
        },
        52..64 => Op::Remap {
            at,
            old: if rng.one_in(20) { 0 } else { length(rng) },
            new: if rng.one_in(2) { len } else { any_length(rng) },
            flags: rng.pick(&[0, 1, 1, 3, 3, 3, 5, 5, 7, 2, 4, 8]),
            to: address(rng),
        },
        64..76 => Op::Advise {
            at,
            len,
            advice: rng.pick(&[
                0, 1, 2, 3, 4, 4, 4, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 23, 24,
                102, 102, 103, 103, 5, 100, 77,
            ]),
        },
        76..81 => Op::Lock {
            at,
            len,
            flags: rng.pick(&[0, 0, 0, 1, 2]),
        },
        81..84 => Op::Unlock { at, len },
        84 => Op::LockAll {
            flags: rng.pick(&[2, 2, 6, 0, 4]),
        },
        85 => Op::UnlockAll,
        86..88 => Op::Sync {
            at,
            len,
            flags: rng.pick(&[0, 1, 2, 4, 5, 6]),
        },
        88..90 => Op::InCore { at, len },
        90 => Op::Seal { at, len },
        91 => Op::RemapFile {
            at,
            len,
            page: rng.below(FILE_PAGES),
        },
        92..95 => Op::Read { at },
        _ => Op::Write {
            at,
            value: rng.below(256) as u8,
        },
    }
}

fn map(rng: &mut Rng, at: u64, len: u64) -> Op {
    const FIXED: u32 = 0x10;
    const NOREPLACE: u32 = 0x10_0000;
    let behind = rng.pick(&[
        Behind::Anonymous,
        Behind::Anonymous,
        Behind::Anonymous,
        Behind::File,
        Behind::ReadOnlyFile,
    ]);
    let kind = if rng.one_in(30) {
        rng.pick(&[0, 3, 4, 8, 15])
    } else {
        rng.pick(&[2, 2, 2, 1])
    };
    let place = rng.pick(&[FIXED, FIXED, FIXED, NOREPLACE, NOREPLACE, 0]);
    let mut flags = kind | place;
    if rng.one_in(4) {
        flags |= rng.pick(&[
            0x100, 0x100, 0x2000, 0x4000, 0x8000, 0x8000, 0x1_8000, 0x2_0000, 0x8_0000, 0x20_0000,
        ]);
    }
    // Half of the mappings of a file continue what is there, so that they merge.
    let page = if rng.one_in(2) {
        at / PAGE % FILE_PAGES
    } else {
        rng.below(FILE_PAGES)
    };
    let offset = page * PAGE + if rng.one_in(40) { 512 } else { 0 };
    Op::Map {
        at,
        len,
        prot: prot(rng, false),
        flags,
        behind,
        offset,
    }
}

fn map_anywhere(rng: &mut Rng) -> Op {
    const HUGE: u64 = 2 << 20;
    Op::MapAnywhere {
        hint: rng.pick(&[
            0,
            0,
            0,
            0,
            1,
            0x800,
            0x1000,
            0x5555_0000_0000,
            0x7fff_f000_0000,
            0x7fff_ffff_e000,
            1 << 47,
        ]),
        len: rng.pick(&[
            PAGE,
            3 * PAGE,
            HUGE,
            HUGE,
            2 * HUGE,
            HUGE + PAGE,
            3 << 20,
            HUGE - PAGE,
        ]),
        flags: rng.pick(&[2, 2, 1, 0x102, 0x2_0002, 0x42, 0x82, 0x4002]),
        behind: rng.pick(&[Behind::Anonymous, Behind::Anonymous, Behind::File]),
    }
}

fn address(rng: &mut Rng) -> u64 {
    let page = rng.below(PAGES) * PAGE;
    if rng.one_in(60) {
        page + rng.below(PAGE)
    } else {
        page
    }
}

fn length(rng: &mut Rng) -> u64 {
    match rng.below(60) {
        0 => 0,
        1 => rng.pick(&[1, PAGE + 1, u64::MAX, u64::MAX - PAGE]),
        2..12 => (1 + rng.below(24)) * PAGE,
        _ => (1 + rng.below(6)) * PAGE,
    }
}

/// A length for what makes mappings: elsewhere it would reach into the test itself.
fn any_length(rng: &mut Rng) -> u64 {
    if rng.one_in(100) {
        rng.pick(&[1 << 47, 1 << 62])
    } else {
        length(rng)
    }
}

fn prot(rng: &mut Rng, changes: bool) -> u32 {
    if changes && rng.one_in(25) {
        return rng.pick(&[0x0100_0001, 0x0200_0001, 0x0300_0001, 0x0100_0003, 8, 16]);
    }
    rng.pick(&[3, 3, 3, 3, 1, 1, 0, 5, 7, 2])
}
