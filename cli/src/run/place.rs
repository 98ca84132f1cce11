//! Which addresses `--walk` names, and when they are looked at.

use std::str::FromStr;
use std::time::Duration;

use foliant_units::{VirtAddr, VirtRange};

/// An address, perhaps of a certain process, perhaps from the beginning of a
/// mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// As it was asked for.
    pub(super) text: String,
    /// The process, if it was named.
    pub(super) pid: Option<u64>,
    /// The mapping from whose first address it counts.
    from: Option<String>,
    /// Whether it counts back, from the mapping's end.
    back: bool,
    offset: u64,
}

impl Place {
    /// The address, if there is a mapping of the name; `range` tells where the
    /// first one of this name lies.
    pub(super) fn resolve(&self, range: impl FnOnce(&str) -> Option<VirtRange>) -> Option<VirtAddr> {
        let Some(name) = &self.from else {
            return Some(VirtAddr::new(self.offset));
        };
        let range = range(name)?;
        Some(VirtAddr::new(if self.back {
            range.end.raw().wrapping_sub(self.offset)
        } else {
            range.start.raw().wrapping_add(self.offset)
        }))
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

impl FromStr for Place {
    type Err = String;

    /// Reads `[PID:]ADDRESS`, where an address is hexadecimal or the name of a
    /// mapping, perhaps with `+OFFSET`; `[stack]-OFFSET` counts from its end.
    fn from_str(text: &str) -> Result<Self, String> {
        let (pid, address) = match text.split_once(':') {
            Some((pid, rest)) => match pid.parse() {
                Ok(pid) => (Some(pid), rest),
                Err(_) => (None, text),
            },
            None => (None, text),
        };
        let place = |from: Option<&str>, back, offset| Self {
            text: text.to_owned(),
            pid,
            from: from.map(str::to_owned),
            back,
            offset,
        };
        if let Some(offset) = hex(address) {
            return Ok(place(None, false, offset));
        }
        // Paths have dashes of their own.
        let back = address.split_once("]-");
        let (name, offset) = match (back, address.rsplit_once('+')) {
            (Some((name, offset)), _) => (&address[..=name.len()], hex(offset)),
            (None, Some((name, offset))) => (name, hex(offset)),
            (None, None) => (address, Some(0)),
        };
        match offset {
            Some(offset) if name.starts_with(['[', '/']) => Ok(place(Some(name), back.is_some(), offset)),
            _ => Err(format!(
                "{text}: expected a hexadecimal address, or [heap], [stack] or a file's path, \
                 perhaps with +OFFSET ([stack]-OFFSET counts from its end); PID: may stand before it"
            )),
        }
    }
}

/// When tables are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// When the process leaves its address space.
    Exit,
    /// This long after the start.
    After(Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "exit" {
            return Ok(Self::Exit);
        }
        let seconds = text.parse().ok();
        let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        delay
            .map(Self::After)
            .ok_or_else(|| "expected exit, or seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (Option<u64>, Option<VirtAddr>) {
        let place: Place = text.parse().unwrap();
        let range = VirtRange::new(VirtAddr::new(0x5000), VirtAddr::new(0x9000));
        let heap = |name: &str| (name == "[heap]").then_some(range);
        (place.pid, place.resolve(heap))
    }

    #[test]
    fn addresses_are_numbers_or_count_from_mappings() {
        let at = |raw| Some(VirtAddr::new(raw));
        assert_eq!(place("7fff0"), (None, at(0x7fff0)));
        assert_eq!(place("2:0x10"), (Some(2), at(0x10)));
        assert_eq!(place("[heap]"), (None, at(0x5000)));
        assert_eq!(place("12:[heap]+1f"), (Some(12), at(0x501f)));
        assert_eq!(place("[heap]-8"), (None, at(0x8ff8)));
        assert_eq!(place("[stack]"), (None, None));
        assert!("heap".parse::<Place>().is_err());
        assert!("[heap]+x".parse::<Place>().is_err());
        assert!("".parse::<Place>().is_err());
    }

    #[test]
    fn a_time_is_exit_or_seconds() {
        assert_eq!("exit".parse(), Ok(When::Exit));
        assert_eq!("0.5".parse(), Ok(When::After(Duration::from_millis(500))));
        assert!("-1".parse::<When>().is_err());
        assert!("soon".parse::<When>().is_err());
    }
}
