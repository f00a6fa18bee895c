//! The jail: a process gives up root here, once, with one thread, before it accepts anything. Never in
//! here: asking DNS, or an error that the caller could ignore.
#![expect(unsafe_code, reason = "prctl(2), capset(2) and capget(2)")]

mod capabilities;
mod capable;
mod keeping;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use crate::config::Global;
use crate::log::Reason;
use crate::process::OneThread;
use crate::sandbox::Sandboxed;
use capabilities::{
    BOUNDING, capabilities_left, clear_capabilities, drop_bounding_set, has_capability,
};
pub(crate) use capable::Capable;
pub(crate) use keeping::{Keeping, NoKeeping};

/// A process that has given up its rights, which was verified, and is not in its sandbox yet: the proof of both is
/// taken out of here.
#[derive(Debug)]
#[must_use]
pub(crate) struct Bare<T>(T);

impl<T> Bare<T> {
    /// The proof, with that of the sandbox.
    pub(crate) fn within(self, _: &Sandboxed) -> T {
        self.0
    }

    /// The proof for a process that has no sandbox, or enters it later: it says why where it takes this.
    pub(crate) fn outside_any(self) -> T {
        self.0
    }
}

/// Proof that [`Plan::enter`] succeeded and was verified, and that the process is in its sandbox.
#[derive(Debug)]
pub(crate) struct Jailed(());

/// Proof that [`OutsidePlan::enter`] succeeded and was verified: the process is not root, has no
/// capability, and cannot regain either; and that it is in its sandbox. Its root directory is the system's.
#[derive(Debug)]
pub(crate) struct Unprivileged(());

/// Proof that [`Plan::confine`] succeeded and was verified: the process is in the jail and is the jail's user,
/// for good. What it executes may be more, by a set-user-ID bit that an administrator gave it.
#[derive(Debug)]
pub(crate) struct Confined(());

/// The user to become and the directory to enter, looked up while names can still be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    root: Option<PathBuf>,
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// Started by root; otherwise there is nothing to give up.
    privileged: bool,
}

/// Why the jail cannot be entered, or would not hold.
#[derive(Debug)]
pub(crate) enum JailError {
    /// `setuid = NAME` names no user.
    UnknownUser(String),
    /// `setgid = NAME` names no group.
    UnknownGroup(String),
    /// `setuid = NUMBER` is no known user, so its group must be given.
    GroupNeeded(Uid),
    /// `chroot = DIR` cannot be entered.
    Directory(PathBuf, io::Error),
    /// A system call failed.
    Call(&'static str, Errno),
    /// CAP_NET_RAW is not there to be kept.
    NoNetRaw,
    /// The proof failed: what is still possible and must not be.
    NotHolding(String),
}

impl fmt::Display for JailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser(name) => {
                write!(f, "setuid: there is no user \"{name}\" on this system")
            }
            Self::UnknownGroup(name) => {
                write!(f, "setgid: there is no group \"{name}\" on this system")
            }
            Self::GroupNeeded(uid) => write!(
                f,
                "setuid: this system has no user with number {uid}, so setgid must name the group"
            ),
            Self::Directory(dir, error) => {
                write!(
                    f,
                    "chroot: cannot enter {}: {}",
                    dir.display(),
                    Reason(error)
                )
            }
            Self::Call(call, errno) => write!(
                f,
                "dropping privileges: {call}: {} ({})",
                errno.desc(),
                *errno as i32
            ),
            Self::NoNetRaw => {
                f.write_str("`transparent = source` needs CAP_NET_RAW, which this process has not")
            }
            Self::NotHolding(what) => write!(f, "dropping privileges: refusing to run: {what}"),
        }
    }
}

impl std::error::Error for JailError {}

