//! A helper's process: its life from the fork to `_exit`, and the supervisor's hand on it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::binder::Key;
use super::launcher::Programs;
use super::{Kind, Life, Post, Role, words};
use crate::config::{Config, Foreground, Global};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::{Capable, Confined, Keeping, OutsidePlan, Plan, Unprivileged};
use crate::log::Reason;
use crate::log::{self, Log};
use crate::memory;
use crate::process::{self, Fresh, OneThread};
use crate::sandbox::{SandboxError, Sandboxed};
use crate::step::NameStep;

#[derive(Debug)]
pub(crate) struct Helper {
    /// Its process, until it was reaped: then the number may be another's.
    pid: Option<Pid>,
    channel: Channel,
    /// The program before an exec started it: it runs the code of that one.
    inherited: bool,
}

impl Helper {
    /// Forks it, to work with `belongings`, and to verify warrants by this key. In the child `forget` gives up what the supervisor knows
    /// and a helper must not.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub(crate) fn start(
        role: Role,
        config: &Config,
        leash: &Leash,
        mut belongings: Vec<OwnedFd>,
        warrants: Option<Key>,
        forget: impl FnOnce() -> io::Result<()>,
        log: Log,
    ) -> io::Result<Helper> {
        let global = &config.global;
        let place = match role.life {
            Life::Outside(sandbox, serve) => {
                Place::Outside(OutsidePlan::look_up(global), sandbox, serve)
            }
            Life::Keeping(sandbox, serve) => {
                let Keeping { plan, folder } = Keeping::look_up(&global.keeper)?;
                belongings.insert(0, folder);
                Place::Keeping(plan, sandbox, serve)
            }
            Life::Capable(sandbox, serve) => {
                let plan = OutsidePlan::look_up(global);
                plan.can_keep_net_raw()
                    .map_err(|error| io::Error::other(format!("{error} ({})", error.remedy())))?;
                Place::Capable(plan, sandbox, serve)
            }
            Life::Inside(serve) => {
                let plan = Plan::look_up(global).map_err(|errors| {
                    // The master, which looks them up too, tells of each.
                    let first = errors.into_iter().next();
                    io::Error::other(first.map_or_else(String::new, |error| error.to_string()))
                })?;
                Place::Inside(plan, serve)
            }
        };
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let post = Post {
            channel: theirs,
            leash: leash.try_clone()?,
            belongings,
            programs: match role.kind {
                Kind::Launcher => Programs::of(config),
                Kind::Resolver
                | Kind::Teller
                | Kind::Fetcher
                | Kind::Gatekeeper
                | Kind::Binder
                | Kind::Keeper => None,
            },
            warrants,
            log,
        };
        let detached = global.foreground == Foreground::No;
        let pid = process::spawn(&OneThread::prove()?, |fresh| {
            log::set_format(global.log_format);
            let lived = forget().and_then(|()| live(role.kind, place, post, detached, fresh));
            if let Err(error) = &lived {
                crate::error!(log, "The {} ends: {}", role.kind, Reason(error));
            }
            process::exit(lived.is_err().into())
        })?;
        Ok(Helper {
            pid: Some(pid),
            channel: ours,
            inherited: false,
        })
    }

    /// The helper that the program before an exec had.
    pub(crate) fn taken_over(pid: Option<Pid>, channel: Channel) -> Helper {
        Helper {
            pid,
            channel,
            inherited: true,
        }
    }

    /// Its process; none once it has died.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Where clients are introduced to it, and news told; masters have copies.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether a new helper must replace it after a reload: by `new` it would run as another user, or log
    /// elsewhere.
    pub(crate) fn is_outdated(&self, old: &Global, new: &Global) -> bool {
        let user = |global: &Global| (global.setuid.clone(), global.setgid.clone());
        let log = |global: &Global| {
            let syslog = global
                .syslog
                .then(|| (global.facility, global.service.clone()));
            (
                global.output.clone(),
                syslog,
                global.debug,
                global.log_format,
            )
        };
        self.inherited || user(old) != user(new) || log(old) != log(new)
    }

    /// Lets it end by itself, when its clients are gone and its programs have ended.
    pub(crate) fn leave_alone(&self, leash: &Leash) {
        // One that does not hear it ends when the processes have that could introduce a client.
        let _ = words::tell(&self.channel, b"alone", leash.as_fd());
    }

    /// Ends it, and waits for that.
    pub(crate) fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    /// Has it end, which is told when it is reaped; its process, if it is alive.
    pub(crate) fn end(&self) -> Option<Pid> {
        self.pid.inspect(|pid| {
            // Not reaped yet, so the number is still its own.
            let _ = kill(*pid, Signal::SIGKILL);
        })
    }

    /// It was reaped.
    pub(crate) fn died(&mut self) {
        self.pid = None;
    }
}

