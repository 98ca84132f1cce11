//! Where things lie in virtual memory, as data.
//!
//! A [`Layout`] is a list of named regions with nothing between them but
//! holes. Some are the same on every machine of a kind ([`x86_64()`],
//! [`arm64()`]); with KASLR some regions move ([`Randomised`]); on i386 they
//! depend on the size of memory ([`I386`]), which prints them as its kernel did.

mod arm64;
mod i386;
mod kaslr;
mod region;
mod x86_64;

pub use arm64::arm64;
pub use i386::{BadSplit, I386, I386Config, ImageRange, VmSplit};
pub use kaslr::{KaslrConfig, Randomised};
pub use region::{Layout, MAX_REGIONS, Region, Source};
pub use x86_64::{EFI_WINDOW, Paging, TEXT_START, Version, X86_64Bases, cpu_entry_area, x86_64, x86_64_with};
