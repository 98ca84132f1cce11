//! Tables that lie in pieces, one for each section of memory that has one.

use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::Index;
use core::ptr::{NonNull, null_mut};
// Not the atomics that models watch: a window is opened before there is a second
// thread, and only gets shorter, so no protocol turns on when that is seen.
use core::sync::atomic::{AtomicPtr as WindowPtr, AtomicUsize};

use foliant_platform::Platform;
use foliant_platform::sync::atomic::{AtomicPtr, Ordering};
use foliant_units::{PAGE_SIZE, PhysRange};

use crate::mutant::{Mutant, ordering};
use crate::ram::{Blank, Found, Table, make_blank};

/// Where a piece lies, with the number of its pages in the low bits, which the
/// alignment leaves free; null for none.
#[derive(Debug)]
pub(crate) struct Piece<T>(AtomicPtr<T>);

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }
}

/// A run of pieces that lie side by side: what is in it is found by one addition.
#[derive(Debug)]
struct Window<T> {
    /// The first element that is in it.
    start: usize,
    /// How many follow; less when a piece in it goes.
    len: AtomicUsize,
    /// Where element zero would be.
    base: WindowPtr<T>,
}

/// A window as somebody saw it. What is found through it stays readable when a
/// piece goes, as everything that was found before does.
#[derive(Debug)]
pub(crate) struct View<'a, T> {
    start: usize,
    len: usize,
    first: *mut T,
    lives: PhantomData<&'a T>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T: Blank> View<'a, T> {
    /// The first element that is in it.
    #[inline]
    pub(crate) fn start(self) -> usize {
        self.start
    }

    /// The element `within` behind the first; `None` if it was not in the window.
    #[inline]
    pub(crate) fn nth(self, within: usize) -> Option<&'a T> {
        if within >= self.len {
            return None;
        }
        // SAFETY: the window covered pieces side by side (`open_window`), each
        // blank memory that `give` was promised for as long as the table lives,
        // which `'a` does not outlast.
        Some(unsafe { &*self.first.wrapping_add(within) })
    }
}

/// A table with `1 << SHIFT` elements for each section of memory that has a
/// piece, none for others, and a blank one to look at for those.
///
/// Finding an element takes a comparison and an addition in the longest run of
/// pieces side by side, elsewhere also the word of its section. Memory maps
/// without holes of a section's size are one run.
#[derive(Debug)]
pub(crate) struct Sectioned<T, const SHIFT: u32> {
    pieces: Table<Piece<T>>,
    window: Window<T>,
    blank: T,
}

impl<T: Blank, const SHIFT: u32> Sectioned<T, SHIFT> {
    const PER_PIECE: usize = 1 << SHIFT;
    const PER_PAGE: usize = PAGE_SIZE / size_of::<T>();
    const PAGES: usize = PAGE_SIZE - 1;

    /// Bytes of the piece that reaches up to `reach` elements of a section, in
    /// whole pages.
    pub(crate) const fn bytes(reach: usize) -> u64 {
        (reach.div_ceil(Self::PER_PAGE) * PAGE_SIZE) as u64
    }

    /// Without any piece.
    pub(crate) fn new(pieces: Table<Piece<T>>) -> Self {
        Self {
            pieces,
            window: Window {
                start: 0,
                len: AtomicUsize::new(0),
                base: WindowPtr::new(null_mut()),
            },
            blank: T::default(),
        }
    }

    /// Gives a section its piece, blank. What is found from now on is seen so.
    ///
    /// # Safety
    /// 1. `range` is RAM of `platform`, whole pages, at most
    ///    `Self::bytes(1 << SHIFT)` bytes.
    /// 2. Nobody else uses those bytes, except through this table, until the
    ///    piece was taken back.
    /// 3. A clone of `platform` outlives the table.
    /// 4. With [`Found::Zeroes`], the bytes are zero.
    pub(crate) unsafe fn give<P: Platform>(
        &self,
        platform: &P,
        section: usize,
        range: PhysRange,
        found: Found,
    ) {
        let pages = range.len() as usize / PAGE_SIZE;
        // SAFETY: conditions 1 to 4 are ours.
        let first = unsafe { make_blank::<T, P>(platform, range, pages * Self::PER_PAGE, found) };
        let word = first.as_ptr().map_addr(|addr| addr | pages);
        // Release: who finds the piece sees it blank.
        let right = ordering(Mutant::PieceRelaxed, Ordering::Release);
        self.pieces[section].0.store(word, right);
    }

    /// Takes the piece of a section back.
    ///
    /// Elements that someone found before stay readable: RAM that was handed
    /// over stays where it is as long as the platform, which the table does
    /// not outlive, and every word is a value of theirs.
    pub(crate) fn take_back(&self, section: usize) {
        self.window.end_at(section << SHIFT);
        self.pieces[section].0.store(null_mut(), Ordering::Release);
    }

