//! A program whose instructions the target makes up.

use std::sync::Arc;

use foliant_kernel::exec::{Boot, BootError};
use foliant_kernel::signal::SigSet;
use foliant_kernel::testing::{Files, Registers};
use foliant_kernel::{Capabilities, Credentials, Kernel, Limits, Next, Task, Trap, UserCpu, procfs};
use foliant_uapi::Sysno;
use foliant_uapi::text::Iomem;
use foliant_units::VirtAddr;

use crate::machine::{Machine, Target};

/// Bytes of RAM.
const RAM: usize = 4 << 20;
/// Memory that the program has for what it hands to system calls.
pub(crate) const SCRATCH: u64 = 0x10_0000;
/// Its size.
pub(crate) const SCRATCH_LEN: u64 = 64 << 10;
const PAGE: u64 = 4096;

/// A task in user mode, the only one of its machine.
pub(crate) struct Guest {
    kernel: Arc<Kernel<Machine>>,
    task: Arc<Task<Machine>>,
    cpu: Registers,
    files: Arc<Files<Machine>>,
    lives: bool,
}

impl Guest {
    /// Boots a machine with these files, on which `path` runs as root.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) fn boot(contents: Vec<(&'static str, Vec<u8>)>, path: &str) -> Result<Self, BootError> {
        let kernel = Machine::boot(Target::default(), RAM, Iomem::default());
        let contents = contents.into_iter().map(|(name, bytes)| (name.into(), bytes));
        let files = Files::new(contents.collect(), kernel.memory().clone());
        files.mount_proc(procfs::root(&kernel, None, files.root()));
        kernel.files().set_root(files.root());

        let booted = kernel.boot(Boot {
            path: path.as_bytes().to_vec(),
            args: vec![path.as_bytes().to_vec(), b"-x".to_vec()],
            env: vec![b"A=b".to_vec()],
            files: files.for_task(),
            creds: Credentials {
                caps: Capabilities {
                    effective: u64::MAX,
                    permitted: u64::MAX,
                    ..Capabilities::default()
                },
                ..Credentials::default()
            },
            limits: Limits::new(),
            ignored: SigSet::EMPTY,
            blocked: SigSet::EMPTY,
            leads_group: true,
            has_terminal: false,
        });
        let task = booted.inspect_err(|_| files.unmount())?;
        let target = kernel.machine().host();
        target.watch(task.process());
        let regs = target.first_regs().unwrap_or_default();
        Ok(Self {
            kernel,
            task,
            cpu: Registers::new(regs),
            files,
            lives: true,
        })
    }

    /// The same, of a program that is sound, and with [`SCRATCH`] mapped.
    pub(crate) fn sound(mut contents: Vec<(&'static str, Vec<u8>)>) -> Self {
        contents.push(("sh", crate::program::sound()));
        let mut guest = Self::boot(contents, "/sh").unwrap_or_else(|why| panic!("it is sound: {why:?}"));
        let fixed_private_anonymous = 0x32;
        guest.call(
            Sysno::MMAP,
            &[SCRATCH, SCRATCH_LEN, 3, fixed_private_anonymous, !0, 0],
        );
        guest
    }

    /// Whether it has not ended yet.
    pub(crate) fn lives(&self) -> bool {
        self.lives
    }

    /// Makes a system call; -1 if that ends it.
    pub(crate) fn call(&mut self, nr: Sysno, args: &[u64]) -> i64 {
        self.call_by_number(u64::from(nr.raw()), args)
    }

    /// As [`call`](Self::call), with any number.
    pub(crate) fn call_by_number(&mut self, nr: u64, args: &[u64]) -> i64 {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        self.trap(Trap::Syscall { nr, args: all });
        if self.lives {
            self.cpu.regs().rax as i64
        } else {
            -1
        }
    }

    /// Touches a byte as an instruction does.
    pub(crate) fn touch(&mut self, at: u64, write: bool) {
        let error_code = 4 | if write { 2 } else { 0 };
        self.trap(Trap::PageFault {
            addr: VirtAddr::new(at),
            error_code,
        });
    }

    /// Raises an exception.
    pub(crate) fn raise(&mut self, vector: u8) {
        self.trap(Trap::Exception {
            vector,
            error_code: 0,
        });
    }

    fn trap(&mut self, trap: Trap) {
        if self.lives && self.kernel.handle(&self.task, &mut self.cpu, trap) == Next::Gone {
            self.lives = false;
        }
    }

    /// Where it executes, and its stack.
    pub(crate) fn place(&mut self) -> (u64, u64) {
        let regs = self.cpu.regs();
        (regs.rip, regs.rsp)
    }

    /// Stores bytes at a place of [`SCRATCH`].
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let len = (bytes.len() as u64).min(SCRATCH_LEN.saturating_sub(offset));
        let start = SCRATCH + offset;
        let mut at = start & !(PAGE - 1);
        while at < start + len {
            self.touch(at, true);
            at += PAGE;
        }
        if let Some(space) = self.task.space() {
            // The program may have unmapped it.
            let _either = space.copy_out(VirtAddr::new(start), &bytes[..len as usize]);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.lives {
            self.kernel.lost(&self.task);
        }
        assert_eq!(self.kernel.tree().task_count(), 0, "a task is left");
        assert_eq!(self.kernel.tree().nodes().count(), 0, "a zombie is left");
        self.files.unmount();
        foliant_phys::testing::audit(self.kernel.memory().phys());
    }
}
