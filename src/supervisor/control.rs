//! The control socket: tells each client, in one JSON document, what the scoreboards say. One who may give orders is
//! heard, one message long. Never in here: a wait for a client.

mod asking;

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;

pub(super) use asking::Asked;
use asking::Asking;

use super::holder;
use super::listeners::remove_stale;
use super::source::Source;
use crate::config::Global;
use crate::log::{Log, Reason};
use crate::remedy;

/// The listening socket, removed by [`Control::remove`].
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixListener,
    path: PathBuf,
    /// The answers under way, and how much of each is sent.
    answers: Vec<Answer>,
    /// Clients whose request is awaited.
    asking: Vec<Asking>,
    /// Clients are not taken for a while: there were no descriptors left.
    is_paused: bool,
}

/// An answer that does not fit into a socket's buffer at once.
#[derive(Debug)]
struct Answer {
    client: UnixStream,
    document: Vec<u8>,
    written: usize,
}

/// Clients answered, or heard, at once; one that does not read is dropped for the next.
const MAX_ANSWERS: usize = 8;

impl Answer {
    /// Writes what there is room for; whether anything is left to write.
    fn go_on(&mut self) -> bool {
        while let Some(rest) = self.document.get(self.written..).filter(|r| !r.is_empty()) {
            match self.client.write(rest) {
                Ok(count) => self.written += count,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl Control {
    /// The socket of this configuration. One that it does not name is made where it can be, its
    /// folder too; where it cannot, a warning says so, since a file that was written for stunnel
    /// must start.
    ///
    /// # Errors
    /// As [`Control::open`], where the configuration names it.
    pub(super) fn of(global: &Global, log: &Log) -> io::Result<Option<Control>> {
        let Some(path) = global.control.as_deref() else {
            return Ok(None);
        };
        if global.names_control() {
            return Control::open(path).map(Some);
        }
        let made = make_folder(path).and_then(|()| Control::open(path));
        Ok(made
            .inspect_err(|error| {
                crate::warning!(
                    log,
                    "There is no control socket, so `adit status`, `adit reload` and `adit stop` \
                     cannot reach this adit: {error}; `control = /path` before the first section names \
                     another place, an empty `control =` none"
                );
            })
            .ok())
    }

    /// Makes the socket, for its owner alone; one that no process answers any more is replaced.
    ///
    /// # Errors
    /// The folder is missing, or another program answers there; it names the option.
    pub(super) fn open(path: &Path) -> io::Result<Control> {
        let named = |error: io::Error| {
            let (socket, reason) = (path.display(), Reason(&error));
            let text = match holder::of_unix(path) {
                Some(holder) if error.kind() == io::ErrorKind::AddrInUse => format!(
                    "control = {socket}: {reason}: {holder} has it (stop it, or give this adit another \
                     `control`)"
                ),
                _ => format!(
                    "control = {socket}: {reason} ({})",
                    remedy::making_a_file(&error)
                ),
            };
            io::Error::new(error.kind(), text)
        };
        let listen = || {
            remove_stale(path)?;
            let socket = bind_for_owner(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = listen().map_err(named)?;
        Ok(Control {
            socket,
            path: path.to_owned(),
            answers: Vec::new(),
            asking: Vec::new(),
            is_paused: false,
        })
    }

    /// Takes clients again.
    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Takes the clients that have come; those that ask for the status, in the order in which they came. Whether one
    /// could not be taken: then none is until [`Control::resume`].
    pub(super) fn accept(&mut self) -> (Vec<UnixStream>, bool) {
        let (mut plain, was_paused) = (Vec::new(), self.is_paused);
        while !self.is_paused {
            let (client, name) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It would be readable again at once, and for as long as this lasts.
                Err(_) => {
                    self.is_paused = true;
                    break;
                }
            };
            match client.set_nonblocking(true) {
                // It has more to ask: see `ipc::request`.
                Ok(()) if !name.is_unnamed() => self.asking.push(Asking::new(client)),
                Ok(()) => plain.push(client),
                Err(_) => {}
            }
        }
        let surplus = self.asking.len().saturating_sub(MAX_ANSWERS);
        self.asking.drain(..surplus);
        (plain, self.is_paused && !was_paused)
    }

    /// The requests that have come.
    pub(super) fn hear(&mut self) -> Vec<Asked> {
        let mut heard = Vec::new();
        for asking in std::mem::take(&mut self.asking) {
            match asking.hear() {
                None => {}
                Some(Ok(asked)) => heard.push(asked),
                Some(Err(asking)) => self.asking.push(asking),
            }
        }
        heard
    }

    /// Answers a client; what does not fit into its socket goes on by [`Control::go_on`].
    pub(super) fn answer(&mut self, client: UnixStream, document: Vec<u8>) {
        let mut answer = Answer {
            client,
            document,
            written: 0,
        };
        if answer.go_on() {
            self.answers.push(answer);
        }
        let surplus = self.answers.len().saturating_sub(MAX_ANSWERS);
        self.answers.drain(..surplus);
    }

    /// Goes on with answers that there is room for.
    pub(super) fn go_on(&mut self) {
        self.answers.retain_mut(Answer::go_on);
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The listening socket, for the next program of this process.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket that the program before an exec had.
    pub(super) fn taken_over(socket: OwnedFd, path: PathBuf) -> Control {
        Control {
            socket: socket.into(),
            path,
            answers: Vec::new(),
            asking: Vec::new(),
            is_paused: false,
        }
    }

    /// Everything to wait for: clients that connect, and room for more of an answer.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let answers = self.answers.iter();
        let socket = (!self.is_paused).then(|| (Source::Control, self.socket.as_fd()));
        let answers = answers.map(|answer| (Source::Answer, answer.client.as_fd()));
        let asking = self.asking.iter();
        let asking = asking.map(|asking| (Source::Request, asking.as_fd()));
        socket.into_iter().chain(answers).chain(asking)
    }

    /// Closes the socket and removes its file.
    pub(super) fn remove(self) {
        // Nothing is left to be done about a file that cannot be removed.
        let _ = fs::remove_file(self.path);
    }
}

/// Binds a socket that only its owner may open. Its mode is right from the start: a chmod(2) by path
/// would come too late, and follow a link that took the socket's place meanwhile. The supervisor has
/// one thread, so the mask is no other's.
fn bind_for_owner(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// The folder of a socket that the configuration does not name: made if it is missing. In one that
/// others may write to, the socket could be replaced by theirs.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let made = match fs::DirBuilder::new().mode(0o755).create(folder) {
        // What is there counts, whatever mkdir(2) looked at first.
        Err(_) if folder.symlink_metadata().is_ok() => Ok(()),
        made => made,
    };
    let about = made.and_then(|()| folder.symlink_metadata());
    let about = about.map_err(|error| {
        let remedy = remedy::making_a_file(&error);
        let text = format!("{}: {} ({remedy})", folder.display(), Reason(&error));
        io::Error::new(error.kind(), text)
    })?;
    let fault = fault(&about, Uid::effective());
    fault.map_or(Ok(()), |fault| {
        let text = format!("{}: {fault}", folder.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    })
}

/// Why a folder is not trusted with a socket of this user's, and what would help.
fn fault(folder: &Metadata, user: Uid) -> Option<String> {
    let owner = Uid::from_raw(folder.uid());
    let mode = folder.mode() & 0o7777;
    if folder.is_symlink() {
        return Some("it is a link, which is not followed (put a folder in its place)".to_owned());
    }
    if !folder.is_dir() {
        return Some("it is not a folder (put a folder in its place)".to_owned());
    }
    if owner != user && !owner.is_root() {
        return Some(format!(
            "it belongs to the user with number {owner} (give it to the user who starts adit: `chown`)"
        ));
    }
    (mode & 0o022 != 0).then(|| {
        format!("its mode is {mode:03o}: others may write to it (forbid it: `chmod go-w`)")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_socket_is_its_owners_and_the_mask_is_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let before = umask(Mode::from_bits_truncate(0o002));
        let control = Control::open(&path).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        control.remove();
        // Where it cannot be made, too.
        assert!(Control::open(&folder.path().join("none/socket")).is_err());
        assert_eq!(umask(before), Mode::from_bits_truncate(0o002));
    }

    #[test]
    fn a_folder_that_is_anothers_to_change_is_not_trusted() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("adit");
        let socket = folder.join("socket");
        let refused = |words: &str| {
            let said = make_folder(&socket).unwrap_err().to_string();
            let named = format!("{}: ", folder.display());
            assert!(said.starts_with(&named) && said.contains(words), "{said}");
        };
        make_folder(&socket).unwrap();
        make_folder(&socket).unwrap();
        for (mode, told) in [(0o775, "775"), (0o757, "757"), (0o1777, "1777")] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            refused(&format!("its mode is {told}: others may write"));
        }
        let about = fs::metadata(above.path()).unwrap();
        assert_eq!(fault(&about, Uid::from_raw(about.uid())), None);
        let others = fault(&about, Uid::from_raw(about.uid() + 1));
        assert_eq!(others.is_none(), about.uid() == 0, "root's is as good");
        if about.uid() == 0 {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
            chown(&folder, Some(65534), None).unwrap();
            refused("it belongs to the user with number 65534");
        }
        fs::remove_dir(&folder).unwrap();
        symlink(above.path(), &folder).unwrap();
        refused("it is a link");
        fs::remove_file(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        refused("it is not a folder");
    }
}
