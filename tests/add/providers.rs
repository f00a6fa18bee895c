//! Every provider of the table: what `adit add` writes passes the strict check, and carries mail to and from a
//! double of the provider that has its names, its ports and certificates for them. An old program knows of it
//! what `adit add` printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::printed::{self, Account};
use super::{Place, said};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::network::shell;
use crate::support::{Certs, Plan, installed};

/// A line of the table.
pub(super) struct Row {
    pub(super) id: &'static str,
    domain: &'static str,
    /// For SMTP, POP3 and IMAP.
    servers: [Vec<Server>; 3],
    user: &'static str,
}

/// A server, as far as its double must know it: how TLS begins is its port's business.
struct Server {
    host: &'static str,
    logins: &'static str,
}

const MAILS: [&str; 3] = ["smtp", "pop3", "imap"];

pub(super) fn table() -> Vec<Row> {
    let text = include_str!("../../src/providers/providers.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let server = |text: &'static str| {
        let parts: Vec<&str> = text.trim_end_matches('?').split(':').collect();
        let [host, _, _, logins] = parts[..] else {
            panic!("{text}");
        };
        Server { host, logins }
    };
    let servers = |text: &'static str| match text {
        "-" => Vec::new(),
        text => text.split(';').map(server).collect(),
    };
    rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        Row {
            id: fields[0],
            domain: fields[2].split([',', '?']).next().expect("a domain"),
            servers: [fields[5], fields[4], fields[3]].map(servers),
            user: fields[6].trim_end_matches('?'),
        }
    })
    .collect()
}

impl Row {
    fn address(&self, nth: usize) -> String {
        format!("u{nth}@{}", self.domain)
    }

    fn user(&self, address: &str, mail: &str) -> String {
        let local = address.split('@').next().expect("its local part");
        match self.user {
            "local part" => local,
            "imap: local part; smtp: full address" if mail != "smtp" => local,
            _ => address,
        }
        .to_owned()
    }

    /// The protocols that there are.
    fn mails(&self) -> BTreeSet<&'static str> {
        let servers = MAILS.into_iter().zip(&self.servers);
        let servers = servers.filter(|(_, servers)| !servers.is_empty());
        servers.map(|(mail, _)| mail).collect()
    }

    /// Whether one of them takes OAuth2 alone.
    fn is_by_token(&self) -> bool {
        let mut servers = self.servers.iter().filter(|servers| !servers.is_empty());
        servers.any(|servers| servers.iter().all(|server| server.logins == "oauth2"))
    }
}

/// The double of a token endpoint.
const TOKENS: &str = "tokens.example";

/// A server's logins by protocol, and the users that it knows.
#[derive(Default)]
struct Host {
    logins: BTreeMap<&'static str, BTreeSet<&'static str>>,
    users: BTreeSet<String>,
}

fn hosts(rows: &[Row]) -> BTreeMap<&'static str, Host> {
    let mut hosts = BTreeMap::from([(TOKENS, Host::default())]);
    for (nth, row) in rows.iter().enumerate() {
        for (mail, servers) in MAILS.into_iter().zip(&row.servers) {
            for server in servers {
                let host = hosts.entry(server.host).or_default();
                let logins = host.logins.entry(mail).or_default();
                logins.extend(server.logins.split('+'));
                host.users.insert(row.user(&row.address(nth), mail));
            }
        }
    }
    hosts
}

/// A network and mounts of this thread's own, in which each host is a loopback address, and these certificates'
/// authority is the only one that this machine trusts; what the double reads.
fn world(certs: &Certs, hosts: &BTreeMap<&'static str, Host>) -> String {
    let (mut names, mut lines) = ("127.0.0.1 localhost\n".to_owned(), String::new());
    for (nth, (name, host)) in hosts.iter().enumerate() {
        let address = format!("127.2.{}.{}", nth / 200, nth % 200 + 1);
        names += &format!("{address} {name}\n");
        let wish = Wish {
            name,
            subjects: &[name],
            ..Wish::default()
        };
        let pair = certs.issue(name, wish);
        let (cert, key) = (pair.cert.display(), pair.key.display());
        lines += &format!("{name}\t{address}\t{cert}\t{key}");
        for mail in MAILS {
            let logins = host.logins.get(mail).into_iter().flatten().copied();
            lines += &format!("\t{}", logins.collect::<Vec<_>>().join("+"));
        }
        let users = host.users.iter().map(String::as_str);
        lines += &format!("\t{}\n", users.collect::<Vec<_>>().join(","));
    }
    let folder = certs.folder();
    let trusted = folder.join("trusted");
    fs::create_dir(&trusted).expect("mkdir");
    fs::copy(certs.ca(), trusted.join("ca-certificates.crt")).expect("copying");
    fs::write(folder.join("hosts"), names).expect("writing");
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("a world of its own");
    shell(&format!(
        "ip link set lo up
         mount --make-rprivate /
         mount --bind {folder}/hosts /etc/hosts
         mount --bind {folder}/trusted /etc/ssl/certs",
        folder = folder.display()
    ));
    lines
}

