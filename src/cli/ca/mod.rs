//! `adit ca`: a local authority, and a certificate from it for programs that are to trust this machine.
//! Never in here: a key on the network, or an authority that is overwritten.

mod handout;
mod issue;
mod names;
mod sha1;
mod store;

use std::fmt;
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::listener::{self, ListenError};
use crate::log::Reason;
use crate::remedy;
use crate::status::Utc;
use issue::{About, Authority, Digest, Reader, Trouble};
use store::{Store, StoreError, Why};

#[cfg(fuzzing)]
pub(crate) use handout::fuzz;
pub use names::Name;
pub(super) use names::{interfaces, prefix_of};

/// Whether a certificate's file may have this name.
pub fn is_file_name(name: &str) -> bool {
    store::is_name(name)
}

/// Where the files are unless `--dir` says otherwise.
pub const FOLDER: &str = "/etc/adit/ca";
/// As `adit listen-in` suggests it for an authority that signs with SHA-1: no program of today trusts that.
pub const SHA1_FOLDER: &str = "/etc/adit/old-ca";
/// Which of them has the certificate, unless `--file` says otherwise.
pub const FILE: &str = "server.pem";
/// As `adit listen-in` suggests it for old TLS, whose key no service of today may have.
pub const OLD_FILE: &str = "old.pem";

/// What to do, and where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The folder.
    pub dir: PathBuf,
    /// What to do in it.
    pub what: What,
}

/// The commands of `adit ca`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Make what is not there yet.
    Make {
        /// Names and addresses besides those of this machine; they come first.
        names: Vec<Name>,
        /// Sign with SHA-1.
        sha1: bool,
        /// The name of the file in the folder.
        file: String,
    },
    /// Make new certificates from the same authority.
    Renew {
        /// Also in place of those that are good for long.
        force: bool,
    },
    /// Show what there is.
    Show {
        /// Give the authority's certificate to one browser at this address.
        serve: Option<String>,
    },
}

