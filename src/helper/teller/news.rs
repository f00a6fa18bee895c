//! How the teller is told: boards one by one, each once, and the picture as a document in memory of its
//! own, since that of a thousand services is longer than a message may be.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::picture::{BoardSize, Picture};
use crate::helper::words;
use crate::ipc::channel::Channel;
use crate::step::NameStep;

/// What a message is about; one descriptor comes with each.
#[derive(Debug, Serialize, Deserialize)]
enum Head {
    /// The memory of a generation's counts, for reading alone.
    Board(BoardSize),
    /// A [`Picture`], as JSON.
    Picture,
}

/// Something that the teller was told.
#[derive(Debug)]
pub(super) enum News {
    Board(BoardSize, OwnedFd),
    Picture(Box<Picture>),
}

/// Gives the teller the board of a generation.
///
/// # Errors
/// As [`words::tell`].
pub(crate) fn introduce_board(
    channel: &Channel,
    size: BoardSize,
    board: BorrowedFd<'_>,
) -> io::Result<()> {
    words::tell(channel, &serde_json::to_vec(&Head::Board(size))?, board)
}

/// Gives the teller another picture.
///
/// # Errors
/// No memory or descriptor to be had; as [`words::tell`].
pub(crate) fn tell(channel: &Channel, picture: &Picture) -> io::Result<()> {
    let document = File::from(
        memfd_create(c"adit-picture", MFdFlags::MFD_CLOEXEC).step("memfd_create(2) for metrics")?,
    );
    serde_json::to_writer(&document, picture)?;
    words::tell(
        channel,
        &serde_json::to_vec(&Head::Picture)?,
        document.as_fd(),
    )
}

/// Understands what [`introduce_board`] and [`tell`] said. `None`: another version said something else.
pub(super) fn understand(head: &[u8], descriptors: Vec<OwnedFd>) -> Option<News> {
    let descriptor = descriptors.into_iter().next()?;
    match serde_json::from_slice(head).ok()? {
        Head::Board(size) => Some(News::Board(size, descriptor)),
        Head::Picture => {
            let mut file = File::from(descriptor);
            let mut text = String::new();
            file.rewind().ok()?;
            file.read_to_string(&mut text).ok()?;
            serde_json::from_str(&text)
                .ok()
                .map(|picture| News::Picture(Box::new(picture)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::words::Heard;

    #[test]
    fn a_picture_longer_than_a_message_arrives() {
        let (ours, theirs) = Channel::pair().unwrap();
        let name = "n".repeat(1000);
        let picture = Picture {
            carried: vec![(name, crate::ipc::scoreboard::Counts::default()); 1000],
            ..Picture::default()
        };
        tell(&ours, &picture).unwrap();
        let Heard::News(head, descriptors) = words::hear(&theirs).unwrap() else {
            panic!("no news");
        };
        match understand(&head, descriptors) {
            Some(News::Picture(told)) => assert_eq!(*told, picture),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_another_version_says_is_passed_over() {
        let descriptor = || vec![OwnedFd::from(File::open("/dev/null").unwrap())];
        assert!(understand(br#"{"Weather":1}"#, descriptor()).is_none());
        assert!(understand(br#""Picture""#, Vec::new()).is_none());
        assert!(understand(br#""Picture""#, descriptor()).is_none());
    }
}
