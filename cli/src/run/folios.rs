//! Sizes of folios: as asked for on the command line, and what came of it.

use std::str::FromStr;

use foliant_mm::{Global, Orders, SizeSetting, ThpEvent};
use foliant_units::{Order, PAGE_SIZE};
use foliant_user::Session;

use crate::report::Count;
use crate::size::Size;

/// Settings of sizes, in the syntax of the kernel's own `thp_anon=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folios(pub(crate) Vec<(Order, SizeSetting)>);

impl FromStr for Folios {
    type Err = String;

    /// Reads `16K-64K:always;128K,512K:madvise`. A later setting of a size
    /// replaces an earlier one.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut settings = Vec::new();
        for part in text.split(';') {
            let (sizes, word) = part
                .split_once(':')
                .ok_or("expected SIZES:WORD, several with semicolons between")?;
            let setting = SizeSetting::from_word(word.as_bytes())
                .ok_or_else(|| format!("`{word}` is none of always, inherit, madvise, never"))?;
            for size in sizes.split(',') {
                let (first, last) = size.split_once('-').unwrap_or((size, size));
                let (first, last) = (order(first)?, order(last)?);
                if first > last {
                    return Err(format!("`{size}` is from a larger size to a smaller one"));
                }
                let between = Order::all().filter(|order| (first..=last).contains(order));
                settings.extend(between.map(|order| (order, setting)));
            }
        }
        Ok(Self(settings))
    }
}

/// The order of a size that private memory can have.
fn order(text: &str) -> Result<Order, String> {
    let Size(bytes) = text.parse().map_err(|why| format!("`{text}`: {why}"))?;
    Order::covering(bytes.div_ceil(PAGE_SIZE as u64))
        .filter(|order| order.bytes() as u64 == bytes && Orders::ANONYMOUS.contains(*order))
        .ok_or_else(|| format!("`{text}` is not a power of two from 16K to 1M"))
}

/// What sizes do that inherit.
pub(crate) fn global(text: &str) -> Result<Global, String> {
    Global::from_word(text.as_bytes()).ok_or_else(|| "expected always, madvise or never".into())
}

/// Faults that filled more than a page, or wanted to.
pub(super) fn filled(session: &Session) -> Vec<Count> {
    let thp = session.kernel().memory().thp();
    let of = |order: Order| {
        let size = format!("of {} KiB", order.bytes() >> 10);
        let short = format!("{size} without memory in one piece");
        [
            Count::new(size, thp.events(order, ThpEvent::Filled)),
            Count::new(short, thp.events(order, ThpEvent::Fallback)),
        ]
    };
    let all = Order::all().flat_map(of);
    all.filter(|count| count.count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_kernel_reads_them() {
        let Folios(settings) = "16K-64K:always;128K,1M:inherit;64K:never".parse().unwrap();
        let raw: Vec<_> = settings
            .iter()
            .map(|(order, setting)| (order.raw(), setting.word()))
            .collect();
        let expected = [
            (2, "always"),
            (3, "always"),
            (4, "always"),
            (5, "inherit"),
            (8, "inherit"),
            (4, "never"),
        ];
        assert_eq!(raw, expected);
    }

    #[test]
    fn what_is_no_size_or_no_word_is_refused() {
        for bad in [
            "",
            "64K",
            "64K:on",
            "8K:always",
            "2M:always",
            "48K:always",
            "64K-16K:always",
            "0:always",
            "64K:always;",
        ] {
            assert!(bad.parse::<Folios>().is_err(), "{bad}");
        }
        assert!(global("inherit").is_err());
    }
}