/// Does it, and reports on standard output.
pub fn run(asked: &Asked) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = obey(asked, &mut out);
    match done.and_then(|()| out.flush().map_err(Failure::Report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(format_args!("ca: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn obey(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    // A configuration may be read from another folder than the one that this command runs in.
    let dir = path::absolute(&asked.dir).map_err(|error| StoreError::reading(&asked.dir, error))?;
    let store = Store::at(&dir);
    match &asked.what {
        What::Make { names, sha1, file } => make(&store, names, *sha1, file, out),
        What::Renew { force } => renew(&store, *force, out),
        What::Show { serve: None } => show(&store, None, out),
        What::Show {
            serve: Some(accept),
        } => serve(&store, accept, out),
    }
}

/// Why it was not done.
#[derive(Debug)]
enum Failure {
    /// A file or the folder.
    Store(StoreError),
    /// What a file holds, or making a certificate.
    Certificate(PathBuf, Trouble),
    /// There is no authority in this folder.
    NoAuthority(PathBuf),
    /// There is half an authority: this file is missing.
    Half(PathBuf),
    /// The authority signs otherwise than is asked for.
    OtherDigest(Digest),
    /// The authority is not valid any more.
    Expired(PathBuf),
    /// The clock stands before 1970.
    Clock,
    /// There is no listener.
    Listen(ListenError),
    /// Accepting failed.
    Accept(io::Error),
    /// The report cannot be written.
    Report(io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(StoreError { path, why }) => {
                write!(f, "{}: ", path.display())?;
                match why {
                    Why::Making(error) if error.kind() == io::ErrorKind::PermissionDenied => write!(
                        f,
                        "{} (run this as root, or give a folder of yours by --dir)",
                        Reason(error)
                    ),
                    Why::Making(error) => {
                        write!(f, "{} ({})", Reason(error), remedy::making_a_file(error))
                    }
                    Why::Reading(error) if error.kind() == io::ErrorKind::PermissionDenied => write!(
                        f,
                        "{} (run this as root, or as the user who owns it)",
                        Reason(error)
                    ),
                    Why::Reading(error) => {
                        write!(f, "{} ({})", Reason(error), remedy::reading_a_file(error))
                    }
                    Why::Open => f.write_str(
                        "others may write to this folder, so the keys in it would not be safe (`chown root` \
                         and `chmod 700` it, or give another one by --dir)",
                    ),
                    Why::NoPem(tag) => write!(f, "there is no {tag} in PEM in it (take it from a backup)"),
                }
            }
            Failure::Certificate(path, trouble) => write!(f, "{}: {trouble}", path.display()),
            Failure::NoAuthority(path) => write!(
                f,
                "{}: there is no authority here (`adit ca` makes one; --dir names another folder)",
                path.display()
            ),
            Failure::Half(path) => write!(
                f,
                "{}: it is missing, and an authority needs it (take it from a backup, or remove the folder's \
                 other files and begin anew)",
                path.display()
            ),
            Failure::OtherDigest(digest) => write!(
                f,
                "the authority that is there signs with {} (make another one in another folder, by --dir)",
                named(*digest)
            ),
            Failure::Expired(path) => write!(
                f,
                "{}: the authority is not valid any more, or not yet (look at this machine's clock, or make \
                 another one in another folder, by --dir)",
                path.display()
            ),
            Failure::Clock => f.write_str("this machine's clock stands before 1970: set it"),
            Failure::Listen(error) => error.fmt(f),
            Failure::Accept(error) => write!(f, "waiting for a browser: {}", Reason(error)),
            Failure::Report(error) => write!(f, "writing the report: {}", Reason(error)),
        }
    }
}

/// What a certificate in this file is for: old TLS has files of its own, and SHA-1 is for nothing else.
fn reader(file: &str, digest: Digest) -> Reader {
    match (file, digest) {
        (FILE, Digest::Sha256) => Reader::Today,
        _ => Reader::Old,
    }
}

/// A command of `adit ca`, for this folder.
fn with_dir(store: &Store, command: &str) -> String {
    match store.folder() == Path::new(FOLDER) {
        true => command.to_owned(),
        false => format!("{command} --dir {}", store.folder().display()),
    }
}

fn named(digest: Digest) -> &'static str {
    match digest {
        Digest::Sha256 => "SHA-256",
        Digest::Sha1 => "SHA-1",
    }
}

/// Seconds since 1970.
fn now() -> Result<u64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|time| time.as_secs()).map_err(|_| Failure::Clock)
}

fn make(
    store: &Store,
    asked: &[Name],
    sha1: bool,
    file: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = now()?;
    store.prepare()?;
    let digest = if sha1 { Digest::Sha1 } else { Digest::Sha256 };
    let found = authority(store)?;
    let is_new = found.is_none();
    let authority = match found {
        // Without --sha1 nothing is asked for.
        Some(found) if sha1 && found.about.digest != digest => {
            return Err(Failure::OtherDigest(found.about.digest));
        }
        Some(found) => found,
        None => new_authority(store, digest, now)?,
    };
    let mut wanted = Vec::new();
    names::add(&mut wanted, asked.iter().cloned());
    let more = match server(store, file)? {
        None => {
            names::add(&mut wanted, names::of_this_machine());
            true
        }
        Some(present) => {
            names::add(&mut wanted, present.names.iter().cloned());
            // Another order counts too: the first is the common name.
            wanted != present.names
        }
    };
    if more {
        issue(store, file, &authority, &wanted, now)?;
    }
    let done = match (is_new, more) {
        (true, _) => "This authority and certificate have been made:",
        (false, true) => "A certificate has been made:",
        (false, false) => {
            let renew = with_dir(store, "adit ca renew");
            let free = !store.names()?.iter().any(|name| name == OLD_FILE);
            let another = format!(
                "adit ca --file {}",
                if free { OLD_FILE } else { "NAME.pem" }
            );
            let another = with_dir(store, &another);
            &format!(
                "Everything is there already. `{renew}` makes a new certificate when it is time; `{another}` makes \
                 another one:"
            )
        }
    };
    writeln!(out, "{done}\n").map_err(Failure::Report)?;
    show(store, Some(file), out)
}

