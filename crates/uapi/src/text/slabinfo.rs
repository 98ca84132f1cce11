//! `/proc/slabinfo`.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, ascii, expected, lines, number};
use super::write::{Text, put};

/// The first line.
const VERSION: &str = "slabinfo - version: 2.1";
/// The second line.
const HEADING: &str = "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
    : tunables <limit> <batchcount> <sharedfactor> \
    : slabdata <active_slabs> <num_slabs> <sharedavail>";

/// One cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlabinfoCache {
    /// Name.
    pub name: String,
    /// Objects in use.
    pub active_objects: u64,
    /// All objects.
    pub objects: u64,
    /// Bytes from one object to the next.
    pub object_size: u32,
    /// Objects of a slab.
    pub objects_per_slab: u32,
    /// Frames of a slab.
    pub pages_per_slab: u32,
    /// Tunable, zero today.
    pub limit: u32,
    /// Tunable, zero today.
    pub batch: u32,
    /// Tunable, zero today.
    pub shared_factor: u32,
    /// Slabs with an object in use.
    pub active_slabs: u64,
    /// All slabs.
    pub slabs: u64,
    /// Zero today.
    pub shared_available: u64,
}

/// The file: caches, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slabinfo {
    /// Caches.
    pub caches: Vec<SlabinfoCache>,
}

impl Text for Slabinfo {
    fn write(&self, out: &mut Vec<u8>) {
        put!(out, "{VERSION}\n{HEADING}\n");
        for cache in &self.caches {
            cache.write(out);
        }
    }
}

impl Text for SlabinfoCache {
    fn write(&self, out: &mut Vec<u8>) {
        put!(
            out,
            "{:<17} {:>6} {:>6} {:>6} {:>4} {:>4}",
            self.name,
            self.active_objects,
            self.objects,
            self.object_size,
            self.objects_per_slab,
            self.pages_per_slab,
        );
        put!(
            out,
            " : tunables {:>4} {:>4} {:>4}",
            self.limit,
            self.batch,
            self.shared_factor
        );
        put!(
            out,
            " : slabdata {:>6} {:>6} {:>6}\n",
            self.active_slabs,
            self.slabs,
            self.shared_available
        );
    }
}

impl Slabinfo {
    /// Reads the file.
    ///
    /// # Errors
    /// Another version, or a line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut lines = lines(text);
        if lines.next() != Some(VERSION.as_bytes()) {
            return Err(expected("slabinfo of version 2.1"));
        }
        if lines.next() != Some(HEADING.as_bytes()) {
            return Err(expected("the names of the columns"));
        }
        let caches = lines
            .map(|line| cache(ascii(line, "a cache")?))
            .collect::<Result<_, _>>()?;
        Ok(Self { caches })
    }
}

/// One line. A name may hold spaces, numbers do not: so from the end.
fn cache(line: &str) -> Result<SlabinfoCache, ParseError> {
    let (rest, slabdata) = line.rsplit_once(" : slabdata ").ok_or(expected("slabdata"))?;
    let (rest, tunables) = rest.rsplit_once(" : tunables ").ok_or(expected("tunables"))?;
    let [active_slabs, slabs, shared_available] = numbers(slabdata)?;
    let [limit, batch, shared_factor] = numbers(tunables)?;

    let (name, counts) = name_and_counts(rest)?;
    let [
        active_objects,
        objects,
        object_size,
        objects_per_slab,
        pages_per_slab,
    ] = numbers(counts)?;
    let small = |value: u64| u32::try_from(value).map_err(|_| expected("a small number"));
    Ok(SlabinfoCache {
        name: String::from(name),
        active_objects,
        objects,
        object_size: small(object_size)?,
        objects_per_slab: small(objects_per_slab)?,
        pages_per_slab: small(pages_per_slab)?,
        limit: small(limit)?,
        batch: small(batch)?,
        shared_factor: small(shared_factor)?,
        active_slabs,
        slabs,
        shared_available,
    })
}

/// The name, and the five numbers behind it.
fn name_and_counts(text: &str) -> Result<(&str, &str), ParseError> {
    let mut end = text.len();
    for _ in 0..5 {
        end = text[..end]
            .trim_end()
            .rfind(' ')
            .ok_or(expected("five numbers"))?;
    }
    Ok((text[..end].trim_end(), &text[end..]))
}

fn numbers<const N: usize>(text: &str) -> Result<[u64; N], ParseError> {
    let mut all = [0; N];
    let mut words = text.split_whitespace();
    for slot in &mut all {
        *slot = number(words.next().ok_or(expected("a number"))?, "a number")?;
    }
    match words.next() {
        None => Ok(all),
        Some(_) => Err(expected("the end of the line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_written_in_linux_columns_and_read_back() {
        let cache = SlabinfoCache {
            name: String::from("kmalloc-64"),
            active_objects: 3,
            objects: 64,
            object_size: 64,
            objects_per_slab: 64,
            pages_per_slab: 1,
            active_slabs: 1,
            slabs: 1,
            ..SlabinfoCache::default()
        };
        let line = "kmalloc-64             3     64     64   64    1 \
                    : tunables    0    0    0 : slabdata      1      1      0\n";
        assert_eq!(cache.to_bytes(), line.as_bytes());
        let file = Slabinfo {
            caches: Vec::from([cache]),
        };
        assert_eq!(Slabinfo::parse(&file.to_bytes()), Ok(file));
    }

    #[test]
    fn other_versions_and_torn_lines_are_errors() {
        assert!(Slabinfo::parse(b"slabinfo - version: 1.1\n").is_err());
        let file = Slabinfo::default().to_bytes();
        let torn = [file.as_slice(), b"kmalloc-64 1 2 3\n"].concat();
        assert!(Slabinfo::parse(&torn).is_err());
        assert_eq!(Slabinfo::parse(&file), Ok(Slabinfo::default()));
    }
}
