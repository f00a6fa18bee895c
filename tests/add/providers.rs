//! Every provider of the table: what `adit add` writes passes the strict check, and carries mail to and from a
//! double of the provider.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::Place;
use crate::require;
use crate::support::certs::Wish;
use crate::support::{Adit, Certs, Plan};

/// A line of the table, of whose servers the first that takes a password counts.
pub(super) struct Row {
    pub(super) id: &'static str,
    domain: &'static str,
    /// Host, how TLS begins and how to log in, for SMTP, POP3 and IMAP.
    servers: [Option<(&'static str, &'static str, &'static str)>; 3],
    user: &'static str,
}

const MAILS: [&str; 3] = ["smtp", "pop3", "imap"];

pub(super) fn table() -> Vec<Row> {
    let text = include_str!("../../src/cli/providers/providers.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let server = |text: &'static str| {
        text.split(';').find_map(|server| {
            let parts: Vec<&str> = server.trim_end_matches('?').split(':').collect();
            let [host, _, tls, logins] = parts[..] else {
                return None;
            };
            let login = ["plain", "cram-md5"]
                .into_iter()
                .find(|login| logins.contains(login))?;
            Some((host, tls, login))
        })
    };
    rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        Row {
            id: fields[0],
            domain: fields[2].split(',').next().expect("a domain"),
            servers: [fields[5], fields[4], fields[3]].map(server),
            user: fields[6],
        }
    })
    .collect()
}

impl Row {
    fn user(&self, address: &str, mail: &str) -> String {
        let local = address.split('@').next().expect("its local part");
        match self.user {
            "local part" => local,
            "imap: local part; smtp: full address" if mail != "smtp" => local,
            _ => address,
        }
        .to_owned()
    }
}

/// `tests/add/providers.py`.
struct Doubles {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    ports: Vec<(String, u16)>,
}

impl Doubles {
    fn start(certs: &Certs, hosts: &[&str]) -> Doubles {
        let pair = certs.issue(
            "providers",
            Wish {
                subjects: hosts,
                ..Wish::default()
            },
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/add/providers.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([pair.cert, pair.key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut ports = Vec::new();
        loop {
            let mut line = String::new();
            out.read_line(&mut line).expect("a line");
            let Some((kind, port)) = line.trim_end().split_once(' ') else {
                assert_eq!(line, "ready\n");
                break;
            };
            ports.push((kind.to_owned(), port.parse().expect("a port")));
        }
        Doubles { child, out, ports }
    }

    fn port(&self, kind: &str) -> u16 {
        let found = self.ports.iter().find(|(known, _)| known == kind);
        found.unwrap_or_else(|| panic!("no {kind}")).1
    }

    /// Lets an old program do each of these; what failed.
    fn run(&mut self, tasks: &str) -> String {
        let mut stdin = self.child.stdin.take().expect("a pipe");
        stdin
            .write_all(tasks.as_bytes())
            .and_then(|()| stdin.write_all(b"\n"))
            .expect("its input");
        let mut failed = String::new();
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).expect("a line") == 0 {
                return failed + "it ended early";
            }
            if line == "done\n" {
                return failed;
            }
            failed += &line;
        }
    }
}

impl Drop for Doubles {
    fn drop(&mut self) {
        // It has ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The services of each row that takes passwords, and the address they accept on.
fn added(rows: &[Row]) -> Vec<(&Row, String, String)> {
    let mut all = Vec::new();
    for (nth, row) in rows.iter().enumerate() {
        let place = Place::new();
        let address = format!("u{nth}@{}", row.domain);
        if row.servers.iter().all(Option::is_none) {
            place.refuses(&[&address, "--print"], "has switched passwords off");
            continue;
        }
        let text = place.adds(&[&address, "--print"]);
        all.push((row, address, text));
    }
    all
}

/// Its services with a double of the provider behind them, each under the provider's own name; and what an old
/// program does with them.
fn doubled(doubles: &Doubles, row: &Row, address: &str, text: &str) -> (String, String) {
    let (mut services, mut tasks) = (String::new(), String::new());
    for (mail, server) in MAILS.iter().zip(row.servers) {
        let Some((host, tls, login)) = server else {
            assert!(!text.contains(&format!("-{mail}]")), "{text}");
            continue;
        };
        let (_, section) = text.split_once(&format!("-{mail}]\n")).expect("a service");
        let section = section.split("\n\n").next().expect("its lines");
        assert_eq!(section.contains("protocol = "), tls == "starttls", "{text}");
        let connect = section
            .lines()
            .find_map(|line| line.strip_prefix("connect = "));
        let connect = connect.expect("connect");
        assert!(connect.starts_with(&format!("{host}:")), "{text}");
        let kind = format!("{mail}-{tls}-{login}");
        let port = doubles.port(&kind);
        services += &format!("[{}-{mail}]\n", row.id);
        services += &section.replace(
            &format!("connect = {connect}"),
            &format!("connect = 127.0.0.1:{port}\nsni = {host}"),
        );
        services += "\n";
        let accept = section
            .lines()
            .find_map(|line| line.strip_prefix("accept = "));
        let accept: SocketAddr = accept.expect("accept").parse().expect("an address");
        let user = row.user(address, mail);
        let (ip, port) = (accept.ip(), accept.port());
        tasks += &format!("{mail}\t{ip}\t{port}\t{kind}\t{user}\t{address}\n");
    }
    (services, tasks)
}

#[test]
fn an_old_program_sends_and_fetches_through_what_is_added_for_every_provider() {
    require!(adit);
    require!(program "python3");
    let rows = table();
    let all = added(&rows);
    assert!(all.len() > 70, "{}", all.len());
    let plan = Plan::new();
    let log = log_of(&plan);
    // Spectrum's port 587 begins with TLS, of which a check warns.
    let strict = all.iter().filter(|(row, ..)| row.id != "spectrum");
    let text: String = strict.map(|(_, _, text)| text.as_str()).collect();
    let certs = Certs::new();
    // One authority: hundreds of services would read the system's hundreds.
    plan.verbatim(format!("{log}{}{text}", certs.ca_line()))
        .passes_strict_check();
    let hosts: BTreeSet<&str> = all
        .iter()
        .flat_map(|(row, ..)| row.servers)
        .flatten()
        .map(|it| it.0)
        .collect();
    let hosts: Vec<&str> = hosts.into_iter().collect();
    let mut doubles = Doubles::start(&certs, &hosts);
    let (mut services, mut tasks) = (String::new(), String::new());
    for (row, address, text) in &all {
        let (more, task) = doubled(&doubles, row, address, text);
        services += &more;
        tasks += &task;
    }
    let plan = Plan::new();
    let log = log_of(&plan);
    let adit: Adit = plan
        .verbatim(format!("{log}{}{services}", certs.ca_line()))
        .start();
    let failed = doubles.run(&tasks);
    assert!(failed.is_empty(), "{failed}");
    drop(adit);
}

fn log_of(plan: &Plan) -> String {
    let log = plan.folder().join("log");
    let log = log.display();
    format!("foreground = yes\nsyslog = no\noutput = {log}\ndebug = info\nworkers = 1\n")
}
