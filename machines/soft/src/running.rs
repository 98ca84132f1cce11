//! A CPU that runs in an address space: what a program can do.

use foliant_arch::x86_64::{Control, Pkru};
use foliant_arch::{Access, AccessKind, Fault, Mode, PageFault};
use foliant_platform::{CpuId, FourLevels, Levels};
use foliant_units::{PAGE_SIZE, PhysAddr, VirtAddr};

use crate::context::SoftContext;
use crate::machine::SoftMachineOf;

/// How often one access may fault before it counts as stuck: more often than
/// any race can make it, less often than a test is patient.
const PATIENCE: u32 = 500;

/// What a CPU runs in: tables, and somebody who resolves their faults.
pub trait AddressSpace<L: Levels = FourLevels> {
    /// Why a fault is not resolved.
    type Refusal;

    /// The machine's context of its tables.
    fn context(&self) -> &SoftContext<L>;

    /// Resolves a fault; the access is then tried again.
    ///
    /// # Errors
    /// The program gets a signal.
    fn resolve(&self, fault: PageFault) -> Result<(), Self::Refusal>;
}

/// Why an access did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap<R> {
    /// The space refused the fault.
    Refused(PageFault, R),
    /// The address is not canonical.
    NonCanonical(VirtAddr),
    /// The fault is said to be resolved, again and again.
    Stuck(PageFault),
}

/// A CPU in a space. Dropping it leaves the space loaded lazily.
#[derive(Debug)]
pub struct Running<'c, A, L: Levels = FourLevels> {
    machine: &'c SoftMachineOf<L>,
    id: CpuId,
    space: &'c A,
    mode: Mode,
    control: Control,
}

impl<'c, L: Levels, A: AddressSpace<L>> Running<'c, A, L> {
    pub(crate) fn new(machine: &'c SoftMachineOf<L>, id: CpuId, space: &'c A) -> Self {
        Self {
            machine,
            id,
            space,
            mode: Mode::User,
            control: machine.control(),
        }
    }

    /// The same CPU in supervisor mode: what the kernel can do in this space.
    #[must_use]
    pub fn as_kernel(mut self) -> Self {
        self.mode = Mode::Supervisor;
        self
    }

    /// Sets the protection-key rights of this program.
    pub fn set_pkru(&mut self, keys: Option<Pkru>) {
        self.control.pkru = keys;
    }

    /// Reads `into.len()` bytes at `at`.
    ///
    /// # Errors
    /// The trap of the first byte that cannot be read; earlier ones are in `into`.
    pub fn read(&self, at: VirtAddr, into: &mut [u8]) -> Result<(), Trap<A::Refusal>> {
        let machine = self.machine;
        each_page(at, into.len(), |at, offset, len| {
            let part = &mut into[offset..offset + len];
            self.access(at, AccessKind::Read, |place| machine.read_ram(place, part))
        })
    }

    /// Writes `from` at `at`.
    ///
    /// # Errors
    /// The trap of the first byte that cannot be written; earlier ones are.
    pub fn write(&self, at: VirtAddr, from: &[u8]) -> Result<(), Trap<A::Refusal>> {
        let machine = self.machine;
        each_page(at, from.len(), |at, offset, len| {
            let part = &from[offset..offset + len];
            self.access(at, AccessKind::Write, |place| machine.write_ram(place, part))
        })
    }

    /// Reads a word, in one piece if it is aligned.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_u64(&self, at: VirtAddr) -> Result<u64, Trap<A::Refusal>> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Writes a word, in one piece if it is aligned.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_u64(&self, at: VirtAddr, value: u64) -> Result<(), Trap<A::Refusal>> {
        self.write(at, &value.to_ne_bytes())
    }

    /// Replaces the aligned word at `at` if it is `old`; gives what was there.
    ///
    /// # Errors
    /// As [`write`](Self::write): it is a write even if nothing changes.
    pub fn compare_exchange_u64(&self, at: VirtAddr, old: u64, new: u64) -> Result<u64, Trap<A::Refusal>> {
        self.access(at, AccessKind::Write, |place| {
            self.machine.exchange_ram(place, old, new)
        })
    }

    /// Fetches the instruction byte at `at`.
    ///
    /// # Errors
    /// The trap.
    pub fn exec(&self, at: VirtAddr) -> Result<u8, Trap<A::Refusal>> {
        let mut byte = [0];
        self.access(at, AccessKind::Execute, |place| {
            self.machine.read_ram(place, &mut byte)
        })?;
        Ok(byte[0])
    }

    /// One access inside one page, with its faults resolved.
    fn access<R>(
        &self,
        at: VirtAddr,
        kind: AccessKind,
        mut touch: impl FnMut(PhysAddr) -> R,
    ) -> Result<R, Trap<A::Refusal>> {
        let mut last = None;
        for _ in 0..PATIENCE {
            match self.try_access(at, kind, &mut touch) {
                Ok(result) => return Ok(result),
                Err(Fault::NonCanonical(at)) => return Err(Trap::NonCanonical(at)),
                Err(Fault::Page(fault)) => {
                    self.space
                        .resolve(fault)
                        .map_err(|why| Trap::Refused(fault, why))?;
                    last = Some(fault);
                }
            }
        }
        let fault = PageFault {
            at,
            code: last.map_or_else(foliant_arch::ErrorCode::empty, |fault| fault.code),
        };
        Err(Trap::Stuck(fault))
    }

    /// Translation and access are one step: no shoot-down comes between them.
    fn try_access<R>(
        &self,
        at: VirtAddr,
        kind: AccessKind,
        touch: &mut impl FnMut(PhysAddr) -> R,
    ) -> Result<R, Fault> {
        let mut cpu = self.machine.cpu_state(self.id).lock();
        let entry = cpu.translate(
            self.machine,
            at,
            Access {
                kind,
                mode: self.mode,
            },
            &self.control,
        )?;
        let place = entry.address(at);
        self.machine.check_frame(self.id, at, place.frame());
        Ok(touch(place))
    }
}

impl<A, L: Levels> Drop for Running<'_, A, L> {
    fn drop(&mut self) {
        self.machine.cpu_state(self.id).lock().go_lazy();
    }
}

/// Cuts `len` bytes at `at` into parts that lie in one page each.
fn each_page<E>(
    at: VirtAddr,
    len: usize,
    mut part: impl FnMut(VirtAddr, usize, usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut done = 0;
    while done < len {
        let here = VirtAddr::new(at.raw().wrapping_add(done as u64));
        let step = (PAGE_SIZE - here.offset()).min(len - done);
        part(here, done, step)?;
        done += step;
    }
    Ok(())
}