    /// Makes the longest run of pieces the one that is found quickly. At boot,
    /// when all pieces were given.
    pub(crate) fn open_window(&mut self) {
        let (mut run, mut best) = ((0, 0), (0, 0));
        let mut next: *mut T = null_mut();
        for section in 0..self.pieces.len() {
            let (first, len) = self.piece(section);
            if len == 0 || first != next {
                run = (section << SHIFT, 0);
            }
            run.1 += len;
            next = match len == Self::PER_PIECE {
                true => first.wrapping_add(len),
                false => null_mut(),
            };
            if run.1 > best.1 {
                best = run;
            }
        }
        let (start, len) = best;
        let (first, _) = self.piece(start >> SHIFT);
        self.window = Window {
            start,
            len: AtomicUsize::new(len),
            base: WindowPtr::new(first.wrapping_sub(start)),
        };
    }

    /// The first element of a section's piece, and how many there are.
    fn piece(&self, section: usize) -> (*mut T, usize) {
        let word = self
            .pieces
            .get(section)
            .map_or(null_mut(), |piece| piece.0.load(Ordering::Acquire));
        let len = (word.addr() & Self::PAGES) * Self::PER_PAGE;
        (
            word.map_addr(|addr| addr & !Self::PAGES),
            len.min(Self::PER_PIECE),
        )
    }

    /// The element `at`; `None` where no piece reaches.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let window = &self.window;
        if at.wrapping_sub(window.start) < window.len.load(Ordering::Relaxed) {
            let element = window.base.load(Ordering::Relaxed).wrapping_add(at);
            // SAFETY: the window covers pieces side by side (`open_window`), each
            // blank memory that `give` was promised for as long as this lives.
            return Some(unsafe { &*element });
        }
        self.find(at)
    }

    #[inline(never)]
    fn find(&self, at: usize) -> Option<&T> {
        let (first, len) = self.piece(at >> SHIFT);
        let within = at & (Self::PER_PIECE - 1);
        if within >= len {
            return None;
        }
        // SAFETY: inside the piece, which is blank memory that `give` was
        // promised for as long as this lives.
        Some(unsafe { &*first.wrapping_add(within) })
    }

    /// The longest run as it is now, for loops that look much up.
    #[inline]
    pub(crate) fn view(&self) -> View<'_, T> {
        let Window { start, len, base } = &self.window;
        View {
            start: *start,
            len: len.load(Ordering::Relaxed),
            first: base.load(Ordering::Relaxed).wrapping_add(*start),
            lives: PhantomData,
        }
    }

    /// What is found where there is no piece; stays blank.
    pub(crate) fn blank(&self) -> &T {
        &self.blank
    }
}

impl<T: Blank, const SHIFT: u32> Index<usize> for Sectioned<T, SHIFT> {
    type Output = T;

    /// The element `at`, or the blank one.
    #[inline]
    fn index(&self, at: usize) -> &T {
        self.get(at).unwrap_or(&self.blank)
    }
}

/// The elements of the longest run, each with the element of a table that
/// serves `1 << SHIFT` of them: found with one comparison.
#[derive(Debug)]
pub(crate) struct Pairs<T, U, const SHIFT: u32> {
    /// The first element that is found here.
    start: usize,
    /// How many follow; less when a piece goes.
    len: AtomicUsize,
    /// Where the first is. Plain words, unlike those of a window: the short ways
    /// of the allocator begin here, and each load of an atomic is an instruction.
    each: NonNull<T>,
    /// Where the other table begins.
    shared: NonNull<U>,
}

// SAFETY: shared slices, as tables are.
unsafe impl<T: Blank, U: Blank, const SHIFT: u32> Sync for Pairs<T, U, SHIFT> {}
// SAFETY: as above.
unsafe impl<T: Blank, U: Blank, const SHIFT: u32> Send for Pairs<T, U, SHIFT> {}

impl<T: Blank, U: Blank, const SHIFT: u32> Pairs<T, U, SHIFT> {
    /// Of a table whose window is open.
    ///
    /// # Safety
    /// The result is dropped no later than the tables' memory goes.
    pub(crate) unsafe fn new<const EACH: u32>(each: &Sectioned<T, EACH>, shared: &Table<U>) -> Self {
        let window = &each.window;
        let len = window.len.load(Ordering::Relaxed);
        let served = (shared.len() << SHIFT).saturating_sub(window.start);
        let first = window.base.load(Ordering::Relaxed).wrapping_add(window.start);
        Self {
            start: window.start,
            len: AtomicUsize::new(len.min(served)),
            // An empty window has no first element, and no use for one.
            each: NonNull::new(first).unwrap_or(NonNull::dangling()),
            shared: NonNull::from(&**shared).cast(),
        }
    }

