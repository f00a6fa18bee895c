//! Large buffers of zeros whose pages are taken only once they are written to: what comes from the heap is zeroed by hand,
//! and so takes all of them at once. Never in here: a buffer that is made often; each is a mapping of its own.
#![expect(unsafe_code, reason = "mmap(2), and a slice of what it gives")]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// See the module.
pub(crate) struct Zeros {
    start: NonNull<u8>,
    size: NonZeroUsize,
}

// SAFETY: it alone owns the mapping, which belongs to no thread.
unsafe impl Send for Zeros {}

impl Zeros {
    /// `size` bytes. As with any allocation, the process ends where there is no memory.
    pub(crate) fn new(size: NonZeroUsize) -> Zeros {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let mapped = unsafe { mmap_anonymous(None, size, access, MapFlags::MAP_PRIVATE) };
        let Ok(start) = mapped else {
            let layout = Layout::array::<u8>(size.get());
            handle_alloc_error(layout.unwrap_or(Layout::new::<u8>()))
        };
        Zeros {
            start: start.cast(),
            size,
        }
    }
}

impl Deref for Zeros {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, `size` bytes, readable, for as long as `self` lives; all bytes are valid.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size.get()) }
    }
}

impl DerefMut for Zeros {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable, and not borrowed elsewhere.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size.get()) }
    }
}

impl Drop for Zeros {
    fn drop(&mut self) {
        // SAFETY: the only owner gives back exactly what was mapped.
        let _ = unsafe { munmap(self.start.cast(), self.size.get()) };
    }
}

impl fmt::Debug for Zeros {
    /// Shows nothing of what was written there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zeros({})", self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut zeros = Zeros::new(NonZeroUsize::new(100_000).unwrap());
        assert_eq!(zeros.len(), 100_000);
        zeros[99_999] = 1;
        let mut moved = std::thread::spawn(move || zeros).join().unwrap();
        assert_eq!(
            moved.iter().map(|byte| usize::from(*byte)).sum::<usize>(),
            1
        );
        moved.fill(2);
        assert!(format!("{moved:?}").len() < 20);
    }
}