impl JailError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownUser(_) => {
                "give one that `getent passwd` lists, or make it: `useradd --system NAME`"
            }
            Self::UnknownGroup(_) => {
                "give one that `getent group` lists, or make it: `groupadd --system NAME`"
            }
            Self::GroupNeeded(_) => "add `setgid = GROUP`",
            Self::Directory(..) => {
                "make it, `install -d -m 755 DIRECTORY`: root owns it, and it may stay empty"
            }
            Self::Call(..) => {
                "adit, started as root, must keep CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID and \
                 CAP_SETPCAP until then: see CapabilityBoundingSet= and SystemCallFilter= of the unit, \
                 or what the container takes away"
            }
            Self::NoNetRaw => {
                "start adit as root, and leave it CAP_NET_RAW: see CapabilityBoundingSet= of the unit, or what the \
                 container takes away (`--cap-add NET_RAW`)"
            }
            Self::NotHolding(_) => "this is a fault of the system or of adit: report it",
        }
    }

    /// The option at fault, if there is one.
    pub(crate) fn option(&self) -> Option<&'static str> {
        match self {
            Self::UnknownUser(_) | Self::GroupNeeded(_) => Some("setuid"),
            Self::UnknownGroup(_) => Some("setgid"),
            Self::Directory(..) => Some("chroot"),
            Self::NoNetRaw => Some("transparent"),
            Self::Call(..) | Self::NotHolding(_) => None,
        }
    }
}

impl Plan {
    /// Looks up what the configuration asks for. `chroot = /` is no jail and is ignored.
    ///
    /// # Errors
    /// All errors found: an unknown user or group, a missing directory.
    pub(crate) fn look_up(global: &Global) -> Result<Plan, Vec<JailError>> {
        let mut errors = Vec::new();
        let mut asked = |error| errors.push(error);
        let user = global.setuid.as_deref().map(user).transpose();
        let user = user.map_err(&mut asked).unwrap_or_default();
        let group = global.setgid.as_deref().map(group).transpose();
        let group = group.map_err(&mut asked).unwrap_or_default();
        if let (None, Some((uid, None))) = (&global.setgid, user) {
            asked(JailError::GroupNeeded(uid));
        }
        let root = global.chroot.clone().filter(|dir| dir != Path::new("/"));
        if let Some(dir) = &root {
            let not_one = match std::fs::metadata(dir) {
                Ok(about) if about.is_dir() => None,
                Ok(_) => Some(io::ErrorKind::NotADirectory.into()),
                Err(error) => Some(error),
            };
            if let Some(error) = not_one {
                asked(JailError::Directory(dir.clone(), error));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Plan {
            root,
            uid: user.map(|(uid, _)| uid),
            gid: group.or(user.and_then(|(_, gid)| gid)),
            privileged: Uid::effective().is_root(),
        })
    }

    /// Options that an ordinary user cannot put into force.
    pub(crate) fn not_in_force(&self, global: &Global) -> Vec<&'static str> {
        if self.privileged {
            return Vec::new();
        }
        let asked = [
            ("chroot", global.chroot.is_some()),
            ("setuid", global.setuid.is_some()),
            ("setgid", global.setgid.is_some()),
        ];
        asked
            .into_iter()
            .filter_map(|(name, given)| given.then_some(name))
            .collect()
    }

    /// Whether the relaying processes stay root, because no other user is configured.
    pub(crate) fn stays_root(&self) -> bool {
        self.privileged && self.uid.is_none_or(Uid::is_root)
    }

