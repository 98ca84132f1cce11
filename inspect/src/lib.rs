//! Looking at memory: images of machines, opened as what they are, and the
//! kernel inside them.
//!
//! [`Image`] opens ELF cores (QEMU's and kdump's), compressed kdump files, also
//! flattened ones, LiME files and raw memory. Files are mapped, never read
//! whole. Nothing in an image is believed: every length and offset is checked,
//! and a lie is an [`ImageError`].
//!
//! [`Root`] names tables of any format at run time; [`with_format!`] turns it
//! into the type that the generic walk wants. [`linux`] finds a kernel's
//! processes through VMCOREINFO, kallsyms and BTF; [`live`] asks the running host.

mod image;
pub mod linux;
pub mod listing;
pub mod live;

mod root;
mod vmcoreinfo;

pub use foliant_arch;
pub use image::{Cpu, Image, ImageError, Kind, Machine, RamRange};
pub use root::{Controls, Root, TableFormat};
pub use vmcoreinfo::Vmcoreinfo;