fn new_authority(store: &Store, digest: Digest, now: u64) -> Result<Authority, Failure> {
    let host = names::host().unwrap_or_else(|| "this machine".to_owned());
    // The day tells it from one that was made before; 64 characters are the most.
    let host: String = host.chars().take(30).collect();
    let day: String = Utc(now).to_string().chars().take(10).collect();
    let name = match digest {
        Digest::Sha256 => format!("adit authority of {host}, {day}"),
        Digest::Sha1 => format!("adit authority of {host}, SHA-1, {day}"),
    };
    let path = store.authority_path();
    let made = Authority::make(&name, digest, now);
    let made = made.map_err(|trouble| Failure::Certificate(path, trouble))?;
    store.add_authority(&made.certificate, &made.key())?;
    Ok(made)
}

fn issue(
    store: &Store,
    file: &str,
    authority: &Authority,
    names: &[Name],
    now: u64,
) -> Result<(), Failure> {
    let (from, until) = authority.about.validity;
    if !(from..until).contains(&now) {
        return Err(Failure::Expired(store.authority_path()));
    }
    let leaf = authority.issue(names, reader(file, authority.about.digest), now);
    let leaf = leaf.map_err(|trouble| Failure::Certificate(store.path(file), trouble))?;
    store.replace_server(file, &leaf.key, &leaf.certificate, &authority.certificate)?;
    Ok(())
}

fn renew(store: &Store, force: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let now = now()?;
    let missing = || Failure::NoAuthority(store.authority_path());
    let authority = authority(store)?.ok_or_else(missing)?;
    let mut renewed = false;
    for file in store.names()? {
        let Some(present) = server(store, &file)? else {
            continue;
        };
        if !force && !present.is_due(now) {
            let (path, until) = (store.path(&file), Utc(present.validity.1));
            writeln!(
                out,
                "{} is good until {until}: nothing to do.",
                path.display()
            )
            .map_err(Failure::Report)?;
            continue;
        }
        store.prepare()?;
        // Names given once stay, and addresses that this machine has got meanwhile are added.
        let mut names = present.names;
        names::add(&mut names, names::of_this_machine());
        issue(store, &file, &authority, &names, now)?;
        writeln!(
            out,
            "{} has a new certificate.",
            store.path(&file).display()
        )
        .map_err(Failure::Report)?;
        renewed = true;
    }
    if !renewed {
        return Ok(());
    }
    writeln!(
        out,
        "With `certWatch = yes` a running adit serves what is new, else after `adit reload`.\n"
    )
    .map_err(Failure::Report)?;
    show(store, None, out)
}

/// The authority with its key, if there is one.
fn authority(store: &Store) -> Result<Option<Authority>, Failure> {
    let (certificate, key) = match (store.authority()?, store.authority_key()?) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (None, Some(_)) => return Err(Failure::Half(store.authority_path())),
        (Some(_), None) => return Err(Failure::Half(store.authority_key_path())),
    };
    let loaded = Authority::load(certificate, &key);
    loaded
        .map(Some)
        .map_err(|trouble| Failure::Certificate(store.authority_path(), trouble))
}

fn about(path: &Path, certificate: &[u8]) -> Result<About, Failure> {
    About::of(certificate).map_err(|trouble| Failure::Certificate(path.to_owned(), trouble))
}

fn server(store: &Store, file: &str) -> Result<Option<About>, Failure> {
    let certificate = store.server(file)?;
    certificate
        .map(|certificate| about(&store.path(file), &certificate))
        .transpose()
}

