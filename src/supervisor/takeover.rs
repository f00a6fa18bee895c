//! A new binary takes over: the supervisor executes it in its own place, with its listeners, its
//! children and what resumption needs. Before that the new binary rehearses in a child, with the
//! same state; one that crashes or objects is given up, and the old goes on as if nothing had been.
//!
//! The state is one JSON document in a memfd; descriptors go by number. Its fields are a contract
//! between versions: add to them, with a default, and never change their meaning.

mod saved;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::carried::{Carried, Incidents};
use super::control::Control;
use super::decider::{Decider, Reloads, State};
use super::generation::Common;
use super::helpers::{self, Helpers};
use super::listeners::{Key, Listeners, Served};
use super::masters::Masters;
use super::metrics::Metrics;
use super::orphans::Orphans;
use super::pid_file::PidFile;
use super::saved_phrases;
use super::spares::Spare;
use super::vault::Vault;
use crate::config::{MetricsAddress, Networks};
use crate::helper::KnownNames;
use crate::ipc::inherit;
use crate::ipc::leash::{Holder, Leash};
use crate::ipc::shared::SharedWords;
use crate::limits;
use crate::log::Log;
use crate::step::NameStep;
use crate::tls::{PassPhrases, Resumption};
use saved::{Kept, SavedGeneration, SavedSpare};

/// What a new binary writes when its rehearsal went well: another program that ends well says nothing.
const PROOF: &[u8] = b"adit can take over\n";

/// Tells the new binary its task, and the descriptors for it. (Not `ADIT_`: it is no option.)
const VARIABLE: &str = "_ADIT_TAKEOVER";
const REHEARSE: &str = "rehearse";
const SERVE: &str = "serve";

/// Where this program is and how it was called, as long as that is known.
static PROGRAM: OnceLock<(PathBuf, Vec<OsString>)> = OnceLock::new();

/// Notes the program's path and arguments; once, before the title is set over them.
pub(super) fn remember_program() {
    if let Ok(path) = std::env::current_exe() {
        let _ = PROGRAM.set((path, std::env::args_os().collect()));
    }
}

/// What this process was before an exec asks of this program.
pub(super) enum Inherited {
    /// See whether everything could be taken over, and say so into the second; touch nothing.
    Rehearsal(File, File),
    /// Take over.
    Service(File),
}

/// Whether this program was executed in place of an older one.
///
/// # Errors
/// The variable names nothing that is open.
pub(super) fn inherited() -> io::Result<Option<Inherited>> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(None);
    };
    let unknown = || io::Error::other(format!("{VARIABLE}={text} is not understood"));
    let take = |number: &str| {
        let number: RawFd = number.parse().map_err(|_| unknown())?;
        io::Result::Ok(File::from(inherit::take(number)?))
    };
    match text.split(':').collect::<Vec<_>>()[..] {
        [REHEARSE, state, proof] => Ok(Some(Inherited::Rehearsal(take(state)?, take(proof)?))),
        [SERVE, state] => Ok(Some(Inherited::Service(take(state)?))),
        _ => Err(unknown()),
    }
}

/// The rehearsal went well.
///
/// # Errors
/// Nothing listens.
pub(super) fn prove(mut proof: File) -> io::Result<()> {
    proof.write_all(PROOF)
}

/// Whether a rehearsal that is over left its proof. Never waits.
pub(super) fn is_proven(proof: &mut io::PipeReader) -> bool {
    let mut said = [0; 2 * PROOF.len()];
    matches!(proof.read(&mut said), Ok(count) if &said[..count] == PROOF)
}

