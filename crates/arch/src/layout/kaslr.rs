//! Regions of x86-64 that move.

use foliant_units::{PhysAddr, VirtAddr, VirtRange};

use super::region::Layout;
use super::x86_64::{Paging, TEXT_START, Version, X86_64Bases, cpu_entry_area, x86_64_with};

const TIB_SHIFT: u32 = 40;
/// Bytes that one entry of the third level covers: what regions are aligned to.
const PUD: u64 = 1 << 30;
/// How the image is aligned, physically and virtually.
const IMAGE_ALIGN: u64 = 2 << 20;
/// The lowest address that an image is loaded at.
const IMAGE_LOAD: u64 = 16 << 20;
/// The room that the image moves in.
const IMAGE_ROOM: u64 = 1 << 30;

/// What there is to place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KaslrConfig {
    /// Four or five levels.
    pub paging: Paging,
    /// The end of RAM.
    pub ram_end: PhysAddr,
    /// Address space that is left above RAM for memory that is plugged in
    /// later, in TiB (`RANDOMIZE_MEMORY_PHYSICAL_PADDING`).
    pub padding_tib: u64,
    /// Bytes of the kernel's image.
    pub image: u64,
}

impl KaslrConfig {
    /// Four levels, RAM up to `ram_end`, the usual padding, an image of 64 MiB.
    pub const fn new(ram_end: PhysAddr) -> Self {
        Self {
            paging: Paging::Four,
            ram_end,
            padding_tib: 10,
            image: 64 << 20,
        }
    }
}

/// Where everything came to lie.
///
/// The direct map, vmalloc and vmemmap keep their order; what is left of the
/// address space from where the direct map is without KASLR up to the CPUs'
/// entry areas is shared out between them, in steps of 1 GiB. The image lies
/// at any multiple of 2 MiB that leaves it room.
///
/// # Linux source concept
/// `kernel_randomize_memory()`, arch/x86/mm/kaslr.c, and
/// `find_random_virt_addr()`. Differs: the random numbers come from a seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Randomised {
    paging: Paging,
    /// The regions that moved.
    pub bases: X86_64Bases,
}

impl Randomised {
    /// Places everything by `seed`.
    pub fn new(config: KaslrConfig, seed: u64) -> Self {
        let fixed = X86_64Bases::fixed(config.paging, Version::Linux618);
        let mut random = Random(seed);
        let direct_tib = direct_tib(&config, &fixed);
        let record_bytes = (direct_tib << (TIB_SHIFT - 12)) * 64;
        let sizes = [
            direct_tib << TIB_SHIFT,
            fixed.vmalloc.len(),
            record_bytes.next_multiple_of(1 << TIB_SHIFT),
        ];

        let mut at = fixed.direct.start.raw();
        let mut left = cpu_entry_area().raw() - at - sizes.iter().sum::<u64>();
        let mut placed = [VirtRange::default(); 3];
        for (region, size) in sizes.into_iter().enumerate() {
            let share = left / (sizes.len() - region) as u64;
            let offset = (random.next() % (share + 1)) & !(PUD - 1);
            at += offset;
            left -= offset;
            placed[region] = VirtRange::new(VirtAddr::new(at), VirtAddr::new(at + size));
            // At least a byte of hole, and the next starts an entry.
            let next = (at + size + 1).next_multiple_of(PUD);
            left = left.saturating_sub(next - (at + size));
            at = next;
        }
        let [direct, vmalloc, vmemmap] = placed;
        let text = text(&config, &mut random);
        Self {
            paging: config.paging,
            bases: X86_64Bases {
                direct,
                vmalloc,
                vmemmap,
                text,
            },
        }
    }

    /// All regions.
    pub fn layout(&self) -> Layout {
        x86_64_with(self.paging, Version::Linux618, &self.bases, true)
    }

    /// How far the image moved from where it would be linked.
    pub fn text_offset(&self) -> u64 {
        self.bases.text - (TEXT_START + IMAGE_LOAD)
    }
}

/// The direct map shrinks to what RAM needs and the padding.
fn direct_tib(config: &KaslrConfig, fixed: &X86_64Bases) -> u64 {
    let ram = config.ram_end.raw().div_ceil(1 << TIB_SHIFT);
    ram.saturating_add(config.padding_tib)
        .clamp(1, fixed.direct.len() >> TIB_SHIFT)
}

fn text(config: &KaslrConfig, random: &mut Random) -> VirtAddr {
    let room = IMAGE_ROOM.saturating_sub(IMAGE_LOAD).saturating_sub(config.image);
    let slots = room / IMAGE_ALIGN + 1;
    TEXT_START + IMAGE_LOAD + random.next() % slots * IMAGE_ALIGN
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(paging: Paging, ram_tib: u64) -> KaslrConfig {
        KaslrConfig {
            paging,
            ..KaslrConfig::new(PhysAddr::new(ram_tib << TIB_SHIFT))
        }
    }

    #[test]
    fn regions_move_but_keep_order_and_size() {
        for seed in 0..2000 {
            for paging in [Paging::Four, Paging::Five] {
                for ram in [1, 8, 54, 64] {
                    let random = Randomised::new(config(paging, ram), seed);
                    assert!(random.layout().is_sound(), "{random:?}");
                    let bases = random.bases;
                    assert!(bases.direct.len() >= ram << TIB_SHIFT);
                    assert!(bases.vmemmap.len() >= bases.direct.len() / 64);
                    assert!(bases.direct.start.is_aligned_to(PUD) && bases.vmalloc.start.is_aligned_to(PUD));
                    assert!(bases.vmemmap.end <= cpu_entry_area());
                    assert!(bases.text + (64 << 20) <= TEXT_START + IMAGE_ROOM);
                    assert!(random.text_offset().is_multiple_of(IMAGE_ALIGN));
                }
            }
        }
    }

    #[test]
    fn a_seed_says_it_all() {
        let place = |seed| Randomised::new(config(Paging::Four, 1), seed);
        assert_eq!(place(7), place(7));
        assert_ne!(place(7).bases.direct, place(8).bases.direct);
    }
}
