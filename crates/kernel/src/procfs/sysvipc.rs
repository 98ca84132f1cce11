//! `/proc/sysvipc`.

use alloc::sync::Weak;
use alloc::vec::Vec;

use foliant_units::Errno;

use crate::fs::pseudo::{Listing, Place, PseudoDirectory, PseudoText, Unspliced};
use crate::fs::{Caller, Entry, FileType, NodeRef};
use crate::kernel::Kernel;
use crate::machine::UserMachine;
use crate::shm;

struct SysvIpc<M: UserMachine> {
    kernel: Weak<Kernel<M>>,
}

/// The directory.
pub(super) fn directory<M: UserMachine>(place: Place, kernel: Weak<Kernel<M>>) -> NodeRef<M> {
    PseudoDirectory::new(place, SysvIpc { kernel })
}

impl<M: UserMachine> Listing<M> for SysvIpc<M> {
    fn find(&self, place: &Place, name: &[u8], _: Caller) -> Result<NodeRef<M>, Errno> {
        if name != b"shm" {
            return Err(Errno::NOENT);
        }
        let kernel = self.kernel.clone();
        let text = Unspliced(move || {
            let kernel = kernel.upgrade().ok_or(Errno::IO)?;
            Ok(shm::text(kernel.segments(), |object| {
                shm::attachments(&kernel, object)
            }))
        });
        Ok(PseudoText::new(place.below(name, 0o444), text))
    }

    fn names(&self, place: &Place, _: Caller) -> Result<Vec<Entry>, Errno> {
        Ok([place.entry(b"shm", FileType::Regular)].into())
    }

    fn parent(&self) -> Result<NodeRef<M>, Errno> {
        let kernel = self.kernel.upgrade().ok_or(Errno::NOENT)?;
        kernel.files().root().lookup(b"proc", Caller::MACHINE)
    }
}
