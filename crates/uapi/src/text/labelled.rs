//! Files and sections of lines `Label:   number kB`.

/// Makes a structure of which each field is one labelled line. A field that
/// is `None` has no line: the kernel was built without it.
///
/// The label and its colon take at least 16 columns, the number 8.
macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $label:literal, $unit:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(
                #[doc = concat!("`", $label, "`", $unit, ".")]
                pub $field: Option<u64>,
            )*
        }

        impl $name {
            /// Takes one line if its label is one of this structure's.
            fn take(&mut self, label: &str, value: u64) -> bool {
                match label {
                    $($label => self.$field = Some(value),)*
                    _ => return false,
                }
                true
            }
        }

        impl $crate::text::Text for $name {
            fn write(&self, out: &mut alloc::vec::Vec<u8>) {
                $(
                    if let Some(value) = self.$field {
                        $crate::text::write::put!(out, "{:<16}{value:>8}{}\n", concat!($label, ":"), $unit);
                    }
                )*
            }
        }
    };
}
pub(super) use labelled;

use super::scan::{ParseError, number, split};

/// Takes `Label:   number kB` apart; the unit is dropped.
pub(super) fn parse_line(line: &str) -> Result<(&str, u64), ParseError> {
    let (label, rest) = split(line, ":", "a label and a colon")?;
    let rest = rest.strip_suffix(" kB").unwrap_or(rest);
    Ok((label, number(rest, "a number")?))
}
