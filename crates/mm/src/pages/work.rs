//! The pages' side of an operation on VMAs.

use alloc::sync::Arc;

use foliant_paging::Gather;
use foliant_platform::Mmu;
use foliant_units::{Errno, PAGE_SHIFT, Vpn, VpnRange};

use super::zap::{Removal, zap};
use super::{advise, protect, relocate};
use crate::anon;
use crate::book::Usage;
use crate::flags::VmFlags;
use crate::object::{Object, SharedZero};
use crate::space::Space;
use crate::tree::Tree;
use crate::vma::{Mapping, Vma};
use crate::work::{PageWork, Treatment, Zap};

/// What one operation does to the pages of a space, and what it has yet to flush.
pub(crate) struct Work<'s, P: Mmu> {
    space: &'s Space<P>,
    gather: Gather<'s, P>,
}

impl<'s, P: Mmu> Work<'s, P> {
    pub(crate) fn new(space: &'s Space<P>) -> Self {
        Self {
            space,
            gather: Gather::new(space.tables()),
        }
    }
}

impl<P: Mmu> PageWork<P> for Work<'_, P> {
    fn shared_memory(&mut self, pages: u64, flags: VmFlags) -> Result<Arc<Mapping<P>>, Errno> {
        if !flags.contains(VmFlags::NORESERVE) && !self.may_commit(pages) {
            return Err(Errno::NOMEM);
        }
        let object = Object::shmem(self.space.env(), pages << PAGE_SHIFT);
        let label = Arc::new(SharedZero::new(object.id()));
        Ok(Arc::new(Mapping { object, label }))
    }

    fn prepare(&mut self, tree: &Tree<Vma<P>>, vma: &Vma<P>) {
        anon::prepare(tree, vma);
    }

    fn link(&mut self, vma: &Arc<Vma<P>>) -> Result<(), Errno> {
        if let (Some(object), Some(space)) = (vma.object(), self.space.shared()) {
            object.attach(&space);
        }
        Ok(())
    }

    fn unlink(&mut self, _vma: &Arc<Vma<P>>) {
        // An object looks for its VMAs in the spaces that ever mapped it.
    }

    fn zap(&mut self, vma: &Vma<P>, range: VpnRange, why: Zap) {
        let how = match why {
            Zap::Unmap => Removal::Unmap,
            Zap::Discard => Removal::Discard,
        };
        zap(self.space, vma, range, how, &mut self.gather);
        if why == Zap::Unmap {
            self.space.remember(vma);
        }
    }

    fn free_tables(&mut self, hole: VpnRange) {
        self.space.tables().free_range(hole, &mut self.gather);
        // Something else may be mapped here next, and be touched.
        self.gather.flush();
    }

    fn protect(&mut self, vma: &Vma<P>, range: VpnRange) {
        protect::protect(self.space, vma, range, &mut self.gather);
    }

    fn relocate(&mut self, _from: &Vma<P>, range: VpnRange, _target: &Vma<P>, to: Vpn) -> Result<(), Errno> {
        relocate::relocate(self.space, range, to, &mut self.gather)?;
        Ok(())
    }

    fn locked(&mut self, vma: &Vma<P>, range: VpnRange) {
        advise::mark_locked(self.space, range, vma.flags.contains(VmFlags::LOCKED));
    }

    fn treat(&self, vma: &Arc<Vma<P>>, range: VpnRange, how: Treatment) -> Result<(), Errno> {
        let mut gather = Gather::new(self.space.tables());
        match how {
            Treatment::Discard => zap(self.space, vma, range, Removal::Discard, &mut gather),
            Treatment::LazyFree => advise::free_lazily(self.space, range, &mut gather),
            Treatment::Cool | Treatment::PageOut => advise::cool(self.space, range, &mut gather),
            Treatment::Guard => {
                // A file's mapping has a family only when it is written.
                if vma.is_anonymous() {
                    let tree = self.space.map().snapshot();
                    anon::prepare(&tree, vma);
                }
                advise::install_guards(self.space, vma, range, &mut gather)?;
            }
            Treatment::Unguard => advise::remove_guards(self.space, range),
            Treatment::WillNeed => {
                if let Some(object) = vma.object() {
                    object.prefetch(vma.pgoff_at(range.start), range.len());
                }
            }
            Treatment::Punch => {
                if let Some(object) = vma.object() {
                    let start = vma.pgoff_at(range.start) << PAGE_SHIFT;
                    object.punch(start, range.len() << PAGE_SHIFT)?;
                }
            }
        }
        gather.finish();
        Ok(())
    }

    fn may_commit(&self, pages: u64) -> bool {
        self.space.may_commit(pages)
    }

    fn settled(&mut self, usage: &Usage) {
        self.gather.flush();
        self.space.settle(usage);
    }
}
