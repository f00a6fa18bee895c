//! A pair of connected SOCK_SEQPACKET sockets: each message arrives whole, with its descriptors,
//! and the other side's death is an end of file.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// Most descriptors in one message; the kernel's own limit (SCM_MAX_FD) is 253.
pub const MAX_DESCRIPTORS: usize = 128;

/// One end; see the module.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// A message that came in.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it filled; never 0.
    pub len: usize,
    /// The descriptors that came with it, close-on-exec.
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
    /// `WouldBlock` when the other side's queue is full or too many descriptors are in flight;
    /// `BrokenPipe` and its like when there is no other side.
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
                // unix(7): more descriptors are in flight than RLIMIT_NOFILE allows; as good as full.
                Err(Errno::ETOOMANYREFS | Errno::ENOBUFS) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives one message into `buffer`; `None` when the other side is gone. Waits for one
    /// unless `MSG_DONTWAIT` is among `flags`.
    ///
    /// # Errors
    /// `WouldBlock`; `InvalidData` when it did not fit, or its descriptors found no room in this
    /// process's table (what did arrive is closed).
    pub fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Option<Received>> {
        let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = loop {
            let received = recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                flags | MsgFlags::MSG_CMSG_CLOEXEC,
            );
            match received {
                Err(Errno::EINTR) => {}
                // The other side died with something of ours unread.
                Err(Errno::ECONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for part in message.cmsgs().map_err(io::Error::from)? {
            if let ControlMessageOwned::ScmRights(rights) = part {
                // SAFETY: the kernel has just put these into our table for us alone.
                descriptors.extend(
                    rights
                        .into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        if message.bytes == 0 {
            return Ok(None);
        }
        if message
            .flags
            .intersects(MsgFlags::MSG_CTRUNC | MsgFlags::MSG_TRUNC)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message between adit's processes was cut short (no descriptors left?)",
            ));
        }
        Ok(Some(Received {
            len: message.bytes,
            descriptors,
        }))
    }
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
    fn a_full_queue_is_would_block_not_a_wait() {
        let (a, _b) = Channel::pair().unwrap();
        let error = (0..1_000_000)
            .find_map(|_| a.send(&[1; 512], &[], MsgFlags::MSG_DONTWAIT).err())
            .expect("the queue has an end");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
