//! What can be spliced.

use bitflags::bitflags;

bitflags! {
    /// Whether bytes can go from and to a file without passing through a
    /// program: `sendfile` and `splice` ask.
    ///
    /// # Linux source concept
    /// Whether `struct file_operations` has `splice_read` and `splice_write`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Splices: u8 {
        /// Out of it.
        const FROM = 1;
        /// Into it.
        const TO = 2;
    }
}
