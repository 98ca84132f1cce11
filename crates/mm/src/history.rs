//! What is remembered of mappings that are gone.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::counters::FaultTally;
use crate::vma::{Backing, FileLabel, Source};

/// Faults of mappings that no longer exist, by what they mapped.
#[derive(Clone, Default)]
pub struct History {
    /// Private memory.
    pub anonymous: FaultTally,
    files: BTreeMap<Key, (Arc<dyn FileLabel>, FaultTally)>,
}

/// Device and inode.
type Key = ((u32, u32), u64);

impl History {
    pub(crate) fn add<B: Backing>(&mut self, source: &Source<B>, tally: &FaultTally) {
        match source {
            Source::Anonymous => self.anonymous = self.anonymous.plus(tally),
            Source::Object(mapping) => {
                let label = &mapping.label;
                let known = self
                    .files
                    .entry((label.device(), label.inode()))
                    .or_insert_with(|| (label.clone(), FaultTally::default()));
                known.1 = known.1.plus(tally);
            }
        }
    }

    /// Files and shared memory, by device and inode.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<dyn FileLabel>, &FaultTally)> {
        self.files.values().map(|(label, tally)| (label, tally))
    }
}
