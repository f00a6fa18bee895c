//! `adit diff-stunnel`: runs stunnel and adit on one configuration, in a network of their own, and says where they
//! differ. Never in here: a change to the machine, or to a program that serves.

mod namespace;
mod report;
mod running;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{self, Config, Endpoint, Foreground, Sources};
use crate::log::Reason;
use crate::tls::probe;
use report::{Report, Seen};
use running::Running;
use upstream::Heard;

/// There is nothing to compare, as with diff(1).
const TROUBLE: u8 = 2;
/// How long to wait for a word of a program that listens.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where stunnel is found in `PATH`.
const NAMES: [&str; 2] = ["stunnel", "stunnel4"];
/// Global options that would send the log elsewhere, or meet a program that serves.
const ELSEWHERE: [&str; 8] = [
    "foreground",
    "output",
    "log",
    "syslog",
    "debug",
    "pid",
    "control",
    "service",
];

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The configuration.
    pub file: PathBuf,
    /// stunnel; the one in `PATH` unless given.
    pub stunnel: Option<PathBuf>,
}

/// Why there is no comparison.
#[derive(Debug)]
enum Failure {
    NotRoot,
    /// There is no stunnel in `PATH`.
    NoStunnel,
    /// It is adit by another name.
    Itself(PathBuf),
    Read(PathBuf, io::Error),
    /// A file that it includes has global options by which a program that serves would be met.
    Included(PathBuf),
    Namespace(io::Error),
    Folder(io::Error),
    Start(PathBuf, io::Error),
    Report(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("diff-stunnel: ")?;
        match self {
            Failure::NotRoot => {
                f.write_str("only root may make a network of its own, in which both programs run")
            }
            Failure::NoStunnel => f.write_str(
                "there is no stunnel in PATH (install it, its service need not run; or give `--stunnel PROGRAM`)",
            ),
            Failure::Itself(path) => write!(
                f,
                "{} is adit by the name of stunnel (give the real one: `--stunnel PROGRAM`)",
                path.display()
            ),
            Failure::Read(path, error) => write!(f, "{}: {}", path.display(), Reason(error)),
            Failure::Included(path) => write!(
                f,
                "a file that {} includes sets `pid`, `control`, `foreground` or `debug`, and both programs would keep \
                 to it (put them into {0} itself, where they are left out)",
                path.display()
            ),
            Failure::Namespace(error) => write!(
                f,
                "making a network of its own: {} (a container may not allow it)",
                Reason(error)
            ),
            Failure::Folder(error) => write!(f, "a folder for the logs: {}", Reason(error)),
            Failure::Start(path, error) => {
                write!(f, "starting {}: {}", path.display(), Reason(error))
            }
            Failure::Report(error) => write!(f, "writing the report: {}", Reason(error)),
        }
    }
}

/// Compares, and reports on standard output. 0: they are alike, 1: they differ, 2: it cannot be told.
pub fn run(asked: &Asked) -> ExitCode {
    match compare(asked) {
        Ok(report) => match report.write(&mut io::stdout().lock()) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => failed(&Failure::Report(error)),
        },
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    super::complain(format_args!("{failure}"));
    ExitCode::from(TROUBLE)
}

fn compare(asked: &Asked) -> Result<Report, Failure> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(Failure::NotRoot);
    }
    let adit = std::env::current_exe().map_err(Failure::Folder)?;
    let stunnel = find(asked.stunnel.as_deref(), &adit)?;
    let read = |error| Failure::Read(asked.file.clone(), error);
    let text = fs::read(&asked.file).map_err(read)?;
    let file = std::path::absolute(&asked.file).map_err(read)?;
    let (config, _) = config::load_partly(&Sources {
        file: Some(file),
        ..Sources::default()
    });
    let folder = Folder::make().map_err(Failure::Folder)?;
    let text = apart(&text, &asked.file, &folder.0)?;
    namespace::enter().map_err(Failure::Namespace)?;
    let (heard, servers) = serve(config.as_ref(), &folder.0)?;
    let fixed = fixed_ports(config.as_ref());
    let look = |program: &Path, name: &str| {
        let start = |error| Failure::Start(program.to_owned(), error);
        // adit's own folder must be one that nothing else is in.
        let own = folder.0.join(name);
        fs::create_dir(&own).map_err(Failure::Folder)?;
        let configuration = own.join("stunnel.conf");
        fs::write(&configuration, &text).map_err(Failure::Folder)?;
        let seen = match Running::start(program, &configuration, &own).map_err(start)? {
            Ok(running) => watch(running, &folder.0, &servers, &fixed),
            Err(said) => Seen::refused(said),
        };
        Ok(Seen {
            heard: heard.take(),
            ..seen
        })
    };
    Ok(Report {
        stunnel: look(&stunnel, "stunnel")?,
        adit: look(&adit, "adit")?,
        program: stunnel,
    })
}