/// Where a helper is to live, looked up before the fork.
enum Place {
    Outside(
        OutsidePlan,
        fn() -> Result<Sandboxed, SandboxError>,
        fn(Post, &Unprivileged) -> io::Result<()>,
    ),
    Keeping(
        OutsidePlan,
        fn(BorrowedFd<'_>) -> Result<Sandboxed, SandboxError>,
        fn(Post, &Unprivileged) -> io::Result<()>,
    ),
    Capable(
        OutsidePlan,
        fn() -> Result<Sandboxed, SandboxError>,
        fn(Post, &Capable) -> io::Result<()>,
    ),
    Inside(Plan, fn(Post, Fresh, &Confined) -> io::Result<()>),
}

/// A helper's life, from the fork to `_exit`.
#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live(kind: Kind, place: Place, post: Post, detached: bool, fresh: Fresh) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend([
        post.channel.as_fd().as_raw_fd(),
        post.leash.as_fd().as_raw_fd(),
    ]);
    kept.extend(post.belongings.iter().map(AsRawFd::as_raw_fd));
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept) }?;
    if detached {
        process::let_go_of_the_terminal()?;
    }
    let log = post.log;
    let begin = || {
        process::title(&format!("adit: {kind}"), "");
        memory::let_go();
    };
    match place {
        Place::Outside(plan, sandbox, serve) => {
            let bare = or_end(kind, log, plan.enter(&OneThread::prove()?));
            let unprivileged = bare.within(&or_end(kind, log, sandbox()));
            begin();
            let _signals = fresh.hear(&[])?;
            serve(post, &unprivileged)
        }
        Place::Keeping(plan, sandbox, serve) => {
            let bare = or_end(kind, log, plan.enter(&OneThread::prove()?));
            let folder = post.belongings.first().ok_or(io::ErrorKind::NotFound)?;
            let unprivileged = bare.within(&or_end(kind, log, sandbox(folder.as_fd())));
            begin();
            let _signals = fresh.hear(&[])?;
            serve(post, &unprivileged)
        }
        Place::Capable(plan, sandbox, serve) => {
            let one = OneThread::prove()?;
            let bare = or_end(kind, log, plan.enter_with_net_raw(&one));
            let capable = bare.within(&or_end(kind, log, sandbox()));
            begin();
            let _signals = fresh.hear(&[])?;
            serve(post, &capable)
        }
        Place::Inside(plan, serve) => {
            let confined = or_end(kind, log, plan.confine(&OneThread::prove()?));
            begin();
            serve(post, fresh, &confined)
        }
    }
}

/// What was entered. Where it was not, the log says so while the channel is open still: a master that finds it closed
/// may end adit, and this process, first.
fn or_end<T, E: std::error::Error>(kind: Kind, log: Log, entered: Result<T, E>) -> T {
    entered.unwrap_or_else(|error| {
        crate::error!(log, "The {kind} ends: {error}");
        process::exit(1)
    })
}
