//! AMD's nested paging: the host's own long-mode tables, in which every access
//! of a guest is a user's (AMD64 APM volume 2, 15.25 "Nested Paging").

use crate::access::{Access, ErrorCode, Mode};
use crate::format::{Format, Refusal};
use crate::geometry::{Above, Geometry};
use crate::level::Level;
use crate::x86_64::{Control, Pte, Rights, X86_64, geometry};

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
    const GEOMETRY: Geometry = geometry(FIVE, Above::Clear);

    const OPEN: Rights = Rights::OPEN;

    #[inline]
    fn narrow(rights: Rights, entry: Pte, level: Level) -> Rights {
        X86_64::narrow(rights, entry, level)
    }

    #[inline]
    fn is_reserved(entry: Pte, level: Level, control: &Control) -> bool {
        X86_64::is_reserved(entry, level, control)
    }

    #[inline]
    fn permit(rights: Rights, access: Access, control: &Control) -> Result<(), Refusal> {
        rights.permit(as_user(access), control)
    }

    #[inline]
    fn describe(access: Access, control: &Control) -> ErrorCode {
        X86_64::describe(as_user(access), control)
    }

    #[inline]
    fn exceeds(more: Rights, less: Rights) -> bool {
        more.exceed(less)
    }
}
