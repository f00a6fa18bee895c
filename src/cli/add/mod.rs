//! `adit add`: writes the services for a mail address, and says what to type into the old program. Never in
//! here: a password, a server without verification, or a file of another hand that is changed.

mod address;
mod dns;
mod failure;
mod force;
mod lookup;
mod offer;
mod ports;
mod settings;
mod store;
mod text;

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use super::args::default_file;
use super::ca;
use super::providers::{Mail, Provider, Server, Sourced, Tls};
use crate::config::{self, Endpoint, Network, Sources};
use failure::{Failure, Left};
use offer::Offer;
use ports::Ports;
use settings::Settings;
use store::Changes;
use text::{Foreign, Written};

pub(super) use address::{Address, Name};
#[cfg(fuzzing)]
pub(crate) use dns::fuzz;
pub(super) use lookup::{COMMAND as LOOK_UP, run as look_up};
pub(super) use offer::by_hand;
pub(super) use settings::Reader;

/// The folder of the files, beside the configuration.
const FOLDER: &str = "conf.d";

/// What to add, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub address: Address,
    /// The configuration that includes the services.
    pub file: PathBuf,
    pub what: What,
    pub reader: Reader,
    /// Where the services accept; loopback unless given.
    pub listen: Option<IpAddr>,
    /// Where clients may come from, as `acceptFrom` has it; the network of `listen` unless given.
    pub from: Option<String>,
    /// What the services are called; as the address unless given.
    pub name: Option<Name>,
    /// The provider of an address in a domain of its own.
    pub provider: Option<&'static Provider>,
    /// The servers, named by hand.
    pub servers: Vec<(Mail, Server)>,
    /// Take what DNS says without a question.
    pub yes: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum What {
    /// Write the services, and put them into force.
    #[default]
    Write,
    /// Show them.
    Print,
    /// Remove them.
    Remove,
}