/// The stunnel to compare with.
fn find(given: Option<&Path>, adit: &Path) -> Result<PathBuf, Failure> {
    let itself = |path: &Path| fs::canonicalize(path).ok() == fs::canonicalize(adit).ok();
    if let Some(given) = given {
        return match itself(given) {
            true => Err(Failure::Itself(given.to_owned())),
            false => Ok(given.to_owned()),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let there = folders.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let (ours, theirs): (Vec<_>, Vec<_>) = there
        .filter(|path| path.is_file())
        .partition(|path| itself(path));
    match (theirs.into_iter().next(), ours.into_iter().next()) {
        (Some(stunnel), _) => Ok(stunnel),
        (None, Some(path)) => Err(Failure::Itself(path)),
        (None, None) => Err(Failure::NoStunnel),
    }
}

/// The configuration with its log on standard error, and what meets no program that serves; `file` is its own, in
/// `folder` it is tried.
fn apart(text: &[u8], file: &Path, folder: &Path) -> Result<Vec<u8>, Failure> {
    let trial = folder.join("trial.conf");
    for before in [Before::Section, Before::Include] {
        let text = without_log(text, before);
        fs::write(&trial, &text).map_err(Failure::Folder)?;
        let (config, _) = config::load_partly(&Sources {
            file: Some(trial.clone()),
            ..Sources::default()
        });
        let is_apart = config.is_none_or(|config| {
            let global = &config.global;
            let logs = global.foreground == Foreground::Yes && global.debug == 7;
            logs && global.pid.is_none() && !global.names_control()
        });
        if is_apart {
            return Ok(text);
        }
    }
    Err(Failure::Included(file.to_owned()))
}

/// What the settings of the log stand before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The first section of the file itself: then they count, whatever the files that it includes say.
    Section,
    /// The first file that it includes, whose last section they would belong to otherwise.
    Include,
}

/// The configuration with its log on standard error. Lines keep their numbers up to these settings.
fn without_log(text: &[u8], before: Before) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut global = true;
    let mut settings = "foreground = yes\nsyslog = no\ndebug = 7\npid =\n";
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let begin = line.trim_ascii_start();
        let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
        let name = begin.split(|&byte| byte == b'=').next().unwrap_or_default();
        let name = name.trim_ascii_end();
        let is_section = begin.starts_with(b"[");
        if is_section || before == Before::Include && name.eq_ignore_ascii_case(b"include") {
            out.extend_from_slice(settings.as_bytes());
            settings = "";
        }
        global &= !is_section;
        let elsewhere = ELSEWHERE
            .iter()
            .any(|option| name.eq_ignore_ascii_case(option.as_bytes()));
        match global && elsewhere && begin.contains(&b'=') {
            true => out.extend_from_slice(b"; left out by adit diff-stunnel\n"),
            false => out.extend_from_slice(line),
        }
    }
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(settings.as_bytes());
    out
}

/// Servers wherever the services connect to; their names are given addresses of this machine.
fn serve(config: Option<&Config>, folder: &Path) -> Result<(Heard, BTreeSet<SocketAddr>), Failure> {
    let services = config.map_or(&[][..], |config| &config.services);
    let mut hosts: BTreeMap<String, IpAddr> = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    let connects = services
        .iter()
        .flat_map(|service| service.connect.iter().chain(&service.redirect));
    for endpoint in connects {
        let Endpoint::Tcp { host, port } = endpoint else {
            continue;
        };
        let address = match host.as_deref() {
            None | Some("localhost") => Ipv4Addr::LOCALHOST.into(),
            Some(host) => host.parse().unwrap_or_else(|_| {
                let [high, low] = (hosts.len() as u16 + 1).to_be_bytes();
                let next = Ipv4Addr::new(127, 126, high, low).into();
                *hosts.entry(host.to_owned()).or_insert(next)
            }),
        };
        if *port != 0 {
            wanted.insert(SocketAddr::new(address, *port));
        }
    }
    namespace::name(&hosts, folder).map_err(Failure::Namespace)?;
    // What a service of the same file accepts on answers for itself.
    let accepts = fixed_ports(config);
    let heard = Heard::default();
    wanted.retain(|address| {
        let own = accepts.contains(&address.port())
            && address.ip().is_loopback()
            && !hosts.values().any(|host| *host == address.ip());
        !own && heard.serve(*address).is_ok()
    });
    Ok((heard, wanted))
}

