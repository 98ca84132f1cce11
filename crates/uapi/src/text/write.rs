//! What every text can do.

use alloc::vec::Vec;
use core::fmt;

/// A text of `/proc` as data.
pub trait Text {
    /// Appends the bytes that Linux gives.
    fn write(&self, out: &mut Vec<u8>);

    /// The bytes that Linux gives.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// Lets `core::fmt` write into bytes.
pub(super) struct Out<'a>(pub(super) &'a mut Vec<u8>);

impl fmt::Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// `write!` into a `Vec<u8>`, which cannot fail.
macro_rules! put {
    ($out:expr, $($args:tt)*) => {{
        use core::fmt::Write as _;
        let _always_fits = write!($crate::text::write::Out($out), $($args)*);
    }};
}
pub(super) use put;