    /// The directory that [`Plan::enter`] makes the root, if it does.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref().filter(|_| self.privileged)
    }

    /// chroot, chdir, setgroups, setresgid, setresuid, no capability, no new privileges, not dumpable;
    /// then tries to get out, and refuses to go on if it can.
    ///
    /// # Errors
    /// The step that failed, or what is still possible.
    pub(crate) fn enter(self, _: &OneThread) -> Result<Bare<Jailed>, JailError> {
        let outside = identity(Path::new("/etc/passwd"));
        if self.privileged {
            self.change_root_and_groups()?;
            drop_bounding_set()?;
            self.change_user()?;
            clear_capabilities()?;
        } else if has_capability()? {
            // As by AmbientCapabilities= of a unit with User=.
            clear_capabilities()?;
        }
        nix::sys::prctl::set_no_new_privs().map_err(call("prctl(PR_SET_NO_NEW_PRIVS)"))?;
        nix::sys::prctl::set_dumpable(false).map_err(call("prctl(PR_SET_DUMPABLE)"))?;
        self.prove(outside)?;
        self.prove_powerless()?;
        prove_closed()?;
        Ok(Bare(Jailed(())))
    }

    /// As [`Plan::enter`], for a process whose programs run as they would outside adit: where no user is
    /// configured they are root's, and a set-user-ID bit of theirs holds.
    ///
    /// # Errors
    /// As [`Plan::enter`].
    pub(crate) fn confine(self, _: &OneThread) -> Result<Confined, JailError> {
        let outside = identity(Path::new("/etc/passwd"));
        if self.privileged {
            self.change_root_and_groups()?;
            self.change_user()?;
        }
        nix::sys::prctl::set_dumpable(false).map_err(call("prctl(PR_SET_DUMPABLE)"))?;
        self.prove(outside)?;
        if self.privileged && !self.stays_root() {
            // capabilities(7): they went with the user.
            let left = capabilities_left()?.filter(|set| *set != BOUNDING);
            if let Some(set) = left {
                let what = format!("the {set} capability set is not empty");
                return Err(JailError::NotHolding(what));
            }
        }
        Ok(Confined(()))
    }

    fn change_root_and_groups(&self) -> Result<(), JailError> {
        if let Some(root) = &self.root {
            nix::unistd::chroot(root.as_path())
                .map_err(|errno| JailError::Directory(root.clone(), errno.into()))?;
            nix::unistd::chdir("/").map_err(call("chdir"))?;
        }
        if self.uid.is_some() || self.gid.is_some() {
            nix::unistd::setgroups(&[]).map_err(call("setgroups"))?;
        }
        Ok(())
    }

    fn change_user(&self) -> Result<(), JailError> {
        if let Some(gid) = self.gid {
            nix::unistd::setresgid(gid, gid, gid).map_err(call("setresgid"))?;
        }
        if let Some(uid) = self.uid {
            nix::unistd::setresuid(uid, uid, uid).map_err(call("setresuid"))?;
        }
        Ok(())
    }

    fn prove(&self, outside: Option<(u64, u64)>) -> Result<(), JailError> {
        let no = |what: String| Err(JailError::NotHolding(what));
        if !self.privileged {
            return Ok(());
        }
        if self.root.is_some() && outside.is_some() && identity(Path::new("/etc/passwd")) == outside
        {
            return no("the system's /etc/passwd can still be opened from inside the jail".into());
        }
        if let Some(uid) = self.uid {
            let now = nix::unistd::getresuid().map_err(call("getresuid"))?;
            if [now.real, now.effective, now.saved] != [uid; 3] {
                return no(format!("the user is {}, not {uid}", now.effective));
            }
            if !uid.is_root() {
                let root = Uid::from_raw(0);
                if nix::unistd::setresuid(root, root, root).is_ok()
                    || nix::unistd::setuid(root).is_ok()
                {
                    return no("root could be regained".into());
                }
            }
        }
        if let Some(gid) = self.gid {
            let now = nix::unistd::getresgid().map_err(call("getresgid"))?;
            if [now.real, now.effective, now.saved] != [gid; 3] {
                return no(format!("the group is {}, not {gid}", now.effective));
            }
        }
        if (self.uid.is_some() || self.gid.is_some())
            && !nix::unistd::getgroups()
                .map_err(call("getgroups"))?
                .is_empty()
        {
            return no("supplementary groups remain".into());
        }
        Ok(())
    }

    fn prove_powerless(&self) -> Result<(), JailError> {
        // No other user can give up what it could have.
        let left = |set: &&str| self.privileged || *set != BOUNDING;
        match capabilities_left()?.filter(left) {
            Some(set) => {
                let what = format!("the {set} capability set is not empty");
                Err(JailError::NotHolding(what))
            }
            None => Ok(()),
        }
    }
}