/// `tests/add/providers.py`.
struct Doubles {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Doubles {
    fn start(certs: &Certs, hosts: &str) -> Doubles {
        let file = certs.folder().join("doubles");
        fs::write(&file, hosts).expect("writing");
        let mut child = python("providers.py").arg(file).spawn().expect("python3");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Doubles { child, out }
    }

    /// Ends it; each mail that was sent, as the server's name and the recipient.
    fn sent(mut self) -> BTreeSet<String> {
        drop(self.child.stdin.take());
        let mut sent = String::new();
        self.out.read_to_string(&mut sent).expect("its output");
        sent.lines().map(str::to_owned).collect()
    }
}

impl Drop for Doubles {
    fn drop(&mut self) {
        // It has ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(format!("{}/tests/add/{script}", env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Lets an old program do each of these; what failed.
fn run(tasks: &str) -> Vec<String> {
    let mut child = python("old_program.py").spawn().expect("python3");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(tasks.as_bytes()).expect("its input");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success());
    let failed = String::from_utf8_lossy(&output.stdout);
    failed.lines().map(str::to_owned).collect()
}

/// What was written for a row, and what the old program does.
struct Added {
    place: Place,
    tasks: String,
    /// As the double tells it.
    sent: Option<String>,
}

/// What the doubles take, and what adit takes in the place of a token.
const PASSWORD: &str = "an app password";
const LOCAL: &str = "a local password";

/// Runs `adit add` for a row, and what it says is to be done first.
fn add(nth: usize, row: &Row, certs: &Certs) -> Added {
    let place = Place::new();
    let address = row.address(nth);
    if row.is_by_token() {
        let folder = place.plan.folder().display();
        let text = format!("{}include = {folder}/conf.d/*.conf\n", keeping(certs));
        fs::write(place.file(), text).expect("writing");
    }
    let told = place.adds(&[&address]);
    let sign_in = printed::sign_in(&told);
    assert_eq!(sign_in.is_some(), row.is_by_token(), "{told}");
    if let Some(arguments) = sign_in {
        signs_in(&place, &arguments, certs);
    }
    let accounts = printed::outlook_express(&told, &address);
    let found: BTreeSet<&str> = accounts.iter().map(|it| it.mail.as_str()).collect();
    assert_eq!(found, row.mails(), "{told}");
    if row.user != "full address" || nth.is_multiple_of(8) {
        // The words for other programs say the same.
        let print = |reader| place.adds(&[&address, "--print", "--for", reader]);
        assert_eq!(printed::thunderbird(&print("thunderbird")), accounts);
        let printer = printed::printer(&print("printer"), &address);
        assert!(accounts.contains(&printer), "{printer:?}");
    }
    let password = match printed::password(&told).as_str() {
        "the one that you give to `adit login`" => LOCAL,
        _ => PASSWORD,
    };
    Added {
        tasks: tasks(&accounts, password, &address),
        sent: Some(format!("{} {address}", row.servers[0][0].host)),
        place,
    }
}

/// Where accounts are kept that sign in by OAuth2.
fn keeping(certs: &Certs) -> String {
    let folder = certs.folder().join("keeper");
    format!(
        "keeperUser = daemon\nkeeperDirectory = {}\n",
        folder.display()
    )
}

/// Runs the command that was told, at the double of the token endpoint.
fn signs_in(place: &Place, arguments: &[&str], certs: &Certs) {
    let mut command = Command::new(program());
    let arguments = arguments
        .iter()
        .map(|&it| if it == "ID" { "client" } else { it });
    command
        .arg("login")
        .args(arguments)
        .args(["--flow", "credentials"]);
    command.arg(format!("--token-url=https://{TOKENS}/token"));
    for (flag, text) in [
        ("--password-file", LOCAL),
        ("--client-secret-file", "secret"),
    ] {
        let file = place.plan.folder().join(&flag[2..]);
        fs::write(&file, text).expect("writing");
        command.arg(flag).arg(file);
    }
    let (status, told) = said(
        command
            .arg("--ca-file")
            .arg(certs.ca())
            .stdin(Stdio::null()),
    );
    assert_eq!(status, Some(0), "{told}");
}

/// For the old program.
fn tasks(accounts: &[Account], password: &str, address: &str) -> String {
    let lines = accounts.iter().map(|account| {
        let Account {
            mail,
            host,
            port,
            user,
        } = account;
        format!("{mail}\t{host}\t{port}\t{user}\t{password}\t{address}\n")
    });
    lines.collect()
}

/// Rows that are wrong: the first by its port, the second by how TLS begins there.
fn wrong() -> Added {
    let (place, address) = (Place::new(), "wrong@gmx.de");
    let servers = [
        "--imap",
        "imap.gmx.net:994:tls",
        "--smtp",
        "mail.gmx.net:587:tls",
    ];
    let told = place.adds(&[&[address][..], &servers].concat());
    assert!(told.contains("port 587 begins in plain"), "{told}");
    let accounts = printed::outlook_express(&told, address);
    Added {
        tasks: tasks(&accounts, PASSWORD, address),
        sent: None,
        place,
    }
}

/// One configuration of all that was written.
fn served(all: &[&Added], keeping: &str) -> Plan {
    let plan = Plan::new();
    let log = plan.folder().join("log");
    let mut text = format!(
        "foreground = yes\nsyslog = no\noutput = {}\ndebug = info\nworkers = 1\n{keeping}",
        log.display()
    );
    for added in all {
        let folder = added.place.plan.folder().display();
        text += &format!("include = {folder}/conf.d/*.conf\n");
    }
    plan.verbatim(text)
}

#[test]
fn an_old_program_sends_and_fetches_through_what_is_added_for_every_provider() {
    require!(adit);
    require!(root);
    require!(program "python3");
    require!(installed("ip").is_some(), "ip is not installed");
    let (certs, rows) = (Certs::new(), table());
    let doubles = world(&certs, &hosts(&rows));
    let doubles = Doubles::start(&certs, &doubles);
    let rows: Vec<(usize, &Row)> = rows.iter().enumerate().collect();
    let all: Vec<Added> = std::thread::scope(|scope| {
        // Most of the time a disk is waited for.
        let threads = rows.chunks(rows.len().div_ceil(8)).map(|part| {
            scope.spawn(|| -> Vec<Added> {
                part.iter()
                    .map(|(nth, row)| add(*nth, row, &certs))
                    .collect()
            })
        });
        let threads: Vec<_> = threads.collect();
        let added = threads.into_iter().map(|it| it.join().expect("no panic"));
        added.flatten().collect()
    });
    assert!(all.len() > 78, "{}", all.len());
    let wrong = wrong();
    let mut written: Vec<&Added> = all.iter().collect();
    served(&written, &keeping(&certs)).passes_strict_check();
    written.push(&wrong);
    let adit = served(&written, &keeping(&certs)).start();
    let mut todo: String = all.iter().map(|it| it.tasks.as_str()).collect();
    assert!(todo.lines().count() > 225, "{todo}");
    todo += &wrong.tasks;
    let failed = run(&todo);
    let (expected, failed): (Vec<String>, Vec<String>) = failed
        .into_iter()
        .partition(|it| it.contains("\twrong@gmx.de"));
    assert!(failed.is_empty(), "{failed:#?}\n{}", adit.log());
    assert_eq!(expected.len(), 2, "{expected:?}");
    let sent: BTreeSet<String> = all.into_iter().filter_map(|it| it.sent).collect();
    assert_eq!(doubles.sent(), sent);
    drop(adit);
}