    /// An element, and the one that it shares with its neighbours.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<(&T, &U)> {
        let within = at.wrapping_sub(self.start);
        if within >= self.len.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: the window covers pieces side by side, whose memory is still
        // there (promised to `new`).
        let each = unsafe { self.each.add(within).as_ref() };
        // SAFETY: `at >> SHIFT` is below the length of the table (`new`); the
        // rest as above.
        let shared = unsafe { self.shared.add(at >> SHIFT).as_ref() };
        Some((each, shared))
    }

    /// Elements from `at` on are found in some other way from now on.
    pub(crate) fn end_at(&self, at: usize) {
        if let Some(left) = at.checked_sub(self.start) {
            self.len.fetch_min(left, Ordering::Relaxed);
        }
    }
}

impl<T> Window<T> {
    fn end_at(&self, at: usize) {
        if let Some(left) = at.checked_sub(self.start) {
            self.len.fetch_min(left, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
impl<T: Blank, const SHIFT: u32> Sectioned<T, SHIFT> {
    /// A table outside of any RAM, for models; it is never freed.
    pub(crate) fn leaked(len: usize) -> Self {
        let first = Table::<T>::leaked_elements(len);
        let mut table = Self::new(Table::leaked(0));
        table.window.len = AtomicUsize::new(len);
        table.window.base = WindowPtr::new(first.as_ptr());
        table
    }
}

/// Where `pages` begin must leave room for their number.
const _: () = assert!((1 << 15) * size_of::<u64>() * 8 / PAGE_SIZE < PAGE_SIZE);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::alloc::Line;
    use foliant_platform::testing::TestPlatform;
    use foliant_units::PhysAddr;

    type Lines = Sectioned<Line, 7>;

    fn range(page: u64, pages: u64) -> PhysRange {
        let at = |page: u64| PhysAddr::new(page * PAGE_SIZE as u64);
        PhysRange::new(at(page), at(page + pages))
    }

    fn lines(platform: &TestPlatform, pieces: &[(usize, u64, u64)]) -> Lines {
        // SAFETY: the first page is this table's alone, and the platform outlives it.
        let words = unsafe { Table::new(platform, range(0, 1), 16, Found::Garbage) };
        let mut lines = Lines::new(words);
        for &(section, page, pages) in pieces {
            // SAFETY: each piece has pages of its own.
            unsafe { lines.give(platform, section, range(page, pages), Found::Garbage) };
        }
        lines.open_window();
        lines
    }

    /// Where the elements lie, in pages.
    fn page_of(platform: &TestPlatform, line: Option<&Line>) -> Option<usize> {
        let base = platform.ram(PhysAddr::ZERO).as_ptr().addr();
        line.map(|line| (core::ptr::from_ref(line).addr() - base) / PAGE_SIZE)
    }

    #[test]
    fn every_element_is_where_its_piece_is_and_nowhere_else() {
        let platform = TestPlatform::<true>::new(64 * PAGE_SIZE, 1);
        // A piece of two pages holds 128 lines: section 1 is alone, 3 to 5 lie
        // side by side, 5 reaches only half-way, 9 is elsewhere.
        let pieces = [(1, 30, 2), (3, 10, 2), (4, 12, 2), (5, 14, 1), (9, 2, 2)];
        let lines = lines(&platform, &pieces);
        assert_eq!(
            (lines.window.start, lines.window.len.load(Ordering::Relaxed)),
            (3 << 7, 320)
        );
        for at in 0..16 << 7 {
            let found = pieces.iter().find(|piece| piece.0 == at >> 7);
            let expected = found.and_then(|&(_, page, pages)| {
                let within = (at % 128) / 64;
                (within < pages as usize).then_some(page as usize + within)
            });
            assert_eq!(page_of(&platform, lines.get(at)), expected, "{at}");
        }
        assert!(lines.get(16 << 7).is_none() && lines.get(usize::MAX).is_none());
        assert!(core::ptr::eq(&lines[0], lines.blank()));
    }

    #[test]
    fn a_piece_that_was_taken_back_is_found_no_more() {
        let platform = TestPlatform::<true>::new(64 * PAGE_SIZE, 1);
        let lines = lines(&platform, &[(0, 10, 2), (1, 12, 2), (2, 14, 2)]);
        lines.take_back(1);
        assert!(lines.get(127).is_some() && lines.get(128).is_none());
        assert_eq!(page_of(&platform, lines.get(256)), Some(14), "through its word");
        // SAFETY: pages that no other piece has.
        unsafe { lines.give(&platform, 1, range(20, 2), Found::Garbage) };
        assert_eq!(page_of(&platform, lines.get(128)), Some(20));
    }
}
