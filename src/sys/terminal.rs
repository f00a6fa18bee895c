//! The size of a terminal. Never in here: what is shown on it.
#![expect(unsafe_code, reason = "nix has the call as an unsafe function alone")]

use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{TIOCGWINSZ, winsize};

nix::ioctl_read_bad!(window_size, TIOCGWINSZ, winsize);

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub columns: usize,
    pub lines: usize,
}

/// The size of a terminal; `None`: it is none, or does not know.
pub(crate) fn size(terminal: &impl AsFd) -> Option<Size> {
    let mut told = winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes one `winsize` to where one is, or fails.
    let known = unsafe { window_size(terminal.as_fd().as_raw_fd(), &raw mut told) }.is_ok();
    let size = Size {
        columns: told.ws_col.into(),
        lines: told.ws_row.into(),
    };
    (known && size.columns > 0 && size.lines > 0).then_some(size)
}