/// Shows everything, and the lines for the certificate in this file, or for each.
fn show(store: &Store, file: Option<&str>, out: &mut dyn Write) -> Result<(), Failure> {
    let missing = || Failure::NoAuthority(store.authority_path());
    let certificate = store.authority()?.ok_or_else(missing)?;
    let authority = about(&store.authority_path(), &certificate)?;
    let mut servers = Vec::new();
    for name in store.names()? {
        if let Some(about) = server(store, &name)? {
            servers.push((name, about));
        }
    }
    report(store, &certificate, &authority, &servers, out).map_err(Failure::Report)?;
    let shown = |name: &str| file.is_none_or(|file| file == name);
    servers.retain(|(name, _)| shown(name));
    advise(store, &servers, out).map_err(Failure::Report)
}

fn report(
    store: &Store,
    certificate: &[u8],
    authority: &About,
    servers: &[(String, About)],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "authority      {}", authority.common_name)?;
    writeln!(out, "  file         {}", store.authority_path().display())?;
    writeln!(out, "  valid until  {}", Utc(authority.validity.1))?;
    writeln!(out, "  signs with   {}", named(authority.digest))?;
    // Windows XP shows the first as the thumbprint.
    let sha1 = fingerprint(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    writeln!(out, "  SHA-1        {sha1}")?;
    writeln!(out, "  SHA-256      {}", fingerprint(&SHA256, certificate))?;
    for (file, about) in servers {
        let names: Vec<String> = about.names.iter().map(ToString::to_string).collect();
        writeln!(out, "certificate    {}", names.join(", "))?;
        writeln!(out, "  file         {}", store.path(file).display())?;
        writeln!(out, "  valid until  {}", Utc(about.validity.1))?;
    }
    Ok(())
}

/// What to do with these certificates.
fn advise(store: &Store, servers: &[(String, About)], out: &mut dyn Write) -> io::Result<()> {
    if servers.is_empty() {
        let make = with_dir(store, "adit ca");
        return writeln!(out, "certificate    none; `{make}` makes one");
    }
    for (file, about) in servers {
        let reader = reader(file, about.digest);
        let service = match reader {
            Reader::Today => "In the service",
            Reader::Old => "In the service of a program with old TLS",
        };
        let path = store.path(file);
        let path = path.display();
        writeln!(out, "\n{service}:\n\nacceptTLS = yes\nacceptCert = {path}")?;
        if reader == Reader::Old {
            writeln!(out, "acceptSSLVersionMin = TLSv1")?;
        }
    }
    let serve = with_dir(store, "adit ca show --serve 8080");
    writeln!(
        out,
        "\nThe program must trust the authority: `{serve}` gives its certificate to a browser."
    )
}

fn serve(store: &Store, accept: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let missing = || Failure::NoAuthority(store.authority_path());
    let certificate = store.authority()?.ok_or_else(missing)?;
    let authority = about(&store.authority_path(), &certificate)?;
    let listener = listener::listen(accept).map_err(Failure::Listen)?;
    let address = listener.local_addr().map_err(Failure::Accept)?;
    let hosts = match address.ip().is_unspecified() {
        true => interfaces(),
        false => vec![address.ip()],
    };
    let mut progress = io::stderr();
    // Standard error may be closed; what is handed out counts.
    let _ = writeln!(
        progress,
        "Open one of these in the browser of the program's machine:"
    );
    for host in hosts {
        let host = std::net::SocketAddr::new(host, address.port());
        let _ = writeln!(progress, "  http://{host}/adit-ca.crt");
    }
    handout::hand_out(&listener, &certificate, &mut progress).map_err(Failure::Accept)?;
    writeln!(
        out,
        "Compare what it shows before it is installed, so that nothing else was put in its place on the way:\n\n\
         authority  {}\nSHA-1      {}\nSHA-256    {}",
        authority.common_name,
        fingerprint(&SHA1_FOR_LEGACY_USE_ONLY, &certificate),
        fingerprint(&SHA256, &certificate)
    )
    .map_err(Failure::Report)
}

fn fingerprint(algorithm: &'static Algorithm, certificate: &[u8]) -> String {
    let bytes = digest(algorithm, certificate);
    let bytes: Vec<String> = bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}
