//! The proxies that are compared: how each is configured for a row, started, and asked for its
//! version. Two workers (processes or threads) each, the log that each has by default, but nginx
//! none of single connections; privileges dropped as each can.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::nginx;
use super::pki::{HOST, Pki};
use super::rows::{Mode, Row, Work};

/// OpenSSL's and AWS-LC's variable for what they are to see of the processor, and its value without
/// AES and PCLMULQDQ (OPENSSL_ia32cap(3)).
const NO_AES: (&str, &str) = ("OPENSSL_ia32cap", "~0x200000200000000");

/// Whether the processor's AES instructions are hidden from every proxy.
static AES_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Hides them.
pub fn hide_aes() {
    AES_HIDDEN.store(true, Relaxed);
}

/// Whether they are hidden.
pub fn is_aes_hidden() -> bool {
    AES_HIDDEN.load(Relaxed)
}

/// Where adit's control socket is in its folder.
pub const CONTROL: &str = "control";
/// The beginning of the names of valgrind's pipes there.
pub const VGDB: &str = "vgdb";
/// The beginning of the names of callgrind's counts there.
pub const CALLGRIND: &str = "callgrind";
/// The list of system calls there.
pub const STRACE: &str = "strace";

/// A proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// This tree's release build, or ADIT_BIN.
    Adit,
    /// Debian's stunnel4: a thread per connection.
    Stunnel,
    /// Debian's: processes, server mode only.
    Hitch,
    /// Debian's: one process with threads.
    Haproxy,
    /// Debian's, with its stream module: processes.
    Nginx,
    /// The same program as a web server that speaks TLS itself: no proxy, and nothing behind it. Not
    /// among [`Peer::ALL`].
    WebServer,
    /// No TLS at all, see [`super::floor`].
    Sockets,
    /// No socket at all, see [`super::alone`].
    Rustls,
}

/// Where a proxy is put for one measurement.
#[derive(Debug)]
pub struct Site<'a> {
    /// A folder of its own.
    pub dir: &'a Path,
    /// Certificates.
    pub pki: &'a Pki,
    /// The loopback port to accept on.
    pub accept: u16,
    /// The loopback port to connect to.
    pub connect: u16,
    /// What it is to do.
    pub row: &'a Row,
    /// How large it is; all but adit have two workers.
    pub shape: Shape,
}

/// How large a proxy is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Adit's worker processes, of one relay thread each.
    pub workers: usize,
    /// Services, alike but for their address.
    pub services: usize,
    /// What watches adit.
    pub under: Tool,
    /// `debug` of those that have it, adit and stunnel.
    pub log_level: u8,
}

/// What adit and stunnel log if nothing is asked for: at 5, which is some lines for each connection.
pub const LOG_LEVEL: u8 = 5;

/// Where service `number` of a proxy accepts. All of 127/8 is loopback: one free port is free on
/// every address of it.
pub fn host(number: usize) -> Ipv4Addr {
    match number {
        0 => Ipv4Addr::LOCALHOST,
        number => Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number as u32),
    }
}

/// So that the load generator is always ahead of adit, and a read finds as much as it can take.
const LAST: [&str; 2] = ["-n", "5"];

/// A tool that adit runs under; see [`super::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// None.
    Nothing,
    /// Valgrind's, which counts instructions, and writes them into the site's folder: so there is
    /// no jail, and valgrind knows neither seccomp nor Landlock.
    Callgrind,
    /// Which lists system calls.
    Strace,
}

impl Tool {
    /// The command that runs adit under it.
    fn command(self, site: &Site<'_>) -> Command {
        let program = Peer::Adit.program();
        let file = |name: &str| site.dir.join(name).display().to_string();
        // ADIT_BIN for one would be an option to adit.
        let mut command = match self {
            Tool::Nothing => {
                let mut command = Command::new(program);
                command.env_clear();
                return command;
            }
            Tool::Callgrind => {
                let mut command = Command::new("nice");
                // A title that adit gives itself is written over valgrind's own command line.
                let options = format!(
                    "--quiet --trace-children=yes --vgdb-prefix={} --callgrind-out-file={}.%p",
                    file(VGDB),
                    file(CALLGRIND)
                );
                command.env_clear().env("VALGRIND_OPTS", options);
                command.args(LAST).arg(in_path("valgrind"));
                command.arg("--tool=callgrind");
                command
            }
            Tool::Strace => {
                let mut command = Command::new("nice");
                command.env_clear().args(LAST).arg(in_path("strace"));
                command.args(["-f", "-qqq", "-e", "signal=none", "-o", &file(STRACE)]);
                command
            }
        };
        command.arg(program);
        command
    }
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            workers: 2,
            services: 1,
            under: Tool::Nothing,
            log_level: LOG_LEVEL,
        }
    }
}

