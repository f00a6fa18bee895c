//! The allocator of every process: the system's, with a count of what each thread holds, a reserve for the moment at
//! which nothing is left, and wiping while keys are read. Never in here: an allocation of its own, a panic, a lock.
#![expect(
    unsafe_code,
    reason = "GlobalAlloc; malloc_trim(3); explicit_bzero(3); dl_iterate_phdr(3), madvise(2)"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::unistd::{getpid, gettid};

/// A thread's reserve, in bytes: what one step of a session takes at most, several times. It is not touched, so that it
/// costs address space alone.
const RESERVE: usize = 512 * 1024;
/// With less it is none.
const LEAST_RESERVE: usize = 128 * 1024;
/// A request of more never takes the reserve, which would not be enough.
const LARGEST_SERVED: usize = 256 * 1024;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Freed blocks are wiped.
static WIPING: AtomicBool = AtomicBool::new(false);

thread_local! {
    // Constant and without a destructor: using these never allocates.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static RESERVED: Cell<Option<(ptr::NonNull<u8>, usize)>> = const { Cell::new(None) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that this thread has allocated, less those that it has freed. What is freed by another thread than allocated
/// it shifts both counts: only differences within a short time tell something. Memory of C libraries is not in it.
pub(crate) fn held() -> isize {
    HELD.get()
}

/// Whether this thread was refused memory since it last asked. It has used its reserve then.
pub(crate) fn was_refused() -> bool {
    FAILED.get() && FAILED.replace(false)
}

/// Makes this thread's reserve, if it has none. False: there is no memory for one.
pub(crate) fn keep_reserve() -> bool {
    if RESERVED.get().is_some() {
        return true;
    }
    let mut size = RESERVE;
    while size >= LEAST_RESERVE {
        // SAFETY: the layout's size is not zero.
        let block = unsafe { System.alloc(reserve_of(size)) };
        if let Some(block) = ptr::NonNull::new(block) {
            RESERVED.set(Some((block, size)));
            return true;
        }
        size /= 2;
    }
    false
}

fn reserve_of(size: usize) -> Layout {
    // Bytes have no alignment that could be wrong; were it so, there would be no reserve.
    Layout::array::<u8>(size).unwrap_or(Layout::new::<u8>())
}

/// While one lives, whatever this process frees is wiped first, in every library that is written in Rust: keys pass
/// through many hands while they are read. Only one at a time.
#[derive(Debug)]
pub(crate) struct Wiping(());

impl Wiping {
    /// Wipes from now on.
    pub(crate) fn begin() -> Self {
        WIPING.store(true, Relaxed);
        Self(())
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        WIPING.store(false, Relaxed);
    }
}

/// Returns the allocator's unused memory to the kernel, from every thread's part of the heap.
pub(crate) fn trim() {
    // SAFETY: malloc_trim(3) is thread-safe and leaves allocated memory alone.
    unsafe { libc::malloc_trim(0) };
}

/// Lets go of what only rare work needed, as a start is: unused memory, and the pages of the program that are mapped here.
/// Those stay in the kernel's cache as long as there is room; what runs again is mapped again, without a read as a rule.
pub(crate) fn let_go() {
    trim();
    forget_stack();
    // SAFETY: the callback has the type that dl_iterate_phdr(3) asks for, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(forget_program), ptr::null_mut()) };
}

/// Left below the caller's frame, in bytes: this function's own, if it has one.
const MARGIN: usize = 16 * 1024;
/// What is looked at, in bytes. The kernel maps nothing else within 128 MiB of the main thread's stack (MIN_GAP).
const BELOW: usize = 512 * 1024;

/// Forgets what deeper calls have left on the main thread's stack. Other threads' stacks end sooner, with other memory
/// behind them.
#[inline(never)]
fn forget_stack() {
    // nix calls the kernel for the thread: glibc has gettid since 2.30 alone.
    if gettid() != getpid() {
        return;
    }
    let here = 0_u8;
    let page = page();
    let end = ((&raw const here).addr() - MARGIN) / page * page;
    let start = end - BELOW;
    // SAFETY: whole pages below every frame that is in use, of the main thread's stack or of nothing: the gap that
    // the kernel keeps there is wider.
    unsafe { libc::madvise(start as *mut c_void, BELOW, libc::MADV_DONTNEED) };
}

/// The size of a page: a constant of the system, at least 4096.
fn page() -> usize {
    // SAFETY: sysconf(3) has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize
}

/// Forgets the pages of the main program, which comes first, and ends the walk.
unsafe extern "C" fn forget_program(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: dl_iterate_phdr(3) gives a pointer that is good during the call, and as many headers as it says.
    let (base, headers) = unsafe {
        let object = &*object;
        let count = usize::from(object.dlpi_phnum);
        (
            object.dlpi_addr as usize,
            std::slice::from_raw_parts(object.dlpi_phdr, count),
        )
    };
    let page = page();
    let never_written = |header: &&libc::Elf64_Phdr| {
        header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0
    };
    for header in headers.iter().filter(never_written) {
        let start = (base + header.p_vaddr as usize).next_multiple_of(page);
        let end = (base + header.p_vaddr as usize + header.p_memsz as usize) / page * page;
        if start < end {
            // SAFETY: whole pages of a segment that was mapped from the program's file and that nothing can write
            // to: the next access finds the same bytes. Where the kernel refuses, they stay.
            unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    1
}

struct Counting;

fn note(bytes: isize) {
    HELD.set(HELD.get().wrapping_add(bytes));
}

fn note_taken(block: *mut u8, size: usize) {
    if !block.is_null() {
        note(size as isize);
    }
}

/// The system refused this; frees the thread's reserve. True: it may be asked again.
#[cold]
fn refused(size: usize) -> bool {
    FAILED.set(true);
    if size > LARGEST_SERVED {
        return false;
    }
    let Some((block, reserved)) = RESERVED.take() else {
        return false;
    };
    // SAFETY: it was allocated with this layout, and `take` makes this its only owner.
    unsafe { System.dealloc(block.as_ptr(), reserve_of(reserved)) };
    true
}

#[cold]
unsafe fn wipe(block: *mut u8, size: usize) {
    // SAFETY: the caller owns `size` bytes there, and frees them next.
    unsafe { libc::explicit_bzero(block.cast(), size) };
}

// SAFETY: every block comes from `System` and goes back to it, with the layout that it was asked for.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let mut block = unsafe { System.alloc(layout) };
        if block.is_null() && refused(layout.size()) {
            // SAFETY: as above.
            block = unsafe { System.alloc(layout) };
        }
        note_taken(block, layout.size());
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let mut block = unsafe { System.alloc_zeroed(layout) };
        if block.is_null() && refused(layout.size()) {
            // SAFETY: as above.
            block = unsafe { System.alloc_zeroed(layout) };
        }
        note_taken(block, layout.size());
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WIPING.load(Relaxed) {
            // SAFETY: it is the caller's, of this size, and freed next.
            unsafe { wipe(block, layout.size()) };
        }
        note(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if WIPING.load(Relaxed) {
            // SAFETY: as the caller promises.
            return unsafe { moved(self, block, layout, size) };
        }
        // SAFETY: as the caller promises.
        let mut new = unsafe { System.realloc(block, layout, size) };
        if new.is_null() && refused(size) {
            // SAFETY: as above; a realloc that failed has left the block alone.
            new = unsafe { System.realloc(block, layout, size) };
        }
        if !new.is_null() {
            note(size as isize - layout.size() as isize);
        }
        new
    }
}

/// As realloc, by a new block, so that the old one is wiped.
#[cold]
unsafe fn moved(allocator: &Counting, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
        return ptr::null_mut();
    };
    // SAFETY: the size is not zero, as the caller of realloc promises; the blocks are two, and both have the bytes that
    // are copied; the old one is the caller's to give up.
    unsafe {
        let new = allocator.alloc(wanted);
        if !new.is_null() {
            ptr::copy_nonoverlapping(block, new, layout.size().min(size));
            allocator.dealloc(block, layout);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_what_it_holds() {
        let before = held();
        let mut block = Vec::<u8>::with_capacity(5000);
        assert_eq!(held() - before, 5000);
        block.reserve_exact(7000);
        assert_eq!(held() - before, 7000);
        drop(block);
        let zeros = vec![0_u8; 3000];
        assert_eq!(held() - before, 3000);
        drop(zeros);
        assert_eq!(held(), before);
    }

    #[test]
    fn a_refusal_takes_the_reserve_once_and_is_told_once() {
        assert!(!was_refused());
        assert!(keep_reserve() && keep_reserve());
        assert!(refused(100), "the reserve is there now");
        assert!(was_refused() && !was_refused());
        assert!(!refused(100), "it is used up");
        assert!(keep_reserve());
        assert!(!refused(LARGEST_SERVED + 1), "it would not be enough");
        assert!(refused(LARGEST_SERVED));
        // Nothing else of this thread is refused.
        assert!(was_refused());
    }
}
