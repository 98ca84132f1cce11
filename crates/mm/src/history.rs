//! What is remembered of mappings that are gone.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::counters::FaultTally;
use crate::vma::{Backing, Source};

/// Faults of mappings that no longer exist, by what they mapped.
#[derive(Clone, Default)]
pub struct History {
    /// Private memory.
    pub anonymous: FaultTally,
    // Names, not labels: a label keeps its file open.
    files: BTreeMap<Key, (String, FaultTally)>,
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
                    .or_insert_with(|| {
                        let mut name = String::new();
                        // Writing to a string cannot fail.
                        let _ = label.write_path(&mut name);
                        (name, FaultTally::default())
                    });
                known.1 = known.1.plus(tally);
            }
        }
    }

    /// Files and shared memory by name, in the order of device and inode.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FaultTally)> {
        self.files.values().map(|(name, tally)| (name.as_str(), tally))
    }
}
