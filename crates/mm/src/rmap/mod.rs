//! From a frame to everything that refers to it, and moving it elsewhere.
//!
//! A frame's record holds a number and a page index: of the [`Kin`] that may
//! map a private frame, or of the object that has it in its cache. The
//! [`Registry`] knows both by number. So a record points at nothing that may be
//! gone, and nothing per frame or per mapping is linked: a walk asks the spaces
//! of the kin, or those that map the object, for the VMAs that would show the
//! page, and looks at their entries.

mod alone;
mod kin;
mod mover;
mod registry;
mod uses;
mod walk;

pub(crate) use kin::Kin;
pub use mover::Background;
pub(crate) use mover::Mover;
pub(crate) use registry::Registry;
pub(crate) use uses::private_word;
