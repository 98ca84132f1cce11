//! Requests as Linux writes them.

use core::fmt;

use super::request::{Account, AllocRequest, Effort, Fill, Mobility, NodeChoice, OnFailure};
use crate::zone::ZoneKind;

bitflags::bitflags! {
    /// A request as Linux 6.18's allocation mask: for texts that name it.
    ///
    /// # Linux source concept
    /// `gfp_t`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Gfp: u32 {
        /// From the DMA zone.
        const DMA = 1 << 0;
        /// HighMem will do.
        const HIGHMEM = 1 << 1;
        /// From the DMA32 zone.
        const DMA32 = 1 << 2;
        /// Movable.
        const MOVABLE = 1 << 3;
        /// Can be dropped.
        const RECLAIMABLE = 1 << 4;
        /// May use part of the reserve.
        const HIGH = 1 << 5;
        /// May start I/O.
        const IO = 1 << 6;
        /// May call into file systems.
        const FS = 1 << 7;
        /// Zeroed.
        const ZERO = 1 << 8;
        /// May reclaim on its own time.
        const DIRECT_RECLAIM = 1 << 10;
        /// Wakes background reclaim.
        const KSWAPD_RECLAIM = 1 << 11;
        /// Failing is nothing to tell.
        const NOWARN = 1 << 13;
        /// Tries hard, and may fail.
        const RETRY_MAYFAIL = 1 << 14;
        /// Must not fail.
        const NOFAIL = 1 << 15;
        /// Tries once.
        const NORETRY = 1 << 16;
        /// May use all of the reserve.
        const MEMALLOC = 1 << 17;
        /// A folio.
        const COMP = 1 << 18;
        /// For a program.
        const HARDWALL = 1 << 20;
        /// From no other node.
        const THISNODE = 1 << 21;
        /// Charged to somebody's account.
        const ACCOUNT = 1 << 22;
    }
}

impl Gfp {
    const RECLAIM: Self = Self::DIRECT_RECLAIM.union(Self::KSWAPD_RECLAIM);
    const NOIO: Self = Self::RECLAIM;
    const NOFS: Self = Self::NOIO.union(Self::IO);
    const KERNEL: Self = Self::NOFS.union(Self::FS);
    const USER: Self = Self::KERNEL.union(Self::HARDWALL);
    const HIGHUSER: Self = Self::USER.union(Self::HIGHMEM);

