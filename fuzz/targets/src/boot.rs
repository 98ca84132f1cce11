//! `foliant boot`, whole.

use foliant_phys::boot::RegionKind;

/// RAM whose records the host can afford.
const MOST_RAM: u64 = 1 << 30;
/// Addresses that a soft machine spans without cost.
const END: u64 = 1 << 46;
/// Pieces of memory, so that no input is slow.
const MOST_PIECES: usize = 256;

/// The first line holds the arguments, the others the map.
pub(crate) fn boot(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (arguments, map) = text.split_once('\n').unwrap_or(("", &text));
    let Ok(map) = foliant_cli::read_map(map) else {
        return;
    };
    let mut ram = 0u64;
    let mut pieces = 0;
    for piece in map.pieces() {
        pieces += 1;
        if piece.kind == RegionKind::Usable {
            ram = ram.saturating_add(piece.range.len());
            if piece.range.end.raw() > END {
                return;
            }
        }
    }
    if ram > MOST_RAM || pieces > MOST_PIECES {
        return;
    }
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    // Files are not a matter of this target.
    if arguments.iter().any(|word| word.starts_with("--map")) {
        return;
    }
    let mut log = String::new();
    if let Err(why) = foliant_cli::boot(&arguments, &map, &mut log) {
        assert!(!why.to_string().trim().is_empty(), "an error says why");
    }
}
