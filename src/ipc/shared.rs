//! Memory that survives a fork as shared memory. Only atomics touch its words, so a process that dies
//! halfway leaves nothing worse than a number.
#![expect(unsafe_code, reason = "shared memory")]

use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::unistd::ftruncate;

use crate::step::NameStep;

/// An anonymous shared mapping of zeroed 64-bit words, made before the fork that shares it. Clones
/// refer to the same memory.
#[derive(Clone, Debug)]
pub(crate) struct SharedWords(Arc<Mapping>);

#[derive(Debug)]
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is only ever seen as `&[AtomicU64]`, which any thread may use.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

impl SharedWords {
    /// Maps `words` zeroed words (at least one).
    ///
    /// # Errors
    /// What mmap(2) gives: no memory.
    pub(crate) fn new(words: usize) -> io::Result<Self> {
        let bytes = bytes(words)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(None, bytes, READ_WRITE, MapFlags::MAP_SHARED) }
            .step("mmap(2) of shared memory")?;
        Ok(Self::at(start.cast(), words))
    }

    /// As [`SharedWords::new`], with a descriptor that keeps the memory across an exec.
    ///
    /// # Errors
    /// No memory or descriptors left.
    pub(crate) fn transferable(words: usize) -> io::Result<(Self, OwnedFd)> {
        let descriptor = memfd_create(c"adit", MFdFlags::MFD_CLOEXEC)
            .step("memfd_create(2) of shared memory")?;
        let length = i64::try_from(bytes(words)?.get()).map_err(io::Error::other)?;
        ftruncate(&descriptor, length).step("ftruncate(2) of shared memory")?;
        Ok((Self::taken_over(&descriptor, words)?, descriptor))
    }

    /// Maps memory that [`SharedWords::transferable`] made, in this program or in the one that ran
    /// before an exec.
    ///
    /// # Errors
    /// It is not `words` long; no memory.
    pub(crate) fn taken_over(descriptor: &OwnedFd, words: usize) -> io::Result<Self> {
        Self::mapped(descriptor, 0..words, words, READ_WRITE)
    }

    /// How many words such memory has.
    ///
    /// # Errors
    /// What fstat(2) gives.
    pub(super) fn length(descriptor: &OwnedFd) -> io::Result<usize> {
        let bytes = nix::sys::stat::fstat(descriptor)?.st_size;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        Ok(bytes / size_of::<AtomicU64>())
    }

    /// As [`SharedWords::transferable`], in two parts that can be given up by themselves; the first is whole
    /// pages long.
    ///
    /// # Errors
    /// As [`SharedWords::transferable`].
    pub(crate) fn transferable_parts(words: [usize; 2]) -> io::Result<([Self; 2], OwnedFd)> {
        let (_, descriptor) = Self::transferable(words[0] + words[1])?;
        Ok((Self::taken_over_parts(&descriptor, words)?, descriptor))
    }

    /// As [`SharedWords::taken_over`], of what [`SharedWords::transferable_parts`] made.
    ///
    /// # Errors
    /// As [`SharedWords::taken_over`].
    pub(crate) fn taken_over_parts(
        descriptor: &OwnedFd,
        words: [usize; 2],
    ) -> io::Result<[Self; 2]> {
        let [first, second] = words;
        let whole = first + second;
        Ok([
            Self::mapped(descriptor, 0..first, whole, READ_WRITE)?,
            Self::mapped(descriptor, first..whole, whole, READ_WRITE)?,
        ])
    }

    /// As [`SharedWords::taken_over`], to be read alone: the caller must never write to a word, which
    /// would be a fault of memory. A descriptor for reading is enough.
    ///
    /// # Errors
    /// As [`SharedWords::taken_over`].
    pub(super) fn read_only(descriptor: &OwnedFd, words: usize) -> io::Result<Self> {
        Self::mapped(descriptor, 0..words, words, ProtFlags::PROT_READ)
    }

    /// Maps a range of the `whole` words that the memory has.
    fn mapped(
        descriptor: &OwnedFd,
        range: Range<usize>,
        whole: usize,
        access: ProtFlags,
    ) -> io::Result<Self> {
        let length = nix::sys::stat::fstat(descriptor)?.st_size;
        if usize::try_from(length) != Ok(bytes(whole)?.get()) {
            return Err(io::Error::other("shared memory of an unexpected size"));
        }
        let from = range.start * size_of::<AtomicU64>();
        let from = i64::try_from(from).map_err(io::Error::other)?;
        let length = bytes(range.len())?;
        // SAFETY: at an address of the kernel's choice; the file is at least as long as the mapping, and
        // only adit's own processes, which never shorten it, have its descriptor.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, descriptor, from) }
            .step("mmap(2) of shared memory")?;
        Ok(Self::at(start.cast(), range.len()))
    }

    fn at(start: NonNull<AtomicU64>, words: usize) -> Self {
        let words = words.max(1);
        Self(Arc::new(Mapping { start, words }))
    }
}

fn bytes(words: usize) -> io::Result<NonZeroUsize> {
    let bytes = words.max(1).checked_mul(size_of::<AtomicU64>());
    let bytes = bytes.and_then(NonZeroUsize::new);
    bytes.ok_or(io::ErrorKind::InvalidInput.into())
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page aligned, `words` long, of bytes that are always a valid AtomicU64,
        // and stays mapped for as long as the Arc lives.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the last owner in this process unmaps exactly what was mapped.
        let _ = unsafe { munmap(self.start.cast(), self.words * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn what_is_taken_over_by_its_descriptor_is_the_same_memory() {
        let (words, descriptor) = SharedWords::transferable(3).unwrap();
        let again = SharedWords::taken_over(&descriptor, 3).unwrap();
        words[2].store(7, Relaxed);
        assert_eq!((again.len(), again[2].load(Relaxed)), (3, 7));
        assert!(SharedWords::taken_over(&descriptor, 4).is_err());
    }
}