#[derive(Serialize, Deserialize)]
struct Saved {
    generations: Vec<SavedGeneration>,
    listeners: Vec<(Key, String, RawFd)>,
    /// Those in force, each with the index of its service.
    #[serde(default)]
    served: Vec<Served>,
    /// Services that nothing is accepted for.
    #[serde(default)]
    drained: Vec<String>,
    #[serde(default)]
    spares: Vec<SavedSpare>,
    /// Processes that are to be reaped.
    #[serde(default)]
    leaving: Vec<i32>,
    /// The first helper that there was; versions before the others know it alone.
    resolver: (i32, RawFd),
    #[serde(default)]
    helpers: Vec<helpers::Saved>,
    leash: [RawFd; 2],
    memory: [RawFd; 2],
    /// What is stapled; versions before know nothing of it.
    #[serde(default)]
    staples: Option<RawFd>,
    ticket_secret: [u8; 32],
    pid_file: Option<(RawFd, Option<PathBuf>, PathBuf)>,
    control: Option<(RawFd, PathBuf)>,
    #[serde(default)]
    metrics: Option<(RawFd, MetricsAddress)>,
    /// Networks that may ask there; versions before do not tell.
    #[serde(default)]
    allowed: Option<Allowed>,
    next_number: u64,
    #[serde(default)]
    reloads: Reloads,
    /// Generations whose master has died, and the processes that are left of each.
    #[serde(default)]
    orphans: Vec<(SavedGeneration, Vec<i32>)>,
    #[serde(default = "PassPhrases::none", with = "saved_phrases")]
    phrases: PassPhrases,
    #[serde(default)]
    carried: Carried,
    #[serde(default)]
    incidents: Incidents,
    #[serde(default)]
    names: KnownNames,
    /// The limit of open files that the first of these programs was started with.
    #[serde(default)]
    files: Option<(u64, u64)>,
}

/// Who may ask the teller; without networks all may.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Allowed {
    pub(super) networks: Option<Networks>,
}

/// What was taken over.
pub(super) struct TakenOver {
    pub(super) masters: Masters,
    /// How far each generation had come, by number.
    pub(super) progress: Vec<(u64, State, Option<Duration>)>,
    /// Whether the spare of each generation stands that is to have one.
    pub(super) spared: Vec<(u64, bool)>,
    pub(super) listeners: Listeners,
    pub(super) helpers: Helpers,
    pub(super) leash: Holder,
    pub(super) common: Common,
    pub(super) pid_file: Option<PidFile>,
    pub(super) control: Option<Control>,
    pub(super) metrics: Option<Metrics>,
    pub(super) allowed: Option<Allowed>,
    pub(super) next_number: u64,
    pub(super) reloads: Reloads,
}

impl TakenOver {
    /// Reads the state and takes up every descriptor that it names.
    ///
    /// # Errors
    /// It cannot be read, or something that it names is not there.
    pub(super) fn read(mut file: File) -> io::Result<TakenOver> {
        file.rewind()?;
        // As large as it must be at once: growing would leave copies.
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut text = Zeroizing::new(String::with_capacity(length + 1));
        file.read_to_string(&mut text)?;
        let saved: Saved = serde_json::from_str(&text)?;
        limits::remember(saved.files);
        let [holder, leash] = saved.leash.map(inherit::take);
        let leash = Leash::from(leash?);
        let [sessions, counter] = saved.memory.map(inherit::take);
        let (sessions, counter) = (sessions?, counter?);
        let staples = saved.staples.map(inherit::take).transpose()?;
        let (resumption, staples) =
            Resumption::taken_over(saved.ticket_secret, &sessions, staples)?;
        let mut listeners = Listeners::default();
        for (key, address, number) in saved.listeners {
            listeners.take_over(key, address, inherit::take(number)?);
        }
        let progress = saved.generations.iter().map(|generation| {
            let (state, left) = generation.progress();
            (generation.number, state, left)
        });
        let progress = progress.collect();
        listeners.go_on_serving(saved.served);
        listeners.go_on_drained(saved.drained);
        let spares = saved.spares.into_iter().map(SavedSpare::take_over);
        let spares: Vec<Spare> = spares.collect::<io::Result<_>>()?;
        let to_be = saved
            .generations
            .iter()
            .filter(|g| g.serves && g.can_be_spared);
        let none = to_be.filter(|g| !spares.iter().any(|s| s.behind == g.number));
        let spared = spares.iter().map(|spare| (spare.behind, true));
        let spared = spared.chain(none.map(|g| (g.number, false))).collect();
        let generations = saved
            .generations
            .into_iter()
            .map(SavedGeneration::take_over);
        let orphans = saved.orphans.into_iter().map(|(generation, workers)| {
            let mut generation = generation.take_over()?;
            generation.hears = false;
            io::Result::Ok(Orphans {
                generation,
                workers: workers.into_iter().map(Pid::from_raw).collect(),
            })
        });
        let pid_file = saved
            .pid_file
            .map(|(number, root, path)| PidFile::taken_over(inherit::take(number)?, root, path));
        let control = saved.control.map(|(number, path)| {
            io::Result::Ok(Control::taken_over(inherit::take(number)?, path))
        });
        let metrics = saved.metrics.map(|(number, wanted)| {
            io::Result::Ok(Metrics::taken_over(inherit::take(number)?, wanted))
        });
        Ok(TakenOver {
            masters: Masters::taken_over(
                generations.collect::<io::Result<_>>()?,
                orphans.collect::<io::Result<_>>()?,
                spares,
                saved.leaving.into_iter().map(Pid::from_raw).collect(),
            ),
            progress,
            spared,
            listeners,
            helpers: Helpers::taken_over(saved.resolver, saved.helpers, &leash)?,
            leash: holder?.into(),
            common: Common {
                resumption,
                connections: SharedWords::taken_over(&counter, 1)?,
                leash,
                memory: [sessions, counter, staples],
                vault: Vault::new(&saved.phrases)?,
                // Binders of the program before go on with the key of that.
                warrants: None,
                carried: saved.carried.with(saved.incidents),
                names: saved.names,
            },
            pid_file: pid_file.transpose()?,
            control: control.transpose()?,
            metrics: metrics.transpose()?,
            allowed: saved.allowed,
            next_number: saved.next_number,
            reloads: saved.reloads,
        })
    }
}

