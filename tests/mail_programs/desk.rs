//! The surroundings of a mail program: mail servers, adit in front of them, and folders.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::apart::Own;
use crate::support::mail::{MailHost, PASSWORD, USER, stop};
use crate::support::openssl::Tool;
use crate::support::terminal::Terminal;
use crate::support::{Adit, Certs, DEADLINE, Plan, own_loopback, poll_for};

/// The text of the mail that is sent and fetched.
pub const TEXT: &str = "the text of the mail";

/// Mail servers, adit, and a folder for each try.
pub struct Desk {
    /// The provider.
    pub host: MailHost,
    adit: Adit,
    /// The servers read its files while they run.
    _certs: Certs,
    count: AtomicUsize,
}

impl Desk {
    /// Servers with a mail in the mailbox, and adit in client mode in front of each of their ports.
    pub fn new() -> Desk {
        let certs = Certs::new();
        let host = MailHost::modern(&certs);
        host.deliver(
            "1",
            format!("{}\r\n{TEXT}\r\n", HEADERS.replace('\n', "\r\n")).as_bytes(),
        );
        let service = |port: u16, more: &str| {
            format!(
                "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\n{more}",
                host.at(port),
                certs.ca_line()
            )
        };
        // Not one of the names that Go takes for this machine.
        let elsewhere = format!("protocol = smtp\naccept = {}:0\n", own_loopback());
        let adit = Plan::new()
            .service("smtp", service(587, "protocol = smtp\n"))
            .service("smtp-elsewhere", service(587, &elsewhere))
            .service("imap", service(143, "protocol = imap\n"))
            .service("pop3", service(995, ""))
            .start();
        Desk {
            host,
            adit,
            _certs: certs,
            count: AtomicUsize::new(0),
        }
    }

    /// The port of a service on 127.0.0.1.
    pub fn port(&self, service: &str) -> u16 {
        self.adit.address(service).port()
    }

    /// A new folder for one try of one program, also its home directory.
    pub fn folder(&self) -> PathBuf {
        let name = format!("try{}", self.count.fetch_add(1, Ordering::Relaxed));
        let folder = self.adit.plan.folder().join(name);
        fs::create_dir(&folder).expect("mkdir");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
        folder
    }

    /// The files for a program that runs apart.
    pub fn own(&self) -> Own {
        Own::new(self.folder())
    }

    /// Lines of the table with this desk's values filled in.
    pub fn filled_in(&self, lines: &[&str]) -> Vec<String> {
        let elsewhere = self.adit.address("smtp-elsewhere").to_string();
        let port = self.port("imap").to_string();
        let fill = |line: &&str| {
            line.replace("NAME", USER)
                .replace("PASSWORD", PASSWORD)
                .replace("PORT", &port)
                .replace("ADDRESS", &elsewhere)
        };
        lines.iter().map(fill).collect()
    }

    /// Starts a program that sends a mail; its input is the mail.
    pub fn sends(&self, command: &mut Command) -> Try {
        let maildir = self.host.maildir();
        let before = mails(&maildir);
        let mut tool = Tool::start(command);
        // A program that has refused already reads no mail.
        let _ = std::io::Write::write_all(tool.input(), mail().as_bytes());
        tool.end_input();
        Try {
            program: Program::Piped(tool),
            daemon: None,
            logs: Vec::new(),
            own: None,
            proof: Proof::Mails { maildir, before },
        }
    }

    /// Starts a program that writes what it fetches into `into`, or shows it.
    pub fn fetches(&self, command: &mut Command, into: Option<&Path>) -> Try {
        let mut tool = Tool::start(command);
        tool.end_input();
        Try {
            program: Program::Piped(tool),
            daemon: None,
            logs: Vec::new(),
            own: None,
            proof: into.map_or(Proof::Shown, |file| Proof::File(file.to_owned())),
        }
    }

    /// As [`Desk::fetches`], on a terminal.
    pub fn shows(&self, command: &mut Command, into: Option<&Path>) -> Try {
        let terminal = Terminal::new();
        terminal.attach(command.env("TERM", "xterm"));
        let child = command.spawn().expect("starting it");
        Try {
            program: Program::OnTerminal(terminal, child),
            daemon: None,
            logs: Vec::new(),
            own: None,
            proof: into.map_or(Proof::Shown, |file| Proof::File(file.to_owned())),
        }
    }
}

/// A mail as programs submit it to a mail server.
pub fn mail() -> String {
    format!("{HEADERS}\n{TEXT}\n")
}

