//! Texts of `/proc`: what is read once is written and read again.

use foliant_uapi::text::{
    Buddyinfo, Counters, Iomem, MapsEntry, Meminfo, Pagetypeinfo, ParseError, PidStat, Slabinfo, SmapsRollup,
    Statm, Status, Text, Vmallocinfo, Zoneinfo, parse_maps, parse_smaps,
};

/// Bytes of the labels of an empty text.
const MOST: usize = 16 << 10;

/// The first byte says which text it is.
pub(crate) fn texts(bytes: &[u8]) {
    let Some((&which, text)) = bytes.split_first() else {
        return;
    };
    match which % 15 {
        0 => again(text, |text| Buddyinfo::parse(text).map(|all| all.to_bytes())),
        1 => again(text, |text| Counters::parse(text).map(|all| all.to_bytes())),
        2 => again(text, |text| Iomem::parse(text).map(|all| all.to_bytes())),
        3 => again(text, |text| parse_maps(text).map(|all| joined(&all))),
        4 => again(text, |text| Meminfo::parse(text).map(|all| all.to_bytes())),
        5 => again(text, |text| Pagetypeinfo::parse(text).map(|all| all.to_bytes())),
        6 => again(text, |text| PidStat::parse(text).map(|all| all.to_bytes())),
        7 => again(text, |text| Slabinfo::parse(text).map(|all| all.to_bytes())),
        8 => again(text, |text| parse_smaps(text).map(|all| joined(&all))),
        9 => again(text, |text| SmapsRollup::parse(text).map(|all| all.to_bytes())),
        10 => again(text, |text| Statm::parse(text).map(|all| all.to_bytes())),
        11 => again(text, |text| Status::parse(text).map(|all| all.to_bytes())),
        12 => again(text, |text| Vmallocinfo::parse(text).map(|all| all.to_bytes())),
        13 => again(text, |text| Zoneinfo::parse(text).map(|all| all.to_bytes())),
        _ => again(text, |text| {
            let line = text.strip_suffix(b"\n").unwrap_or(text);
            MapsEntry::parse(line).map(|one| one.to_bytes())
        }),
    }
}

fn joined<T: Text>(parts: &[T]) -> Vec<u8> {
    parts.iter().flat_map(Text::to_bytes).collect()
}

/// Text that no kernel wrote may come back otherwise, but not endlessly longer.
fn again(text: &[u8], read: fn(&[u8]) -> Result<Vec<u8>, ParseError>) {
    let Ok(once) = read(text) else { return };
    assert!(
        once.len() <= 64 * text.len() + MOST,
        "{} bytes became {}",
        text.len(),
        once.len()
    );
    let _either = read(&once);
}