impl Peer {
    /// All, in the table's order.
    pub const ALL: [Peer; 7] = [
        Peer::Adit,
        Peer::Stunnel,
        Peer::Hitch,
        Peer::Haproxy,
        Peer::Nginx,
        Peer::Sockets,
        Peer::Rustls,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Adit => "adit",
            Peer::Stunnel => "stunnel",
            Peer::Hitch => "hitch",
            Peer::Haproxy => "haproxy",
            Peer::Nginx => "nginx",
            Peer::WebServer => "web-server",
            Peer::Sockets => "sockets",
            Peer::Rustls => "rustls",
        }
    }

    /// The peer of this name.
    pub fn named(name: &str) -> Option<Peer> {
        Peer::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether it is a proxy that speaks TLS, and not one of the floors.
    pub fn tls(self) -> bool {
        !matches!(self, Peer::Sockets | Peer::Rustls | Peer::WebServer)
    }

    /// Whether it can do this row at all.
    pub fn can(self, row: &Row) -> bool {
        match self {
            // It has a client mode, but neither resumption nor verification in it.
            Peer::Hitch | Peer::WebServer => row.mode == Mode::Server,
            Peer::Rustls => matches!(row.work, Work::Handshakes(_)),
            _ => true,
        }
    }

    /// Its program.
    pub fn program(self) -> OsString {
        match self {
            Peer::Adit => {
                env::var_os("ADIT_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_adit").into())
            }
            Peer::Stunnel => in_path("stunnel"),
            Peer::Hitch => in_path("hitch"),
            Peer::Haproxy => in_path("haproxy"),
            Peer::Nginx | Peer::WebServer => in_path("nginx"),
            Peer::Sockets | Peer::Rustls => "/proc/self/exe".into(),
        }
    }

    /// What it says of itself, in one line.
    ///
    /// # Errors
    /// The program is not there or says nothing.
    pub fn version(self) -> io::Result<String> {
        let flag = match self {
            Peer::Adit | Peer::Stunnel => "-version",
            Peer::Hitch => "--version",
            Peer::Haproxy | Peer::Nginx | Peer::WebServer => "-v",
            Peer::Sockets => return Ok("plain TCP both sides: a floor".to_owned()),
            Peer::Rustls => return Ok("from memory to memory: the other floor".to_owned()),
        };
        let program = self.program();
        let output = Command::new(&program)
            .env_clear()
            .arg(flag)
            .output()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", program.display()))
            })?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        // Before its version stunnel says that it starts, with a log line's head.
        let mut lines = text.lines().map(|line| line.rsplit("]: ").next());
        let told = lines.find_map(|line| {
            line.filter(|l| l.contains(|c: char| c.is_ascii_digit()))
                .map(str::trim)
        });
        told.map(str::to_owned)
            .ok_or_else(|| io::Error::other(format!("{} tells no version", self.name())))
    }

    /// Writes its configuration; the command that starts it in the foreground.
    ///
    /// # Errors
    /// A file that could not be written; it is no program.
    pub fn prepare(self, site: &Site<'_>) -> io::Result<Command> {
        let config = site.dir.join("config");
        fs::write(
            &config,
            match self {
                Peer::Adit => adit_conf(site)?,
                Peer::Stunnel => stunnel_conf(site, "")?,
                Peer::Hitch => hitch_conf(site),
                Peer::Haproxy => haproxy_conf(site),
                Peer::Nginx => nginx::proxy_conf(site),
                Peer::WebServer => nginx::web_server_conf(site),
                Peer::Sockets | Peer::Rustls => String::new(),
            },
        )?;
        let mut command = match self {
            Peer::Adit => site.shape.under.command(site),
            _ => Command::new(self.program()),
        };
        if self != Peer::Adit {
            command.env_clear();
        }
        if is_aes_hidden() {
            command.env(NO_AES.0, NO_AES.1);
        }
        match self {
            Peer::Adit | Peer::Stunnel => command.arg(config),
            Peer::Hitch => command.arg("--config").arg(config),
            Peer::Haproxy => command.args(["-db", "-f"]).arg(config),
            Peer::Nginx | Peer::WebServer => command
                .arg("-p")
                .arg(site.dir)
                .arg("-e")
                .arg(site.dir.join("error.log"))
                .arg("-c")
                .arg(config),
            Peer::Sockets => {
                let ports = [site.accept, site.connect].map(|port| port.to_string());
                command.arg("--relay").args(ports)
            }
            Peer::Rustls => return Err(io::Error::other("rustls alone is no program")),
        };
        Ok(command)
    }
}

