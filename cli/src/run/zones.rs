//! The machine's memory as asked for on the command line.

use std::str::FromStr;

use crate::size::Size;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zones {
    /// Below 4 GiB; its first 16 MiB are the zone DMA.
    pub(crate) dma32: u64,
    /// Above 4 GiB.
    pub(crate) normal: u64,
    /// Part of the two, taken from the top, only for what can be moved.
    pub(crate) movable: u64,
}

impl FromStr for Zones {
    type Err = String;

    /// Reads `dma32=1G,normal=2G,movable=512M`, each at most once.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut zones = Self::default();
        for part in text.split(',') {
            let (name, size) = part
                .split_once('=')
                .ok_or("expected NAME=SIZE, several with commas between")?;
            let Size(bytes) = size.parse()?;
            let field = match name {
                "dma32" => &mut zones.dma32,
                "normal" => &mut zones.normal,
                "movable" => &mut zones.movable,
                _ => return Err(format!("`{name}` is none of dma32, normal, movable")),
            };
            if *field != 0 {
                return Err(format!("`{name}` comes twice"));
            }
            *field = bytes;
        }
        Ok(zones)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_once_each() {
        let zones: Zones = "dma32=16M,normal=2G".parse().unwrap();
        assert_eq!((zones.dma32, zones.normal, zones.movable), (16 << 20, 2 << 30, 0));
        for bad in ["", "dma32", "dma32=1M,dma32=1M", "high=1G"] {
            assert!(bad.parse::<Zones>().is_err(), "{bad}");
        }
    }
}
