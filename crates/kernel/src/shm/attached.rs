//! Which spaces map which segments.

use alloc::sync::Arc;
use alloc::vec::Vec;

use foliant_mm::ObjectId;
use foliant_units::VpnRange;

use super::segment::Segment;
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::process::Process;
use crate::space::Space;
use crate::task::Task;

/// VMAs of all spaces that map the object. Linux counts them as they come and
/// go, and shows the same number.
pub(crate) fn attachments<M: UserMachine>(kernel: &Kernel<M>, object: ObjectId) -> u64 {
    let processes: Vec<Arc<Process<M>>> = {
        let tree = kernel.tree();
        tree.nodes().map(|(_, node)| node.process.clone()).collect()
    };
    let mut spaces: Vec<_> = processes
        .iter()
        .filter_map(|process| process.any_task()?.space())
        .collect();
    spaces.sort_by_key(Arc::as_ptr);
    spaces.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let of_space = |space: &Arc<Space<M>>| {
        let vmas = space.vmas();
        vmas.iter()
            .filter(|vma| vma.object().is_some_and(|mapped| mapped.id() == object))
            .count() as u64
    };
    spaces.iter().map(of_space).sum()
}

/// Ids of the segments that `space` maps in `range`, to be told to
/// [`note_detached`].
pub(crate) fn segments_in<M: UserMachine>(
    kernel: &Kernel<M>,
    space: &Space<M>,
    range: Option<VpnRange>,
) -> Vec<i32> {
    let mut table = kernel.segments().lock();
    if table.is_empty() {
        return Vec::new();
    }
    let tree = space.vmas();
    let inside = tree
        .iter()
        .filter(|vma| range.is_none_or(|range| vma.range.overlaps(range)));
    let objects: Vec<_> = inside
        .filter_map(|vma| vma.object().map(|object| object.id()))
        .collect();
    let is_mapped = |segment: &&Segment<M>| {
        let object = segment.object();
        object.is_some_and(|object| objects.contains(&object.id()))
    };
    table.all().filter(is_mapped).map(|segment| segment.id).collect()
}

/// Notes that `task` has unmapped something of these segments.
///
/// # Linux source concept
/// `shm_close()`.
pub(crate) fn note_detached<M: UserMachine>(kernel: &Kernel<M>, task: &Task<M>, ids: &[i32]) {
    let now = (kernel.machine().realtime().0 / 1_000_000_000) as i64;
    for &id in ids {
        if let Ok(segment) = kernel.segments().lock().get(id) {
            (segment.detached, segment.last) = (now, task.process().id().raw());
        }
    }
}
