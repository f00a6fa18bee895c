//! Puts written services into force: the configuration that includes them, the check of all of it, the reload.
//! Never in here: a running adit that is left with a configuration which a start would refuse.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{Group, Uid};

use super::failure::NoForce;
use super::offer::Offer;
use super::store::{Changes, StoreError};
use super::{Place, is_folder};
use crate::cli::args::default_file;
use crate::cli::running::{self, NotFound};
use crate::cli::{check, passed, reload};
use crate::config;

/// The folder that adit locks itself into, as the packages have it.
const JAIL: &str = "/var/lib/adit";
/// The folder of its log.
const LOGS: &str = "/var/log/adit";

/// What became of the services.
#[derive(Debug)]
pub(super) enum Force {
    /// The running adit serves them.
    Reloaded(PathBuf),
    /// No adit runs with this configuration, as far as can be told.
    NotRunning {
        part: PathBuf,
        /// How it is started.
        start: String,
        /// What was found in place of it, if that is telling.
        found: Option<String>,
    },
}

impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Force::Reloaded(part) => {
                writeln!(
                    f,
                    "The services are in {}, and the running adit serves them.",
                    part.display()
                )
            }
            Force::NotRunning { part, start, found } => {
                writeln!(f, "The services are in {}.", part.display())?;
                if let Some(found) = found {
                    writeln!(f, "Whether adit runs could not be told: {found}")?;
                }
                writeln!(f, "To start adit:\n\n    {start}")
            }
        }
    }
}

/// Makes the folder of the services, and the configuration if there is none.
///
/// # Errors
/// One of them cannot be made.
pub(super) fn prepare(place: &Place, changes: &mut Changes) -> Result<(), StoreError> {
    let missing = fs::symlink_metadata(&place.main).is_err();
    if missing && is_default(&place.main) {
        for folder in [place.main.parent(), Some(Path::new(JAIL))] {
            folder.map_or(Ok(()), |folder| changes.folder(folder))?;
        }
    }
    changes.folder(&place.folder)?;
    match missing {
        true => changes.make(&place.main, &configuration(place)),
        false => Ok(()),
    }
}

/// A configuration for services of `adit add` alone.
fn configuration(place: &Place) -> String {
    let mut text = "; Made by `adit add`. adit.conf(5) tells what can stand here; after a change, `adit check`.\n\n\
                    ; The provider's certificate must be valid and issued for the host in `connect`.\n\
                    client = yes\nverifyServer = yes\n"
        .to_owned();
    if Uid::effective().is_root() {
        let group = match Group::from_name("nogroup") {
            Ok(Some(_)) => "nogroup",
            _ => "nobody",
        };
        text += &format!(
            "\n; The processes that face the network run as this user.\nsetuid = nobody\nsetgid = {group}\n"
        );
    } else if let Some(folder) = place.main.parent() {
        text += &format!(
            "\n; The tokens of `adit login`.\nkeeperDirectory = {}/keeper\n",
            folder.display()
        );
    }
    if is_default(&place.main) {
        text += &format!(
            "\n; They are locked into this folder; the pid file is in it.\nchroot = {JAIL}\npid = /adit.pid\n"
        );
        if is_folder(LOGS) {
            text += &format!("output = {LOGS}/adit.log\n");
        }
    }
    text + &format!(
        "\n; What `adit add` writes. This line must be the last: what follows a section belongs to it.\n\
         include = {}/*.conf\n",
        place.folder.display()
    )
}

fn is_default(main: &Path) -> bool {
    main == Path::new(default_file(false)) && Uid::effective().is_root()
}

/// Checks the whole configuration, and makes a running adit serve it.
///
/// # Errors
/// The configuration does not include the services, is wrong, or is refused.
pub(super) fn put_into(place: &Place, offer: &Offer) -> Result<Force, NoForce> {
    let sources = passed::as_running(place.sources());
    let (config, _) = config::load_partly(&sources);
    let services = config.map(|config| config.services).unwrap_or_default();
    let is_there = |name: &String| services.iter().any(|service| service.name == *name);
    let mut names = offer.mails().into_iter().map(|mail| place.service(mail));
    if !names.all(|name| is_there(&name)) {
        return Err(NoForce::NotIncluded(
            place.main.clone(),
            place.folder.clone(),
        ));
    }
    let part = place.part.clone();
    match running::find(&sources) {
        Ok(_) if reload::run(&sources) == ExitCode::SUCCESS => Ok(Force::Reloaded(part)),
        Ok(_) => Err(NoForce::NotReloaded),
        Err(found) => {
            let asked = check::Asked {
                phrases: true,
                ..check::Asked::default()
            };
            match check::run(&sources, asked) == ExitCode::SUCCESS {
                true => Ok(Force::NotRunning {
                    part,
                    start: start(&place.main),
                    found: telling(&found),
                }),
                false => Err(NoForce::Wrong(place.main.clone())),
            }
        }
    }
}

/// Makes a running adit do without services that were removed; says what became of it.
///
/// # Errors
/// It refuses to.
pub(super) fn without(place: &Place) -> Result<&'static str, NoForce> {
    let sources = passed::as_running(place.sources());
    match running::find(&sources) {
        Ok(_) if reload::run(&sources) == ExitCode::SUCCESS => {
            Ok("The running adit accepts there no more.")
        }
        Ok(_) => Err(NoForce::NotRemoved),
        Err(_) => Ok("No adit runs with this configuration."),
    }
}

/// What was found, unless there is just no adit.
fn telling(found: &NotFound) -> Option<String> {
    match found {
        NotFound::Unanswered(_, error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            None
        }
        NotFound::NoSocket | NotFound::Unanswered(..) | NotFound::Another(_) => {
            Some(found.to_string())
        }
    }
}

/// How adit is started with this configuration on this machine.
fn start(main: &Path) -> String {
    if main != Path::new(default_file(false)) {
        return format!("adit {}", main.display());
    }
    let units =
        ["/etc", "/usr/lib", "/lib"].map(|folder| format!("{folder}/systemd/system/adit.service"));
    let has_unit = units.iter().any(|unit| Path::new(unit).exists());
    if is_folder("/run/systemd/system") && has_unit {
        return "systemctl enable --now adit".to_owned();
    }
    match Path::new("/etc/init.d/adit").exists() {
        true => "update-rc.d adit enable; /etc/init.d/adit start".to_owned(),
        false => "adit".to_owned(),
    }
}