/// Does it, and reports on standard output.
pub(super) fn run(asked: &Asked) -> ExitCode {
    let done = match asked.what {
        What::Remove => remove(asked),
        What::Write | What::Print => add(asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(format_args!("add: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// The files of an address.
struct Place {
    /// The configuration.
    main: PathBuf,
    /// The folder of the files that it includes.
    folder: PathBuf,
    /// The file of the address.
    part: PathBuf,
    name: Name,
}

impl Place {
    fn of(asked: &Asked) -> Result<Place, Failure> {
        let name = asked.name.clone().unwrap_or_else(|| asked.address.name());
        let main = path::absolute(&asked.file)
            .map_err(|error| Failure::Path(asked.file.clone(), error))?;
        let folder = main.parent().unwrap_or(Path::new("/")).join(FOLDER);
        let part = folder.join(format!("{name}.conf"));
        Ok(Place {
            main,
            folder,
            part,
            name,
        })
    }

    fn sources(&self) -> Sources {
        Sources {
            file: Some(self.main.clone()),
            environment: true,
            ..Sources::default()
        }
    }

    /// What an earlier `adit add` wrote there for this address.
    fn written(&self, address: &Address) -> Result<Option<(String, Written)>, Failure> {
        let Some(text) = store::read(&self.part)? else {
            return Ok(None);
        };
        let left = |why| Err(Failure::Left(self.part.clone(), why));
        match text::read(&text) {
            Ok(written) if written.address == address.as_str() => Ok(Some((text, written))),
            Ok(written) => left(Left::OtherAddress(written.address)),
            Err(Foreign::Made) => left(Left::Foreign),
            Err(Foreign::Changed) => left(Left::Changed),
        }
    }

    fn service(&self, mail: Mail) -> String {
        format!("{}-{}", self.name, mail.word())
    }
}

fn add(asked: &Asked) -> Result<(), Failure> {
    let shows = asked.what == What::Print;
    let host = host(asked)?;
    let offer = offer(asked)?;
    let place = Place::of(asked)?;
    let before = match place.written(&asked.address) {
        // What is only shown is in no file's way.
        Err(_) if shows => None,
        before => before?,
    };
    let mut ports = before
        .as_ref()
        .map_or_else(Ports::default, |(_, written)| written.ports.clone());
    let taken = taken(&place);
    let is_free = |port| !taken.contains(&port) && is_free(host, port);
    if !ports.complete(place.name.as_str(), &offer.mails(), is_free) {
        return Err(Failure::NoPort(host));
    }
    let from = from(asked, host, &place);
    let reach = (host, from.as_deref());
    let text = text::services(&asked.address, &place.name, &offer, reach, &ports);
    let settings = |tls| Settings {
        reader: asked.reader,
        address: &asked.address,
        offer: &offer,
        host,
        from: from.as_deref(),
        ports: &ports,
        tls,
        sign_in: sign_in(asked, &offer, &place),
    };
    if shows {
        return say(format_args!("{}\n{text}", Commented(settings(false))));
    }
    let changes = write(
        &place,
        before.as_ref().map(|(text, _)| text.as_str()),
        &text,
    )?;
    let force = force::put_into(&place, &offer).or_else(|error| put_back(changes, error.into()))?;
    say(format_args!(
        "{force}\n{}",
        settings(demands_tls(&place, &offer))
    ))
}

/// The command that signs the address in, if adit logs in by tokens.
fn sign_in(asked: &Asked, offer: &Offer, place: &Place) -> Option<String> {
    let tokens = offer.tokens?;
    let mut command = format!("adit login {} --client-id ID", asked.address);
    // `adit login` knows it by the domain, unless that is the person's own.
    if Provider::of_domain(asked.address.domain()).is_none() {
        command += &format!(" --provider {}", tokens.id);
    }
    if place.main != Path::new(default_file(false)) {
        command += &format!(" {}", place.main.display());
    }
    Some(command)
}

/// Undoes what cannot be put into force.
fn put_back<T>(changes: Changes, failure: Failure) -> Result<T, Failure> {
    match changes.undo() {
        Ok(()) => Err(failure),
        Err(error) => Err(Failure::NotUndone(Box::new(failure), error)),
    }
}

fn remove(asked: &Asked) -> Result<(), Failure> {
    let place = Place::of(asked)?;
    let Some((text, _)) = place.written(&asked.address)? else {
        return Err(Failure::Left(place.part, Left::Missing));
    };
    let mut changes = Changes::default();
    changes.remove(&place.part, &text)?;
    let told = force::without(&place).or_else(|error| put_back(changes, error.into()))?;
    say(format_args!("Removed {}. {told}\n", place.part.display()))
}

/// The servers for the address: those given by hand, the table's, or those that DNS names.
fn offer(asked: &Asked) -> Result<Offer, Failure> {
    let address = &asked.address;
    if !asked.servers.is_empty() {
        return Ok(Offer::of_servers(address, asked.servers.clone()));
    }
    let given = asked.provider.map(|provider| Sourced {
        value: provider,
        sourced: true,
    });
    if let Some(provider) = given.or_else(|| Provider::of_domain(address.domain())) {
        return Offer::of_provider(provider).map_err(Failure::NoPassword);
    }
    let domain = || address.domain().to_owned();
    let found = lookup::servers(address.domain());
    let found = found.map_err(|reason| Failure::Unknown(domain(), Some(reason)))?;
    if found.is_empty() {
        return Err(Failure::Unknown(domain(), None));
    }
    confirm(asked, &found)?;
    Ok(Offer::of_servers(address, found))
}

/// Shows what DNS said, and asks whether to use it: the answer may be forged, and the password goes there.
fn confirm(asked: &Asked, found: &[(Mail, Server)]) -> Result<(), Failure> {
    let mut out = io::stderr();
    let shown = found.iter().map(|(mail, server)| {
        let tls = match server.tls {
            Tls::AtOnce => "TLS",
            Tls::Starttls => "STARTTLS",
        };
        format!(
            "  {:<5} {}:{} {tls}\n",
            mail.name(),
            server.host,
            server.port
        )
    });
    let shown: String = shown.collect();
    // Standard error may be closed; then there is no terminal to answer at.
    let _ = write!(
        out,
        "adit does not know {}. Its DNS names these servers, and your password will go there:\n{shown}",
        asked.address.domain()
    );
    if asked.yes || asked.what == What::Print {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Unasked);
    }
    let _ = write!(out, "DNS can be forged. Are they your provider's? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::Answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Refused),
    }
}

/// The address to accept on.
fn host(asked: &Asked) -> Result<IpAddr, Failure> {
    let Some(host) = asked.listen else {
        return match (asked.reader, asked.what) {
            // It is another machine.
            (Reader::Printer, What::Write) => Err(Failure::Elsewhere(own_addresses())),
            _ => Ok(Ipv4Addr::LOCALHOST.into()),
        };
    };
    if is_public(host) {
        return Err(Failure::Public(host, own_addresses()));
    }
    match TcpListener::bind((host, 0)) {
        Err(error) if asked.what == What::Write => Err(Failure::Listen(host, error)),
        _ => Ok(host),
    }
}

/// The value of `acceptFrom`: what is asked for; else, beyond loopback, the network that the address is in, unless
/// the configuration has a list for every service.
fn from(asked: &Asked, host: IpAddr, place: &Place) -> Option<String> {
    if asked.from.is_some() || host.is_loopback() || has_list(place) {
        return asked.from.clone();
    }
    // What is only shown may be for another machine: networks of homes and offices are of this size.
    let usual = if host.is_ipv4() { 24 } else { 64 };
    let bits = ca::prefix_of(host).unwrap_or(usual);
    Some(Network::of(host, bits).to_string())
}

/// Whether the configuration says before its first section where clients may come from.
fn has_list(place: &Place) -> bool {
    let text = fs::read_to_string(&place.main).unwrap_or_default();
    let mut before = text
        .lines()
        .map(str::trim_start)
        .take_while(|line| !line.starts_with('['));
    before.any(|line| {
        let (name, _) = line.split_once('=').unwrap_or((line, ""));
        name.trim_end().eq_ignore_ascii_case("acceptFrom")
    })
}

fn is_public(host: IpAddr) -> bool {
    let host = Some(host.to_string());
    config::is_public(&Endpoint::Tcp { host, port: 1 })
}

/// This machine's addresses on its LAN.
fn own_addresses() -> Vec<IpAddr> {
    let mut addresses = ca::interfaces();
    addresses.retain(|address| !is_public(*address));
    addresses
}

/// The ports of the other services, whether they run or not.
fn taken(place: &Place) -> Vec<u16> {
    let (config, _) = config::load_partly(&place.sources());
    let services = config.map(|config| config.services).unwrap_or_default();
    let accept = services.iter().flat_map(|service| &service.accept);
    let ports = accept.filter_map(|endpoint| match endpoint {
        Endpoint::Tcp { port, .. } => Some(*port),
        Endpoint::Unix(_) => None,
    });
    ports.collect()
}

/// Whether no program has the port; one that is not known to be taken is free.
fn is_free(host: IpAddr, port: u16) -> bool {
    let bound = TcpListener::bind((host, port));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Writes the file, and what is missing of the configuration that includes it.
fn write(place: &Place, before: Option<&str>, text: &str) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    let written = match before {
        Some(before) if before == text => Ok(()),
        Some(before) => changes.replace(&place.part, before, text),
        None => force::prepare(place, &mut changes).and_then(|()| changes.make(&place.part, text)),
    };
    match written {
        Ok(()) => Ok(changes),
        Err(error) => put_back(changes, error.into()),
    }
}

/// Whether programs must begin with TLS, as the configuration's defaults may say.
fn demands_tls(place: &Place, offer: &Offer) -> bool {
    let (config, _) = config::load_partly(&place.sources());
    let services = config.map(|config| config.services).unwrap_or_default();
    let own: Vec<String> = offer
        .mails()
        .into_iter()
        .map(|mail| place.service(mail))
        .collect();
    let mut own = services
        .iter()
        .filter(|service| own.contains(&service.name));
    own.any(|service| {
        use config::{Beginning, Reception};
        let beginning = service.beginning();
        matches!(
            beginning,
            Some(Beginning::AtOnce | Beginning::Received(Reception::Required(_)))
        )
    })
}

fn say(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)
        .and_then(|()| out.flush())
        .map_err(Failure::Report)
}

/// A text whose lines are comments of a configuration.
struct Commented<T>(T);

impl<T: fmt::Display> fmt::Display for Commented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.to_string().lines() {
            writeln!(f, "{}", format!("; {line}").trim_end())?;
        }
        Ok(())
    }
}

/// Whether a path is a folder.
fn is_folder(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_dir())
}
