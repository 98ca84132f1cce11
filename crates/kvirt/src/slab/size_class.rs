//! Which general cache serves a size.

use super::name::Name;

/// Object sizes of the general caches, ascending.
///
/// # Linux source concept
/// `kmalloc_info[]`.
pub const SIZES: [usize; 13] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];

/// Larger than this, memory comes in frames.
///
/// # Linux source concept
/// `KMALLOC_MAX_CACHE_SIZE`.
pub const LARGEST: usize = 8192;

const NAMES: [&str; SIZES.len()] = [
    "kmalloc-8",
    "kmalloc-16",
    "kmalloc-32",
    "kmalloc-64",
    "kmalloc-96",
    "kmalloc-128",
    "kmalloc-192",
    "kmalloc-256",
    "kmalloc-512",
    "kmalloc-1k",
    "kmalloc-2k",
    "kmalloc-4k",
    "kmalloc-8k",
];

/// The class of each size up to 192, in steps of 8.
const SMALL: [u8; 25] = {
    let mut classes = [0; 25];
    let (mut step, mut class) = (0, 0);
    while step < classes.len() {
        if step * 8 > SIZES[class] {
            class += 1;
        }
        classes[step] = class as u8;
        step += 1;
    }
    classes
};

/// The class of objects of `size` bytes; `None` if that is too large.
#[inline]
pub(crate) const fn class_of(size: usize) -> Option<usize> {
    if size <= 192 {
        return Some(SMALL[size.div_ceil(8)] as usize);
    }
    if size > LARGEST {
        return None;
    }
    // 256 is class 7, and from there on each class doubles.
    Some((usize::BITS - (size - 1).leading_zeros()) as usize - 1)
}

/// The class of objects of `size` bytes that are aligned to `align`.
#[inline]
pub(crate) const fn aligned_class_of(size: usize, align: usize) -> Option<usize> {
    if align <= 8 {
        class_of(size)
    } else {
        class_for_align(size, align)
    }
}

/// The same where the alignment may ask for more than the size does.
const fn class_for_align(size: usize, align: usize) -> Option<usize> {
    match class_of(size) {
        Some(class) if SIZES[class].is_multiple_of(align) => Some(class),
        // A size that is a power of two is aligned to itself.
        _ => {
            let size = if size > align { size } else { align };
            match size.checked_next_power_of_two() {
                Some(size) => class_of(size),
                None => None,
            }
        }
    }
}

/// What a class is called.
pub(crate) const fn name_of(class: usize) -> Name {
    Name::new(NAMES[class])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_the_smallest_class_that_holds_it() {
        for size in 0..=LARGEST {
            let class = class_of(size).unwrap();
            assert!(SIZES[class] >= size);
            assert!(
                class == 0 || SIZES[class - 1] < size,
                "{size} in {}",
                SIZES[class]
            );
        }
        assert_eq!(class_of(LARGEST + 1), None);
        assert_eq!(class_of(usize::MAX), None);
    }

    #[test]
    fn alignment_is_kept() {
        for size in 0..=LARGEST {
            for align in [1, 8, 16, 32, 64, 128, 4096] {
                let class = aligned_class_of(size, align).unwrap();
                assert!(SIZES[class] >= size && SIZES[class].is_multiple_of(align.max(8)));
            }
        }
        assert_eq!(aligned_class_of(8, 16384), None);
    }
}
