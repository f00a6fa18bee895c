//! A pair of connected SOCK_SEQPACKET sockets: each message arrives whole, with its descriptors, and
//! the other side's death is an end of file.
#![expect(
    unsafe_code,
    reason = "recvmsg(2) whose control messages are read even when it was cut"
)]

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

/// The most descriptors in one message: one for each relay thread, and some more; the kernel's own limit
/// (SCM_MAX_FD) is 253. An even number: where `CMSG_SPACE` rounds up there is room for one that nothing expects.
pub(crate) const MAX_DESCRIPTORS: usize = 130;

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// A truncated message, as the source of an error of kind `InvalidData`: it did not fit, or this
/// process's descriptor table was full.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Bytes of the buffer that were filled.
    pub len: usize,
}

impl Cut {
    /// The `Cut` behind this error, if that is its source.
    pub(crate) fn of(error: &io::Error) -> Option<&Cut> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message between adit's processes was truncated (no descriptors left?)")
    }
}

impl std::error::Error for Cut {}

/// A received message.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the buffer that were filled; never 0.
    pub len: usize,
    /// The descriptors of the message, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Makes both ends, close-on-exec.
    ///
    /// # Errors
    /// What socketpair(2) gives: no descriptors left.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends one message; waits for room unless `MSG_DONTWAIT` is among `flags`.
    ///
    /// # Errors
    /// `WouldBlock` when the other side's queue is full; `ResourceBusy` when too many descriptors are
    /// in flight or memory is short, the end of which no event reports; `BrokenPipe` and the like when
    /// the other side is gone.
    pub fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: MsgFlags,
    ) -> io::Result<()> {
        debug_assert!(!bytes.is_empty() && descriptors.len() <= MAX_DESCRIPTORS);
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        loop {
            let sent = sendmsg::<()>(
                self.0.as_raw_fd(),
                &[IoSlice::new(bytes)],
                control,
                flags,
                None,
            );
            match sent {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                // unix(7): more descriptors are in flight than RLIMIT_NOFILE allows.
                Err(Errno::ETOOMANYREFS | Errno::ENOBUFS) => {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether the send failed only for now: the other side's queue is full, or descriptors or memory
    /// are short. As far as this process knows, the other side is alive.
    pub fn is_busy(error: &io::Error) -> bool {
        use io::ErrorKind::{ResourceBusy, WouldBlock};
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(error.kind(), WouldBlock | ResourceBusy)
            || matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
    }

    /// Receives one message into `buffer`; `None` when the other side is gone. Waits for one unless
    /// `MSG_DONTWAIT` is among `flags`.
    ///
    /// # Errors
    /// `WouldBlock`; `InvalidData`, with a [`Cut`], when the message did not fit, or this process's
    /// descriptor table was full (what did arrive is closed).
    pub fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Option<Received>> {
        // Aligned as a cmsghdr must be.
        let mut space = [0_u64; SPACE.div_ceil(8)];
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: all zeroes is a valid msghdr: no name, no buffers.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = space.as_mut_ptr().cast();
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let len = loop {
            header.msg_controllen = SPACE;
            // SAFETY: the header names one live buffer and one live control area, with their lengths.
            let got = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags.bits()) };
            match Errno::result(got) {
                // ECONNRESET: the other side died before it had read everything. The kernel reports
                // that once, ahead of what the other side had sent and of the end of file.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => break usize::try_from(other?).unwrap_or(0),
            }
        };
        // Taken before anything can fail: a truncated message may still have brought some.
        let descriptors = take_descriptors(&header);
        if len == 0 {
            return Ok(None);
        }
        if header.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Cut { len }));
        }
        Ok(Some(Received { len, descriptors }))
    }
}

/// Bytes of the control area: one SCM_RIGHTS of the largest size.
// SAFETY: CMSG_SPACE only computes a number.
const SPACE: usize =
    unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<RawFd>()) as u32) } as usize;

/// The descriptors of a message that recvmsg(2) has filled in; nix returns none for a truncated one.
fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has just written `msg_controllen` bytes of whole control messages into the
    // area that `header` names; these macros stay within it.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = at.as_ref() {
            if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = control.cmsg_len - libc::CMSG_LEN(0) as usize;
                #[expect(clippy::cast_ptr_alignment, reason = "it is read unaligned")]
                let data = libc::CMSG_DATA(control).cast::<RawFd>();
                for n in 0..bytes / size_of::<RawFd>() {
                    // The kernel has just put it into this process's table; nothing else owns it.
                    descriptors.push(OwnedFd::from_raw_fd(data.add(n).read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    descriptors
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Channel(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors_and_an_end_is_seen() {
        let (a, b) = Channel::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        a.send(b"one", &[far.as_fd()], MsgFlags::empty()).unwrap();
        a.send(b"two", &[], MsgFlags::empty()).unwrap();
        drop(far);
        let mut buffer = [0; 16];
        let mut one = b.receive(&mut buffer, MsgFlags::empty()).unwrap().unwrap();
        assert_eq!(&buffer[..one.len], b"one");
        let mut far = UnixStream::from(one.descriptors.pop().unwrap());
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        let two = b.receive(&mut buffer, MsgFlags::empty()).unwrap().unwrap();
        assert_eq!(
            (&buffer[..two.len], two.descriptors.len()),
            (&b"two"[..], 0)
        );
        drop(a);
        assert!(b.receive(&mut buffer, MsgFlags::empty()).unwrap().is_none());
    }

    #[test]
    fn what_a_dead_side_had_sent_still_arrives_when_it_left_something_unread() {
        let (a, b) = Channel::pair().unwrap();
        a.send(b"last", &[], MsgFlags::empty()).unwrap();
        b.send(b"unread", &[], MsgFlags::empty()).unwrap();
        drop(a);
        let mut buffer = [0; 16];
        let last = b.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        assert_eq!(last.map(|message| message.len), Some(4));
        let end = b.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        assert!(end.is_none());
    }

    #[test]
    fn descriptors_of_a_message_that_was_cut_are_closed() {
        let (a, b) = Channel::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let many = [far.as_raw_fd(); MAX_DESCRIPTORS + 1];
        let sent = sendmsg::<()>(
            a.0.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[ControlMessage::ScmRights(&many)],
            MsgFlags::empty(),
            None,
        );
        assert_eq!(sent, Ok(1));
        let error = b.receive(&mut [0; 16], MsgFlags::empty()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(far);
        // All copies are closed, or this would block.
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_full_queue_is_would_block_not_a_wait() {
        let (a, _b) = Channel::pair().unwrap();
        let error = (0..1_000_000)
            .find_map(|_| a.send(&[1; 512], &[], MsgFlags::MSG_DONTWAIT).err())
            .expect("the queue has an end");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
