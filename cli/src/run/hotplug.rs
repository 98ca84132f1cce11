//! Memory that was plugged in, for the report.

use foliant_phys::{SECTION, SectionState};
use foliant_units::{PAGE_SHIFT, Pfn, PhysRange};
use foliant_user::Session;

use crate::report::Hotplug;

/// What was plugged in of the memory that could be, if any could.
pub(super) fn plugged(session: &Session, region: PhysRange) -> Option<Hotplug> {
    const BLOCK: u64 = SECTION << PAGE_SHIFT;
    let phys = session.kernel().memory().phys();
    let is_online = |first: &Pfn| phys.section_state(*first) == SectionState::Online;
    (!region.is_empty()).then(|| Hotplug {
        start: region.start.raw(),
        size: region.len(),
        plugged: phys.added_sections().count() as u64 * BLOCK,
        online: phys.added_sections().filter(is_online).count() as u64 * BLOCK,
    })
}