    /// What has a name, in the order in which names are looked for.
    const NAMES: [(Self, &'static str); 29] = [
        (Self::HIGHUSER.union(Self::MOVABLE), "GFP_HIGHUSER_MOVABLE"),
        (Self::HIGHUSER, "GFP_HIGHUSER"),
        (Self::USER, "GFP_USER"),
        (Self::KERNEL.union(Self::ACCOUNT), "GFP_KERNEL_ACCOUNT"),
        (Self::KERNEL, "GFP_KERNEL"),
        (Self::NOFS, "GFP_NOFS"),
        (Self::HIGH.union(Self::KSWAPD_RECLAIM), "GFP_ATOMIC"),
        (Self::NOIO, "GFP_NOIO"),
        (Self::KSWAPD_RECLAIM.union(Self::NOWARN), "GFP_NOWAIT"),
        (Self::DMA, "GFP_DMA"),
        (Self::DMA32, "GFP_DMA32"),
        (Self::RECLAIM, "__GFP_RECLAIM"),
        (Self::HIGHMEM, "__GFP_HIGHMEM"),
        (Self::MOVABLE, "__GFP_MOVABLE"),
        (Self::RECLAIMABLE, "__GFP_RECLAIMABLE"),
        (Self::HIGH, "__GFP_HIGH"),
        (Self::IO, "__GFP_IO"),
        (Self::FS, "__GFP_FS"),
        (Self::ZERO, "__GFP_ZERO"),
        (Self::DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
        (Self::KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM"),
        (Self::NOWARN, "__GFP_NOWARN"),
        (Self::RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"),
        (Self::NOFAIL, "__GFP_NOFAIL"),
        (Self::NORETRY, "__GFP_NORETRY"),
        (Self::MEMALLOC, "__GFP_MEMALLOC"),
        (Self::COMP, "__GFP_COMP"),
        (Self::THISNODE, "__GFP_THISNODE"),
        (Self::ACCOUNT, "__GFP_ACCOUNT"),
    ];
}

/// As `%#x(%pGg)` of `printk`.
impl fmt::Display for Gfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}(", self.bits())?;
        let (mut left, mut between) = (*self, "");
        for (mask, name) in Self::NAMES {
            if left.contains(mask) {
                write!(f, "{between}{name}")?;
                (left, between) = (left - mask, "|");
            }
        }
        match (left.is_empty(), between) {
            (true, "") => f.write_str("none)"),
            (true, _) => f.write_str(")"),
            (false, _) => write!(f, "{between}{:#x})", left.bits()),
        }
    }
}

impl AllocRequest {
    /// The request as Linux would write it.
    pub fn gfp(&self) -> Gfp {
        let effort = match self.effort {
            Effort::Atomic => Gfp::HIGH | Gfp::KSWAPD_RECLAIM,
            Effort::NoWait => Gfp::KSWAPD_RECLAIM,
            Effort::MayReclaim | Effort::Victim => Gfp::KERNEL,
            Effort::Urgent => Gfp::KERNEL | Gfp::HIGH,
            Effort::RetryMayFail => Gfp::KERNEL | Gfp::RETRY_MAYFAIL,
            Effort::NoFail => Gfp::KERNEL | Gfp::NOFAIL,
            Effort::NoRetry => Gfp::KERNEL | Gfp::NORETRY,
            Effort::Reserves => Gfp::KERNEL | Gfp::MEMALLOC,
        };
        let zone = match self.zone {
            ZoneKind::Dma => Gfp::DMA,
            ZoneKind::Dma32 => Gfp::DMA32,
            ZoneKind::Normal => Gfp::empty(),
            ZoneKind::HighMem => Gfp::HIGHMEM,
            ZoneKind::Movable | ZoneKind::Device => Gfp::HIGHMEM | Gfp::HARDWALL,
        };
        let mobility = match self.mobility {
            Mobility::Unmovable => Gfp::empty(),
            Mobility::Movable => Gfp::MOVABLE,
            Mobility::Reclaimable => Gfp::RECLAIMABLE,
        };
        let mut gfp = effort | zone | mobility;
        gfp.set(Gfp::ZERO, self.fill == Fill::Zeroes);
        gfp.set(Gfp::NOWARN, self.on_failure == OnFailure::Silent);
        gfp.set(Gfp::THISNODE, matches!(self.node, NodeChoice::Only(_)));
        gfp.set(Gfp::ACCOUNT, self.account == Account::Charged);
        gfp.set(Gfp::COMP, self.order.raw() > 0);
        gfp
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::record::Owner;
    use foliant_units::Order;
    use std_alloc::string::ToString;

    /// The masks are those of a live Linux 6.18.
    #[test]
    fn requests_have_linuxs_names() {
        let text = |request: AllocRequest| request.gfp().to_string();
        let kernel = AllocRequest::kernel(Owner::Test);
        let cases = [
            (kernel, "0xcc0(GFP_KERNEL)"),
            (kernel.accounted(), "0x400cc0(GFP_KERNEL_ACCOUNT)"),
            (kernel.effort(Effort::Atomic), "0x820(GFP_ATOMIC)"),
            (kernel.effort(Effort::NoWait).silent(), "0x2800(GFP_NOWAIT)"),
            (
                AllocRequest::movable(Owner::Test).zeroed(),
                "0x100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)",
            ),
            (
                kernel.order(Order::PMD).effort(Effort::NoRetry),
                "0x50cc0(GFP_KERNEL|__GFP_NORETRY|__GFP_COMP)",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(text(request), expected);
        }
        assert_eq!(Gfp::empty().to_string(), "0x0(none)");
    }
}