/// Neither a program that it executes nor another process of its user makes more of it.
fn prove_closed() -> Result<(), JailError> {
    let no = |what: &str| Err(JailError::NotHolding(what.to_owned()));
    if !nix::sys::prctl::get_no_new_privs().map_err(call("prctl(PR_GET_NO_NEW_PRIVS)"))? {
        return no("new privileges can be gained");
    }
    if nix::sys::prctl::get_dumpable().map_err(call("prctl(PR_GET_DUMPABLE)"))? {
        return no("others of its user can look into its memory");
    }
    Ok(())
}

/// As [`Plan`], for a helper, which stays outside the jail's directory.
#[derive(Debug)]
pub(crate) struct OutsidePlan(Plan);

impl OutsidePlan {
    /// As [`Plan::look_up`], except that a helper is never root. Where the configuration names no user,
    /// or an unknown one (which is reported when it is loaded), the helper runs as `nobody`.
    pub(crate) fn look_up(global: &Global) -> OutsidePlan {
        let asked = Plan::look_up(global).ok();
        let ids = asked.and_then(|plan| Some((plan.uid.filter(|uid| !uid.is_root())?, plan.gid?)));
        ids.map_or_else(OutsidePlan::nobody, |(uid, gid)| OutsidePlan::of(uid, gid))
    }

    /// The plan of a command that serves no configuration.
    pub(crate) fn nobody() -> OutsidePlan {
        let (uid, gid) = user("nobody").unwrap_or((Uid::from_raw(65534), None));
        OutsidePlan::of(uid, gid.unwrap_or(Gid::from_raw(65534)))
    }

    fn of(uid: Uid, gid: Gid) -> OutsidePlan {
        OutsidePlan(Plan {
            root: None,
            uid: Some(uid),
            gid: Some(gid),
            privileged: Uid::effective().is_root(),
        })
    }

    /// Does what [`Plan::enter`] does, without the directory.
    ///
    /// # Errors
    /// As [`Plan::enter`].
    pub(crate) fn enter(self, one: &OneThread) -> Result<Bare<Unprivileged>, JailError> {
        let entered = self.0.enter(one);
        entered.map(|Bare(Jailed(()))| Bare(Unprivileged(())))
    }
}

fn call(name: &'static str) -> impl Fn(Errno) -> JailError {
    move |errno| JailError::Call(name, errno)
}

/// Device and inode of a file that can be opened.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let about = std::fs::File::open(path)
        .and_then(|file| file.metadata())
        .ok()?;
    Some((about.dev(), about.ino()))
}

fn user(name: &str) -> Result<(Uid, Option<Gid>), JailError> {
    let unknown = || JailError::UnknownUser(name.to_owned());
    if let Some(user) = User::from_name(name).map_err(|_| unknown())? {
        return Ok((user.uid, Some(user.gid)));
    }
    let uid = Uid::from_raw(name.parse().map_err(|_| unknown())?);
    let known = User::from_uid(uid).ok().flatten();
    Ok((uid, known.map(|user| user.gid)))
}

fn group(name: &str) -> Result<Gid, JailError> {
    let unknown = || JailError::UnknownGroup(name.to_owned());
    if let Some(group) = Group::from_name(name).map_err(|_| unknown())? {
        return Ok(group.gid);
    }
    Ok(Gid::from_raw(name.parse().map_err(|_| unknown())?))
}

/// The uid and gid for these names, to own a Unix socket.
///
/// # Errors
/// There is no such user or group.
pub(crate) fn owner(
    setuid: Option<&str>,
    setgid: Option<&str>,
) -> Result<(Option<u32>, Option<u32>), JailError> {
    let uid = setuid.map(user).transpose()?;
    let gid = setgid.map(group).transpose()?;
    Ok((uid.map(|(uid, _)| uid.as_raw()), gid.map(Gid::as_raw)))
}
