//! What is done to adit in a soak: reloads, deaths, stops, rotations and upgrades, as the seed has them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::load::{Numbers, Trouble};
use super::support::{Adit, proc};

/// Between two deeds. Deaths that follow at once upon others are another matter, which `tests/supervision.rs` has.
const PAUSE: Duration = Duration::from_millis(1200);

/// For how long a helper that died may be missed: it is started again with a pause.
const WITHOUT_HELPER: Duration = Duration::from_secs(5);

/// For how long a worker stands still: others have taken what it was sent by then, and it is not killed for it yet,
/// which `tests/standing_still.rs` has.
const STILL: Duration = Duration::from_secs(5);

/// One kind of deed; of ten, how many are it.
const DEEDS: [(Deed, u64); 8] = [
    (Deed::Reload, 5),
    (Deed::KillWorker, 4),
    (Deed::KillMaster, 2),
    (Deed::KillSpare, 1),
    (Deed::KillHelper, 1),
    (Deed::StopWorker, 1),
    (Deed::Rotate, 2),
    (Deed::Upgrade, 2),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Reload,
    KillWorker,
    KillMaster,
    KillSpare,
    KillHelper,
    StopWorker,
    Rotate,
    Upgrade,
}

/// Does them, and remembers when.
pub struct Deeds<'a> {
    adit: &'a Adit,
    numbers: Numbers,
    /// Also what only root may do.
    full: bool,
    /// When each began and was done.
    done: Vec<(Deed, Instant, Instant)>,
    rotated: Vec<PathBuf>,
}

impl<'a> Deeds<'a> {
    pub fn new(adit: &'a Adit, seed: u64, full: bool) -> Deeds<'a> {
        Deeds {
            adit,
            numbers: Numbers::new(!seed),
            full,
            done: Vec::new(),
            rotated: Vec::new(),
        }
    }

    /// One after the other until then.
    pub fn carry_out_until(&mut self, end: Instant) {
        loop {
            std::thread::sleep(PAUSE);
            // The last one has its time, too.
            if Instant::now() + PAUSE >= end {
                return;
            }
            let deed = self.choose();
            let at = Instant::now();
            if self.carry_out(deed).is_some() {
                self.done.push((deed, at, Instant::now()));
            }
        }
    }

    fn choose(&mut self) -> Deed {
        let mut left = self
            .numbers
            .below(DEEDS.iter().map(|(_, weight)| weight).sum());
        for (deed, weight) in DEEDS {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return deed,
            }
        }
        Deed::Reload
    }

    /// `None`: there is nothing that it could be done to just now.
    fn carry_out(&mut self, deed: Deed) -> Option<()> {
        let supervisor = self.adit.pid();
        match deed {
            Deed::Reload => send(supervisor, Signal::SIGHUP),
            Deed::KillWorker => send(self.any(&self.workers())?, Signal::SIGKILL),
            Deed::KillMaster => send(*self.named("master").last()?, Signal::SIGKILL),
            Deed::KillSpare => send(*self.named("spare").last()?, Signal::SIGKILL),
            Deed::KillHelper => {
                let helpers = [self.named("resolver"), self.named("launcher")].concat();
                send(self.any(&helpers)?, Signal::SIGKILL)
            }
            Deed::StopWorker => {
                let stopped = self.any(&self.workers())?;
                send(stopped, Signal::SIGSTOP)?;
                std::thread::sleep(STILL);
                send(stopped, Signal::SIGCONT)
            }
            Deed::Rotate => {
                let log = self.log();
                let old = log.with_extension(self.rotated.len().to_string());
                fs::rename(log, &old).ok()?;
                self.rotated.push(old);
                send(supervisor, Signal::SIGUSR1)
            }
            Deed::Upgrade if !self.full => None,
            Deed::Upgrade => {
                let path = self.adit.plan.folder().join("adit");
                let mut content = fs::read(&path).ok()?;
                // Bytes after the end of an ELF file mean nothing.
                content.push(b'.');
                let new = path.with_extension("new");
                fs::write(&new, content).ok()?;
                fs::set_permissions(&new, fs::metadata(&path).ok()?.permissions()).ok()?;
                fs::rename(&new, &path).ok()?;
                send(supervisor, Signal::SIGHUP)
            }
        }
    }

    /// Processes below the supervisor, the oldest first.
    fn named(&self, role: &str) -> Vec<i32> {
        let below = proc::children(self.adit.pid());
        let below = below
            .into_iter()
            .filter(|&pid| proc::title(pid).contains(role));
        let mut found: Vec<_> = below.filter_map(proc::process).collect();
        found.sort_by_key(|one| one.started);
        found.into_iter().map(|one| one.pid).collect()
    }

    fn workers(&self) -> Vec<i32> {
        let masters = self.named("master");
        let below = masters
            .last()
            .map(|&pid| proc::children(pid))
            .unwrap_or_default();
        let is_worker = |pid: &i32| proc::title(*pid).contains("worker");
        below.into_iter().filter(is_worker).collect()
    }

    fn any(&mut self, of: &[i32]) -> Option<i32> {
        let count = of.len() as u64;
        (count > 0).then(|| of[self.numbers.below(count) as usize])
    }

    fn log(&self) -> PathBuf {
        self.adit.plan.folder().join("log")
    }

    /// Whether a death explains that a connection was cut: the process that carried it died meanwhile.
    pub fn excuse(&self, cut: &Trouble) -> bool {
        self.done.iter().any(|&(deed, began, done)| match deed {
            Deed::KillWorker | Deed::KillMaster => began <= cut.ended && done >= cut.began,
            Deed::KillHelper => {
                cut.service == "program" && began <= cut.ended && done + WITHOUT_HELPER >= cut.began
            }
            Deed::Reload | Deed::KillSpare | Deed::StopWorker | Deed::Rotate | Deed::Upgrade => {
                false
            }
        })
    }

    pub fn summary(&self) -> String {
        let count = |deed| self.done.iter().filter(|(one, ..)| *one == deed).count();
        format!(
            "{} reloads, {} upgrades, {} rotations; killed: {} workers, {} masters, {} spares, {} helpers; {} workers stopped",
            count(Deed::Reload),
            count(Deed::Upgrade),
            count(Deed::Rotate),
            count(Deed::KillWorker),
            count(Deed::KillMaster),
            count(Deed::KillSpare),
            count(Deed::KillHelper),
            count(Deed::StopWorker),
        )
    }

    /// All of the log, in its pieces.
    pub fn everything_logged(&self) -> String {
        let pieces = self.rotated.iter().cloned().chain([self.log()]);
        pieces
            .map(|piece| fs::read_to_string(piece).unwrap_or_default())
            .collect()
    }
}

fn send(pid: i32, signal: Signal) -> Option<()> {
    kill(Pid::from_raw(pid), signal).ok()
}
