//! Programs in spaces of the memory manager.

use foliant_arch::{ErrorCode, PageFault};
use foliant_mm::{Access, Fault, FaultError, Space};
use foliant_platform::Levels;

use crate::context::SoftContext;
use crate::machine::SoftMachineOf;
use crate::running::AddressSpace;

impl<L: Levels> AddressSpace<L> for Space<SoftMachineOf<L>> {
    type Refusal = FaultError;

    fn context(&self) -> &SoftContext<L> {
        Space::context(self)
    }

    fn resolve(&self, fault: PageFault) -> Result<(), FaultError> {
        let access = if fault.code.contains(ErrorCode::WRITE) {
            Access::Write
        } else if fault.code.contains(ErrorCode::FETCH) {
            Access::Execute
        } else {
            Access::Read
        };
        let user = fault.code.contains(ErrorCode::USER);
        self.fault(Fault {
            addr: fault.at,
            access,
            user,
        })
        .map(drop)
    }
}