/// The ports that the configuration names; others are the kernel's choice.
fn fixed_ports(config: Option<&Config>) -> BTreeSet<u16> {
    let services = config.map_or(&[][..], |config| &config.services);
    let accepts = services.iter().flat_map(|service| &service.accept);
    let port = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp { port, .. } => Some(*port),
        Endpoint::Unix(_) => None,
    };
    accepts.filter_map(port).filter(|port| *port != 0).collect()
}

/// What a program does that serves; `servers` are not its own.
fn watch(
    running: Running,
    folder: &Path,
    servers: &BTreeSet<SocketAddr>,
    fixed: &BTreeSet<u16>,
) -> Seen {
    let mut seen = Seen::default();
    let paths = running::listening_paths(folder);
    seen.bound
        .extend(paths.iter().map(|path| path.display().to_string()));
    let mut connections = 0;
    for address in running::listening().difference(servers) {
        let label = match fixed.contains(&address.port()) {
            true => address.to_string(),
            // It is another one at each start.
            false => format!("{} (a free port)", address.ip()),
        };
        seen.bound.insert(label.clone());
        let mut look = |how: &str, look: &dyn Fn(TcpStream) -> String| {
            connections += 1;
            let said = connect(*address).map_or_else(|error| Reason(&error).to_string(), look);
            seen.answers.insert(format!("{label}, {how}"), said);
        };
        look("plain", &|mut stream| probe::hears(&mut stream));
        for (how, version) in probe::VERSIONS {
            look(how, &|stream| probe::look(stream, version));
        }
    }
    // The last words of the connections come after their ends.
    running.wait_for(" finished (", connections);
    seen.said = running.stop();
    seen.serves = true;
    seen
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let stream = TcpStream::connect((ip, address.port()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Folder> {
        let folder = nix::unistd::mkdtemp(&std::env::temp_dir().join("adit-diff-XXXXXX"))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is no remedy for a failure; the copies of the configuration are root's alone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "foreground = yes\nsyslog = no\ndebug = 7\npid =\n";

    fn rewritten(text: &str, before: Before) -> String {
        String::from_utf8(without_log(text.as_bytes(), before)).unwrap()
    }

    #[test]
    fn a_log_that_goes_elsewhere_is_left_out() {
        let gone = "; left out by adit diff-stunnel\n";
        for (text, expected) in [
            ("", format!("\n{SETTINGS}")),
            ("[a]\naccept = 1\n", format!("{SETTINGS}[a]\naccept = 1\n")),
            (
                "\u{feff}Output = /l\nchroot = /c\n [a]\ndebug = 5\n",
                format!("{gone}chroot = /c\n{SETTINGS} [a]\ndebug = 5\n"),
            ),
            (
                "pid=/p\n;pid = x\nexec = /e",
                format!("{gone};pid = x\nexec = /e\n{SETTINGS}"),
            ),
            ("output\n", format!("output\n{SETTINGS}")),
            (
                "include = /d\n[a]\n",
                format!("include = /d\n{SETTINGS}[a]\n"),
            ),
        ] {
            assert_eq!(rewritten(text, Before::Section), expected);
        }
        assert_eq!(
            rewritten("pid = /p\nInclude=/d\n[a]\n", Before::Include),
            format!("{gone}{SETTINGS}Include=/d\n[a]\n")
        );
    }

    #[test]
    fn the_settings_count_whatever_is_included_or_there_is_no_comparison() {
        let folder = tempfile::tempdir().unwrap();
        let included = folder.path().join("part");
        for (part, text, place) in [
            ("[a]\naccept = 1\nconnect = 2\n", "", Some(Before::Include)),
            ("pid = /p\n", "[a]\naccept = 1\n", Some(Before::Section)),
            ("pid = /p\n[a]\naccept = 1\n", "", None),
            ("control = /c\n", "[a]\naccept = 1\n", None),
        ] {
            fs::write(&included, part).unwrap();
            let text = format!("include = {}\n{text}", included.display());
            let found = apart(text.as_bytes(), Path::new("/f"), folder.path()).ok();
            let expected = place.map(|place| without_log(text.as_bytes(), place));
            assert_eq!(found, expected, "{part}");
        }
    }
}
