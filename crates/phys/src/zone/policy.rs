//! What an administrator decides about the levels of zones.

use crate::boot::{BootOptions, MinFree};

/// What an administrator decides about the levels of zones; together with
/// their sizes it makes the levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Policy {
    /// `vm.min_free_kbytes`.
    pub(crate) min_free: MinFree,
    /// `vm.watermark_scale_factor`.
    pub(crate) watermark_scale: u64,
    /// `vm.lowmem_reserve_ratio`.
    pub(crate) reserve_ratio: [u64; 4],
    /// `vm.watermark_boost_factor`.
    pub(crate) watermark_boost: u64,
}

impl Policy {
    pub(crate) fn new(options: &BootOptions) -> Self {
        Self {
            min_free: options.min_free,
            watermark_scale: options.watermark_scale,
            reserve_ratio: options.reserve_ratio,
            watermark_boost: options.watermark_boost,
        }
    }
}
