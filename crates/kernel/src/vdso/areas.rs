//! The three areas, and their frames.

use alloc::sync::Arc;
use core::fmt;

use foliant_mm::{Env, FileLabel, Mapping, Object, Source, VmFlags};
use foliant_platform::Mmu;
use foliant_platform::sync::Mutex;
use foliant_units::{Errno, PAGE_SIZE, VirtAddr, VirtRange};

use super::line::Slope;
use super::page::{DATA_PAGES, DISTANCE, VCLOCK_PAGES};
use super::{ClockSample, code, elf, page};
use crate::machine::UserMachine;
use crate::space::Space;

/// Pages of the image.
const CODE_PAGES: u64 = 2;
const PAGE: u64 = PAGE_SIZE as u64;

/// The vDSO of a machine; every program maps the same frames.
pub(crate) struct Vdso<M: Mmu> {
    data: Arc<Mapping<M>>,
    vclock: Arc<Mapping<M>>,
    code: Arc<Mapping<M>>,
    slope: Mutex<Slope>,
}

/// What `/proc/PID/maps` calls an area.
struct Label(&'static str);

impl FileLabel for Label {
    fn device(&self) -> (u32, u32) {
        (0, 0)
    }

    fn inode(&self) -> u64 {
        0
    }

    fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl<M: UserMachine> Vdso<M> {
    /// Builds it.
    ///
    /// # Errors
    /// `NOMEM` where there are no three frames.
    pub(crate) fn new(env: &Arc<Env<M>>) -> Result<Self, Errno> {
        let image = elf::image(code::bytes(), &code::functions());
        debug_assert!(image.len() <= CODE_PAGES as usize * PAGE_SIZE);
        let area = |name, pages, contents: &[u8]| {
            let object = Object::special(env, pages);
            object.write(0, contents)?;
            let label = Arc::new(Label(name));
            Ok::<_, Errno>(Arc::new(Mapping { object, label }))
        };
        let mut code = alloc::vec![0; CODE_PAGES as usize * PAGE_SIZE];
        code[..image.len()].copy_from_slice(&image);
        Ok(Self {
            data: area("[vvar]", 1, &[0; PAGE_SIZE])?,
            vclock: area("[vvar_vclock]", 0, &[])?,
            code: area("[vdso]", CODE_PAGES, &code)?,
            slope: Mutex::new(Slope::default()),
        })
    }

    /// Maps the areas into a new space; where the image lies.
    ///
    /// # Errors
    /// `NOMEM`.
    ///
    /// # Linux source concept
    /// `map_vdso()`.
    pub(crate) fn map(&self, space: &Space<M>) -> Result<VirtAddr, Errno> {
        let data = VmFlags::READ
            | VmFlags::MAYREAD
            | VmFlags::IO
            | VmFlags::PFNMAP
            | VmFlags::DONTDUMP
            | VmFlags::DONTEXPAND;
        let code = VmFlags::READ
            | VmFlags::EXEC
            | VmFlags::MAYREAD
            | VmFlags::MAYWRITE
            | VmFlags::MAYEXEC
            | VmFlags::DONTEXPAND;
        let start = space.unmapped_area(DISTANCE + CODE_PAGES * PAGE)?;
        let mut at = start;
        for (mapping, pages, flags) in [
            (&self.data, DATA_PAGES, data),
            (&self.vclock, VCLOCK_PAGES, data),
            (&self.code, CODE_PAGES, code),
        ] {
            let range = VirtRange::new(at, at + pages * PAGE).pages();
            space.install(range, flags, 0, Source::Object(mapping.clone()))?;
            at = at + pages * PAGE;
        }
        Ok(start + DISTANCE)
    }

    /// Tells programs the time anew, if what they know will soon be old.
    ///
    /// # Locking
    /// Takes the slope's lock, for a few stores.
    pub(crate) fn refresh(&self, sample: ClockSample) {
        let mut slope = self.slope.lock();
        if let Some(line) = slope.advance(sample) {
            self.data
                .object
                .with_special(0, |content| page::write(content, &line));
        }
    }
}
