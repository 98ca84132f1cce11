//! The host file, disk or network below the frames of an object.

use foliant_units::Errno;

/// Where contents come from that the cache does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latency {
    /// Another cache in memory, as a host's: a fault that reads it is minor,
    /// as it is on Linux when the page cache holds the file.
    Memory,
    /// A device: a fault that reads it is major.
    Device,
}

/// A file below the page cache.
///
/// # Units
/// Offsets and lengths are bytes.
///
/// # Locking
/// Methods may sleep. They are called without a spin lock, and from several
/// threads at once.
pub trait FileBacking: Send + Sync + 'static {
    /// How long the file is now.
    fn size(&self) -> u64;

    /// Reads at `offset`; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// The file's own, such as `IO`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes at `offset`, extending the file if that is needed.
    ///
    /// # Errors
    /// The file's own, such as `NOSPC`, `FBIG` or `IO`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno>;

    /// Sets the size: cuts the tail off, or appends zeroes.
    ///
    /// # Errors
    /// The file's own.
    fn set_size(&self, size: u64) -> Result<(), Errno>;

    /// Makes everything written durable; without `metadata` only as much as is
    /// needed to read it back.
    ///
    /// # Errors
    /// The file's own.
    fn sync(&self, metadata: bool) -> Result<(), Errno>;

    /// Frees the blocks of a range, which then reads as zeroes. The size stays.
    ///
    /// # Errors
    /// `OPNOTSUPP` where the file cannot.
    fn punch(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let _ = (offset, length);
        Err(Errno::OPNOTSUPP)
    }

    /// Where contents come from.
    fn latency(&self) -> Latency {
        Latency::Memory
    }
}
