//! AMD's nested paging: the host's own long-mode tables, in which every access
//! of a guest is a user's (AMD64 APM volume 2, 15.25 "Nested Paging").

use crate::access::{Access, ErrorCode, Mode};
use crate::format::{Format, Refusal};
use crate::geometry::{Above, Geometry};
use crate::level::Level;
use crate::x86_64::{Control, LongMode, Pte, Rights};

/// Nested tables, with five levels where `FIVE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Npt<const FIVE: bool>;

const fn as_user(access: Access) -> Access {
    Access {
        mode: Mode::User,
        ..access
    }
}

impl<const FIVE: bool> Format for Npt<FIVE> {
    type Entry = Pte;
    type Rights = Rights;
    type Control = Control;

    /// Guest-physical addresses are not sign-extended.
    const GEOMETRY: Geometry = Geometry {
        above: Above::Clear,
        ..LongMode::<FIVE>::GEOMETRY
    };

    const OPEN: Rights = Rights::OPEN;

    #[inline]
    fn narrow(rights: Rights, entry: Pte, level: Level) -> Rights {
        LongMode::<FIVE>::narrow(rights, entry, level)
    }

    #[inline]
    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        LongMode::<FIVE>::is_reserved(entry, level, control)
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        rights.permit(as_user(access), control)
    }

    #[inline]
    fn describe(access: Access, control: &Control) -> ErrorCode {
        LongMode::<FIVE>::describe(as_user(access), control)
    }

    #[inline]
    fn exceeds(more: Rights, less: Rights) -> bool {
        more.exceed(less)
    }
}
