//! The address space of programs, under the name the kernel layer uses.
// Replaced by `foliant_mm::Space` as soon as that crate offers it.

use core::marker::PhantomData;

/// An address space. Has no operations yet.
pub struct Space<P>(PhantomData<fn() -> P>);
