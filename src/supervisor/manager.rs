//! What systemd expects of the process that it has started: to stay, or to go into the background.
//! A configuration written for stunnel says nothing of it, and units of every type start it.

use std::env;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::ipc::wait::wait;

/// systemd answers at once, or is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Where it is; not PATH, since root runs it.
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// What a process can see of who started it.
#[derive(Debug, Default)]
struct Surroundings {
    pid: u32,
    parent: u32,
    /// `SYSTEMD_EXEC_PID` (systemd.exec(5), since version 248): the process that it started.
    exec_pid: Option<u32>,
    /// `INVOCATION_ID`: it, or something above it, was started by systemd.
    invoked: bool,
    /// `NOTIFY_SOCKET`: systemd waits to be told.
    notify: bool,
    /// `PIDFILE`: the unit has a `PIDFile=`, as a daemon's has.
    pid_file: bool,
    /// /proc/self/cgroup.
    cgroups: String,
}

/// Whether systemd keeps the process that it started, so that it must not go into the background; as
/// which type of unit. `None`: something else started this, or the unit is of a type that waits for
/// its end.
pub(super) fn keeps_this_process() -> Option<String> {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let around = Surroundings {
        pid: std::process::id(),
        parent: std::os::unix::process::parent_id(),
        exec_pid: number("SYSTEMD_EXEC_PID"),
        invoked: env::var_os("INVOCATION_ID").is_some(),
        notify: env::var_os("NOTIFY_SOCKET").is_some(),
        pid_file: env::var_os("PIDFILE").is_some(),
        cgroups: fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
    };
    if !around.is_started_by_systemd() {
        return None;
    }
    around.kept_as(ask)
}

impl Surroundings {
    /// The variables are inherited by all that the service starts in turn: only the first process is
    /// systemd's.
    fn is_started_by_systemd(&self) -> bool {
        match self.exec_pid {
            Some(pid) => pid == self.pid,
            // An older systemd. The manager of a user is another process than 1; it is left out.
            None => self.invoked && self.parent == 1,
        }
    }

    /// As [`keeps_this_process`]; `ask` has systemctl(1) answer.
    fn kept_as(&self, ask: impl FnOnce(&[&str]) -> Option<String>) -> Option<String> {
        let kind = self.unit().and_then(|(unit, of_user)| {
            let show = ["show", "--property=Type", "--value", unit];
            match of_user {
                true => ask(&[&["--user"], &show[..]].concat()),
                false => ask(&show),
            }
        });
        match kind.as_deref() {
            Some("forking" | "oneshot") => None,
            Some("") | None if self.pid_file => None,
            // It waits for a word of the process that it started.
            Some("") | None if self.notify => Some("notify".to_owned()),
            // As it is written, since there is no telling.
            Some("") | None => None,
            Some(kind) => Some(kind.to_owned()),
        }
    }

    /// The unit that this process is in, and whether it is one of a user's manager.
    fn unit(&self) -> Option<(&str, bool)> {
        // cgroups(7): hierarchy, controllers, path. systemd's own has no controller.
        let path = self.cgroups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            matches!(controllers, "name=systemd" | "").then_some(path)
        })?;
        let mut units = path.rsplit('/').filter(|part| part.ends_with(".service"));
        let unit = units.next()?;
        Some((unit, units.any(|above| above.starts_with("user@"))))
    }
}

/// What systemctl(1) prints; `None` where it is not there, fails, or takes too long.
fn ask(arguments: &[&str]) -> Option<String> {
    let program = SYSTEMCTL.iter().find(|path| fs::metadata(path).is_ok())?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let said = read_within(&mut child, ANSWER_TIMEOUT);
    // Ended by then, or to be ended.
    let _ = child.kill();
    let ended = child.wait().ok()?;
    said.filter(|_| ended.success())
}

fn read_within(child: &mut Child, timeout: Duration) -> Option<String> {
    let end = Instant::now() + timeout;
    let mut stdout = child.stdout.take()?;
    let (mut said, mut piece) = (Vec::new(), [0; 256]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        if wait(&mut fds, timeout).ok()? == 0 && left.is_zero() {
            return None;
        }
        if !fds[0].any().unwrap_or(false) {
            continue;
        }
        match stdout.read(&mut piece).ok()? {
            0 => break,
            count => said.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8(said)
        .ok()
        .map(|said| said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "9:name=systemd:/system.slice/system-stunnel.slice/stunnel@mail.service\n\
                          8:pids:/system.slice\n0::/system.slice/x.service\n";
    const UNIFIED: &str = "0::/system.slice/adit.service\n";
    const USER: &str = "0::/user.slice/user-7.slice/user@7.service/app.slice/mail.service\n";

    fn around(cgroups: &str) -> Surroundings {
        Surroundings {
            pid: 7,
            parent: 1,
            exec_pid: Some(7),
            invoked: true,
            cgroups: cgroups.to_owned(),
            ..Surroundings::default()
        }
    }

    #[test]
    fn only_the_process_that_systemd_started_is_meant() {
        let started = |exec_pid, invoked, parent| {
            let around = Surroundings {
                exec_pid,
                invoked,
                parent,
                ..around(UNIFIED)
            };
            around.is_started_by_systemd()
        };
        assert!(started(Some(7), true, 1));
        // The service is a shell; this is one of its commands.
        assert!(!started(Some(6), true, 6));
        // Before version 248.
        assert!(started(None, true, 1));
        assert!(!started(None, true, 6));
        // An orphan of a login.
        assert!(!started(None, false, 1));
    }

    #[test]
    fn the_unit_is_found_among_the_groups() {
        assert_eq!(around(SYSTEM).unit(), Some(("stunnel@mail.service", false)));
        assert_eq!(around(UNIFIED).unit(), Some(("adit.service", false)));
        assert_eq!(around(USER).unit(), Some(("mail.service", true)));
        assert_eq!(around("0::/user.slice/session-3.scope\n").unit(), None);
        assert_eq!(around("0::/\n").unit(), None);
        assert_eq!(around("").unit(), None);
    }

    #[test]
    fn each_type_of_unit_is_given_what_it_waits_for() {
        let kept = |kind: Option<&str>, notify, pid_file| {
            let around = Surroundings {
                notify,
                pid_file,
                ..around(SYSTEM)
            };
            around.kept_as(|arguments| {
                assert_eq!(arguments.last(), Some(&"stunnel@mail.service"));
                kind.map(str::to_owned)
            })
        };
        for kind in ["simple", "exec", "notify", "notify-reload", "idle", "dbus"] {
            assert_eq!(kept(Some(kind), true, false).as_deref(), Some(kind));
        }
        for kind in ["forking", "oneshot"] {
            assert_eq!(kept(Some(kind), true, false), None, "{kind}");
        }
        // systemd does not answer.
        for silent in [None, Some("")] {
            assert_eq!(kept(silent, true, false).as_deref(), Some("notify"));
            assert_eq!(kept(silent, false, true), None);
            assert_eq!(kept(silent, false, false), None);
        }
    }

    #[test]
    fn a_user_s_unit_is_asked_of_the_user_s_manager() {
        let kept = around(USER).kept_as(|arguments| {
            assert_eq!(arguments[0], "--user");
            Some("simple".to_owned())
        });
        assert_eq!(kept.as_deref(), Some("simple"));
    }
}
