//! Memory for secrets: never swapped, in no core dump, and wiped in every child, so that only a process that is given a copy
//! has one. Never in here: what the secrets are.
#![expect(unsafe_code, reason = "a page of memory with advice of its own")]

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

use crate::step::NameStep;

/// See the module.
pub(crate) struct Page {
    start: NonNull<u8>,
    size: NonZeroUsize,
}

impl Page {
    /// Maps `size` zeroed bytes.
    ///
    /// # Errors
    /// What mmap(2) and madvise(2) give: no memory.
    pub(crate) fn new(size: NonZeroUsize) -> io::Result<Page> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(None, size, access, MapFlags::MAP_PRIVATE) }
            .step("mmap(2) for a secret")?;
        let page = Page {
            start: start.cast(),
            size,
        };
        for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_WIPEONFORK] {
            // SAFETY: the whole of a mapping that was just made; neither advice changes its content
            // in this process.
            unsafe { madvise(start, size.get(), advice) }.step("madvise(2) for a secret")?;
        }
        // An ordinary user may be allowed less; it is no reason not to serve.
        // SAFETY: as above.
        let _ = unsafe { mlock(start, size.get()) };
        Ok(page)
    }

    /// Its content.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, `size` bytes, readable, for as long as `self` lives; all bytes are valid.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size.get()) }
    }

    /// The same, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable, and not borrowed elsewhere.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size.get()) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the only owner gives back exactly what was mapped.
        let _ = unsafe { munmap(self.start.cast(), self.size.get()) };
    }
}

impl fmt::Debug for Page {
    /// Shows nothing: it is all secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}