/// Its subject.
pub const SUBJECT: &str = "as the manual tells";

const HEADERS: &str = "From: anna@mail.test\nTo: anna@mail.test\nSubject: as the manual tells\n";

/// Writes a file that only its owner can read: programs refuse passwords in others.
pub fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("mkdir");
    fs::write(&file, text).expect("writing");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    file
}

/// The user `nobody`: some programs refuse to run as root.
pub const NOBODY: (u32, u32) = (65534, 65534);

/// Gives a folder and everything in it to the user `nobody`.
pub fn own_by_nobody(folder: &Path) {
    chown(folder, Some(NOBODY.0), Some(NOBODY.1)).expect("chown");
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => own_by_nobody(&path),
            path => chown(path, Some(NOBODY.0), Some(NOBODY.1)).expect("chown"),
        }
    }
}

/// A running program.
pub struct Try {
    program: Program,
    /// The server that it talks to, if another process sends.
    daemon: Option<(&'static str, Child)>,
    logs: Vec<PathBuf>,
    /// Its surroundings, while it runs.
    own: Option<Own>,
    proof: Proof,
}

enum Program {
    Piped(Tool),
    OnTerminal(Terminal, Child),
}

/// The proof that the mail went through.
enum Proof {
    /// More mails in the mailbox.
    Mails { maildir: PathBuf, before: usize },
    /// The mail's text in a file, or in a file of a folder.
    File(PathBuf),
    /// The mail's text or subject in the program's output.
    Shown,
}

impl Try {
    /// The program logs to this file.
    pub fn logging_to(mut self, file: PathBuf) -> Try {
        self.logs.push(file);
        self
    }

    /// The server with this name does the work, and ends with the value.
    pub fn beside(mut self, name: &'static str, daemon: Child) -> Try {
        self.daemon = Some((name, daemon));
        self
    }

    /// The program runs apart, in these surroundings.
    pub fn within(mut self, own: Own) -> Try {
        self.logs.push(own.messages());
        self.own = Some(own);
        self
    }

    /// Types this on the terminal once it shows `phrase`.
    #[track_caller]
    pub fn answering(self, phrase: &str, keys: &str) -> Try {
        let Program::OnTerminal(terminal, _) = &self.program else {
            panic!("it has no terminal");
        };
        terminal.wait_for(phrase, 1);
        terminal.type_in(keys);
        self
    }

    /// The program's output and logs.
    pub fn said(&self) -> String {
        let mut said = match &self.program {
            Program::Piped(tool) => tool.said(),
            Program::OnTerminal(terminal, _) => terminal.shown(),
        };
        for log in &self.logs {
            let log = fs::read(log).unwrap_or_default();
            said.push_str(&String::from_utf8_lossy(&log));
        }
        said
    }

    fn done(&self) -> bool {
        match &self.proof {
            Proof::Mails { maildir, before } => mails(maildir) > *before,
            Proof::File(path) => has_text(path),
            Proof::Shown => self.said().contains(TEXT) || self.said().contains(SUBJECT),
        }
    }

    /// Waits until the mail went through.
    #[track_caller]
    pub fn worked(self, name: &str) {
        assert!(
            poll_for(DEADLINE, || self.done().then_some(())).is_some(),
            "{name} did not do it with the settings of the table:\n{}",
            self.said()
        );
    }

    /// Waits for one of the messages; nothing may have gone through.
    #[track_caller]
    pub fn failed(self, name: &str, messages: &[&str]) {
        let said = || {
            let said = self.said();
            messages
                .iter()
                .any(|message| said.contains(message))
                .then_some(())
        };
        assert!(
            poll_for(DEADLINE, said).is_some(),
            "{name} says none of {messages:?}:\n{}",
            self.said()
        );
        assert!(!self.done(), "{name} did it all the same:\n{}", self.said());
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Some((name, daemon)) = self.daemon.take() {
            stop(name, daemon);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Program::OnTerminal(_, child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many of the mails are the test's: a server may write to its postmaster, who is the same user
/// here.
fn mails(maildir: &Path) -> usize {
    ["new", "cur"]
        .iter()
        .filter_map(|part| fs::read_dir(maildir.join(part)).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| contains(&entry.path(), SUBJECT))
        .count()
}

fn contains(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).contains(text)
}

fn has_text(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().any(|entry| has_text(&entry.path())),
        Err(_) => contains(path, TEXT),
    }
}