/// Whether the file that this program was started from has become another.
pub(super) fn is_newer() -> bool {
    let identity = |path: &std::path::Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.dev(), about.ino(), about.mtime(), about.size()))
    };
    let there = PROGRAM.get().and_then(|(path, _)| identity(path));
    there.is_some() && there != identity(std::path::Path::new("/proc/self/exe"))
}

/// What a new binary is given.
pub(super) struct Handed<'a> {
    /// Which generations there are.
    pub masters: &'a Masters,
    /// How far each has come.
    pub decider: &'a Decider,
    /// The listeners in force.
    pub listeners: &'a Listeners,
    /// Everything that is asked.
    pub helpers: &'a Helpers,
    /// The supervisor's end of the leash.
    pub leash: &'a Holder,
    /// What generations share.
    pub common: &'a Common,
    /// The pid file.
    pub pid_file: Option<&'a PidFile>,
    /// The control socket.
    pub control: Option<&'a Control>,
    /// The teller's listener.
    pub metrics: Option<&'a Metrics>,
    /// Networks that may ask there.
    pub allowed: Option<&'a Networks>,
    /// Where failures are told.
    pub log: Log,
}

impl Handed<'_> {
    fn save(&self) -> io::Result<(Kept, OwnedFd)> {
        let mut kept = Kept::default();
        let generations = self.masters.all().iter();
        let listeners = self.listeners.all().map(|(key, address, socket)| {
            Ok((key.clone(), address.to_owned(), kept.keep(socket)?))
        });
        let listeners = listeners.collect::<io::Result<_>>()?;
        let pid_file = match &self.pid_file {
            Some(file) => {
                let (root, path) = file.place();
                let number = kept.keep(file.descriptor())?;
                Some((number, root.map(PathBuf::from), path.to_owned()))
            }
            None => None,
        };
        let control = match &self.control {
            Some(control) => Some((kept.keep(control.descriptor())?, control.path().to_owned())),
            None => None,
        };
        let metrics = match &self.metrics {
            Some(metrics) => Some((kept.keep(metrics.descriptor())?, metrics.wanted().clone())),
            None => None,
        };
        let mut orphaned = Kept::default();
        let orphans = self.masters.orphans().iter().map(|orphans| {
            let workers = orphans.workers.iter().map(|pid| pid.as_raw());
            let generation = &orphans.generation;
            let generation = SavedGeneration::save(generation, self.decider, &mut orphaned)?;
            io::Result::Ok((generation, workers.collect()))
        });
        let orphans = orphans.collect::<io::Result<_>>()?;
        kept.0.append(&mut orphaned.0);
        let spares = self.masters.spares().iter();
        let spares = spares.map(|spare| SavedSpare::save(spare, self.decider, &mut kept));
        let spares: Vec<_> = spares.collect::<io::Result<_>>()?;
        let [sessions, counter, staples] = &self.common.memory;
        let (resolver, helpers) = self.helpers.save(|channel| kept.keep(channel))?;
        let saved = Saved {
            generations: generations
                .map(|generation| SavedGeneration::save(generation, self.decider, &mut kept))
                .collect::<io::Result<_>>()?,
            listeners,
            served: self.listeners.to_go_on_serving(),
            drained: self.listeners.drained(),
            spares: spares.into_iter().flatten().collect(),
            leaving: self
                .masters
                .leaving()
                .iter()
                .map(|pid| pid.as_raw())
                .collect(),
            resolver,
            helpers,
            leash: [
                kept.keep(self.leash.as_fd())?,
                kept.keep(self.common.leash.as_fd())?,
            ],
            memory: [kept.keep(sessions.as_fd())?, kept.keep(counter.as_fd())?],
            staples: Some(kept.keep(staples.as_fd())?),
            ticket_secret: self.common.resumption.ticket_secret(),
            pid_file,
            control,
            metrics,
            allowed: Some(Allowed {
                networks: self.allowed.cloned(),
            }),
            next_number: self.decider.next_number(),
            reloads: self.decider.reloads(),
            orphans,
            phrases: self.common.vault.open(),
            carried: self.common.carried.clone(),
            incidents: self.common.carried.incidents.clone(),
            names: self.common.names.clone(),
            files: limits::at_the_start(),
        };
        let descriptor = memfd_create(c"adit", MFdFlags::empty()).step("memfd_create(2)")?;
        // Written piece by piece: a buffer that grows would leave copies of the pass phrases.
        serde_json::to_writer(File::from(descriptor.try_clone()?), &saved)?;
        inherit::keep(descriptor.as_fd(), true)?;
        Ok((kept, descriptor))
    }

    /// Lets the new binary rehearse in a child; its end, and the proof that it leaves, tell the rest.
    ///
    /// # Errors
    /// No process, memory or descriptor to be had.
    pub(super) fn rehearse(&self) -> io::Result<(Pid, io::PipeReader)> {
        let (kept, state) = self.save()?;
        let (proof, prover) = io::pipe()?;
        fcntl(&proof, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let one = crate::process::OneThread::prove()?;
        let child = crate::process::spawn(&one, |fresh| {
            // It holds the leash and the listeners as well, which must not outlive this process.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            // The rehearsal must be able to hear what signals it is sent; the mask outlives an exec.
            let _signals = fresh.hear(&[]);
            let error = match inherit::keep(prover.as_fd(), true) {
                Ok(prover) => execute(&format!("{REHEARSE}:{}:{prover}", state.as_raw_fd())),
                Err(error) => error,
            };
            crate::error!(
                self.log,
                "The new binary cannot be executed: {}",
                crate::log::Reason(&error)
            );
            crate::process::exit(1)
        });
        drop(kept);
        Ok((child?, proof))
    }

    /// Executes the new binary in this process's place. Returns only if that fails.
    #[must_use]
    pub(super) fn take_over(&self) -> io::Error {
        let (_kept, state) = match self.save() {
            Ok(saved) => saved,
            Err(error) => return error,
        };
        // A signal between two programs would meet no handler: it waits for the new one's.
        let mut before = SigSet::empty();
        let all = Some(&SigSet::all());
        if let Err(errno) = sigprocmask(SigmaskHow::SIG_SETMASK, all, Some(&mut before)) {
            return errno.into();
        }
        let error = execute(&format!("{SERVE}:{}", state.as_raw_fd()));
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        error
    }
}

/// Executes the program's file as it is now, as this one was called. Returns only if that fails.
fn execute(task: &str) -> io::Error {
    let Some((path, arguments)) = PROGRAM.get() else {
        return io::Error::other("where it is was not known at the start");
    };
    let variables = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
    let mut environment: Vec<OsString> = variables
        .map(|(name, value)| [name, value].join("=".as_ref()))
        .collect();
    environment.push(format!("{VARIABLE}={task}").into());
    let strings = |all: &[OsString]| {
        all.iter()
            .map(|text| CString::new(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    let prepared = CString::new(path.as_os_str().as_bytes())
        .and_then(|path| Ok((path, strings(arguments)?, strings(&environment)?)));
    match prepared {
        Ok((path, arguments, environment)) => {
            match nix::unistd::execve(&path, &arguments, &environment) {
                Ok(never) => match never {},
                Err(errno) => errno.into(),
            }
        }
        Err(error) => error.into(),
    }
}

/// Lets signals in that waited over the exec.
///
/// # Errors
/// What sigprocmask(2) gives.
pub(super) fn let_signals_in() -> io::Result<()> {
    Ok(sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::empty()),
        None,
    )?)
}