/// A daemon's program: `sbin` is not in every PATH.
fn in_path(name: &str) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .map_or_else(|| name.into(), PathBuf::into_os_string)
}

/// Peers drop root only where they have it.
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn adit_conf(site: &Site<'_>) -> io::Result<String> {
    let workers = site.shape.workers;
    let control = site.dir.join(CONTROL);
    // What the variable hides from AWS-LC, adit itself still sees.
    let ciphers = match is_aes_hidden() {
        true => "preferChaCha20 = yes\n",
        false => "",
    };
    let more = format!(
        "{ciphers}workers = {workers}\nthreads = 1\ncontrol = {}\n",
        control.display()
    );
    stunnel_conf(site, &more)
}

/// Adit and stunnel read the same file.
fn stunnel_conf(site: &Site<'_>, more: &str) -> io::Result<String> {
    let level = site.shape.log_level;
    let mut text = format!("foreground = yes\npid =\ndebug = {level}\n");
    text += more;
    if root() && site.shape.under != Tool::Callgrind {
        let jail = site.dir.join("jail");
        fs::create_dir_all(&jail)?;
        let jail = jail.display();
        let _ = write!(text, "chroot = {jail}\nsetuid = nobody\nsetgid = nogroup\n");
    }
    for number in 0..site.shape.services {
        service(&mut text, site, number);
    }
    Ok(text)
}

fn service(text: &mut String, site: &Site<'_>, number: usize) {
    let Site {
        pki,
        accept,
        connect,
        row,
        ..
    } = site;
    let host = host(number);
    let _ = write!(
        text,
        "[bench-{number}]\naccept = {host}:{accept}\nconnect = 127.0.0.1:{connect}\n"
    );
    match row.mode {
        Mode::Server => {
            let identity = pki.identity(row.key);
            let (cert, key) = (identity.cert.display(), identity.key.display());
            let _ = write!(text, "cert = {cert}\nkey = {key}\n");
        }
        Mode::Client => {
            let _ = write!(text, "client = yes\nsni = {HOST}\n");
            if row.verify {
                let authority = pki.authority.display();
                let _ = write!(
                    text,
                    "verifyChain = yes\nCAfile = {authority}\ncheckHost = {HOST}\n"
                );
            }
        }
    }
}

fn hitch_conf(site: &Site<'_>) -> String {
    let pem = site.pki.identity(site.row.key).both.display();
    let (accept, connect) = (site.accept, site.connect);
    let user = match root() {
        true => "user = \"nobody\"\ngroup = \"nogroup\"\n",
        false => "",
    };
    format!(
        "frontend = {{ host = \"127.0.0.1\" port = \"{accept}\" }}\n\
         backend = \"[127.0.0.1]:{connect}\"\npem-file = \"{pem}\"\nworkers = 2\n\
         daemon = off\ntls-protos = TLSv1.2 TLSv1.3\n{user}"
    )
}

fn haproxy_conf(site: &Site<'_>) -> String {
    let Site { pki, row, .. } = site;
    let (bind, server) = match row.mode {
        Mode::Server => (
            format!(" ssl crt {}", pki.identity(row.key).both.display()),
            String::new(),
        ),
        Mode::Client if row.verify => (
            String::new(),
            format!(
                " ssl sni str({HOST}) verify required verifyhost {HOST} ca-file {}",
                pki.authority.display()
            ),
        ),
        Mode::Client => (String::new(), format!(" ssl sni str({HOST}) verify none")),
    };
    let (accept, connect) = (site.accept, site.connect);
    let user = match root() {
        true => "  user nobody\n  group nogroup\n",
        false => "",
    };
    let mut text = format!(
        "global\n  nbthread 2\n  maxconn 4096\n{user}\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n"
    );
    for number in 0..site.shape.services {
        let host = host(number);
        let _ = write!(
            text,
            "frontend front-{number}\n  bind {host}:{accept}{bind}\n  default_backend back-{number}\n\
             backend back-{number}\n  server s 127.0.0.1:{connect}{server}\n"
        );
    }
    text
}
