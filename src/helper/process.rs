//! The supervisor's hand on the resolver process: started before any master, restarted when it dies.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::config::{Foreground, Global};
use crate::helper::resolver;
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::Plan;
use crate::log::Reason;
use crate::log::{self, Log};
use crate::process::{self, Fresh, OneThread};
use crate::step::NameStep;

/// The resolver process.
#[derive(Debug)]
pub struct Resolver {
    /// Its process, until it was reaped: then the number may be somebody else's.
    pub pid: Option<Pid>,
    /// Where clients are introduced to it; masters have copies.
    pub channel: Channel,
    since: Instant,
    /// The program before an exec started it: it runs the code of that one.
    inherited: bool,
}

impl Resolver {
    /// Forks it.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub fn start(global: &Global, leash: &Leash, log: Log) -> io::Result<Resolver> {
        let plan = Plan::look_up_outside(global);
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let leash = leash.try_clone()?;
        let detached = global.foreground == Foreground::No;
        let pid = process::spawn(&OneThread::prove()?, |fresh| {
            let lived = live(plan, theirs, leash, detached, fresh);
            if let Err(error) = &lived {
                crate::error!(log, "Resolver: {}", Reason(error));
            }
            process::exit(lived.is_err().into())
        })?;
        Ok(Resolver {
            pid: Some(pid),
            channel: ours,
            since: Instant::now(),
            inherited: false,
        })
    }

    /// The resolver that the program before an exec had.
    pub fn taken_over(pid: Option<Pid>, channel: Channel) -> Resolver {
        Resolver {
            pid,
            channel,
            since: Instant::now(),
            inherited: true,
        }
    }

    /// Whether another should take its place after a reload: it is somebody else, or logs
    /// elsewhere, than `new` says.
    pub fn is_outdated(&self, old: &Global, new: &Global) -> bool {
        let user = |global: &Global| (global.setuid.clone(), global.setgid.clone());
        let log = |global: &Global| {
            let syslog = global
                .syslog
                .then(|| (global.facility, global.service.clone()));
            (global.output.clone(), syslog, global.debug)
        };
        self.inherited || user(old) != user(new) || log(old) != log(new)
    }

    /// Ends it, and waits for that.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    /// How long to wait before another is started: one that dies fast must not cost a processor.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(1).saturating_sub(self.since.elapsed())
    }
}

/// The resolver's life, from the fork to `_exit`.
fn live(
    plan: Plan,
    control: Channel,
    leash: Leash,
    detached: bool,
    fresh: Fresh,
) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend([control.as_fd().as_raw_fd(), leash.as_fd().as_raw_fd()]);
    process::close_all_but(&kept)?;
    if detached {
        process::let_go_of_the_terminal()?;
    }
    let _jailed = plan.enter(&OneThread::prove()?).map_err(io::Error::other)?;
    crate::sandbox::resolver()?;
    process::title("adit: resolver", "");
    let _signals = fresh.hear(&[])?;
    resolver::serve(control.into(), leash.into())
}
