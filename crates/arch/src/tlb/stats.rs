//! What a TLB did.

use crate::level::Level;

/// Counts since the TLB was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlbStats {
    /// Look-ups that were answered.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Look-ups answered by a refusal, which is a fault without a walk.
    pub refusals: u64,
    /// Walks that began inside the tables.
    pub short_walks: u64,
    /// Of those, by the level of the table that they began at: those of the
    /// leaf level were links from a PDE, and so on up.
    pub structure_hits: [u64; Level::COUNT - 1],
    /// Entries of tables that walks which led to an entry read.
    pub walk_references: u64,
    /// Entries put in.
    pub fills: u64,
    /// Entries pushed out by others.
    pub evictions: u64,
    /// Calls that dropped one page.
    pub page_flushes: u64,
    /// Calls that dropped a range.
    pub range_flushes: u64,
    /// Calls that dropped a tag.
    pub tag_flushes: u64,
    /// Calls that dropped everything.
    pub full_flushes: u64,
    /// Entries that flushes dropped.
    pub dropped: u64,
}
