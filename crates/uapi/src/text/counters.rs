//! Lists of names and numbers whose members depend on the kernel's build.

use alloc::string::String;
use alloc::vec::Vec;

use super::scan::{ParseError, ascii, lines, number, split};
use super::write::{Text, put};

/// Names and numbers in a fixed order: `/proc/vmstat`, and parts of
/// `/proc/zoneinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    list: Vec<(String, u64)>,
}

impl Counters {
    /// All of `names`, at zero.
    pub fn of_zeroes(names: &[&str]) -> Self {
        Self {
            list: names.iter().map(|name| (String::from(*name), 0)).collect(),
        }
    }

    /// Reads `name number` lines.
    ///
    /// # Errors
    /// A line that is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut counters = Self::default();
        for line in lines(text) {
            let (name, value) = split(ascii(line, "a name")?, " ", "a name and a number")?;
            counters.push(name, number(value, "a number")?);
        }
        Ok(counters)
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: &str, value: u64) {
        self.list.push((String::from(name), value));
    }

    /// The number with this name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.list
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| *value)
    }

    /// Sets the number with this name; `false` if there is none.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let found = self.list.iter_mut().find(|(own, _)| own == name);
        found.map(|(_, own)| *own = value).is_some()
    }

    /// Names and numbers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.list.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Text for Counters {
    fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            put!(out, "{name} {value}\n");
        }
    }
}
