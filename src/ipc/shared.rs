//! Memory that is shared over a fork: words that only atomics touch, so a process that dies
//! half-way leaves nothing but a number.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An anonymous shared mapping of zeroed 64-bit words, made before the fork that shares it.
/// Clones are the same memory.
#[derive(Clone, Debug)]
pub struct SharedWords(Arc<Mapping>);

#[derive(Debug)]
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is only ever seen as `&[AtomicU64]`, which any thread may use.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl SharedWords {
    /// Maps `words` zeroed words (at least one).
    ///
    /// # Errors
    /// What mmap(2) gives: no memory.
    pub fn new(words: usize) -> io::Result<Self> {
        let words = words.max(1);
        let bytes = words
            .checked_mul(size_of::<AtomicU64>())
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            mmap_anonymous(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }?;
        Ok(Self(Arc::new(Mapping {
            start: start.cast(),
            words,
        })))
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page aligned, `words` long, zero-initialised by the kernel (a valid
        // AtomicU64), and stays mapped for as long as the Arc lives.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the last owner in this process gives back exactly what was mapped.
        let _ = unsafe { munmap(self.start.cast(), self.words * size_of::<AtomicU64>()) };
    }
}
