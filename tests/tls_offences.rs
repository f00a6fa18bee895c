//! A peer that breaks TLS is told so by the alert that the RFCs ask for. docs/tls-alerts.md has the table: each of
//! its cells is tried here, and a cell that is not what is due has its reason there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, old_tls, wait_for};

const DOCUMENT: &str = include_str!("../docs/tls-alerts.md");

macro_rules! require_peers {
    () => {
        require!(adit);
        require!(
            old_tls::available(),
            "tlslite-ng is not installed; tests/run does it"
        );
    };
}

/// A table of the document.
struct Table {
    /// `1.3`, `1.2`.
    versions: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    offence: String,
    due: String,
    /// As they stand there, one a version.
    cells: Vec<String>,
}

impl Table {
    /// The one under this heading.
    fn under(heading: &str) -> Table {
        let (_, below) = DOCUMENT.split_once(heading).expect("the heading");
        let lines = below.lines().skip_while(|line| !line.starts_with('|'));
        let mut lines = lines.take_while(|line| line.starts_with('|')).map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
        });
        let head = lines.next().expect("a head").skip(3);
        let versions = head.map(|cell| cell.replace("TLS ", "")).collect();
        let rows = lines.skip(1).map(|mut cells| Row {
            offence: cells.next().expect("an offence"),
            due: cells.next().expect("what is due"),
            cells: cells.skip(1).collect(),
        });
        let rows = rows.collect();
        Table { versions, rows }
    }

    /// Tries each cell by `answer`, which takes the version, the offence and whether the answer is late; prints the
    /// table as it is.
    fn holds(&self, mut answer: impl FnMut(&str, &str, bool) -> String) {
        let mut seen = String::new();
        let mut wrong = Vec::new();
        for row in &self.rows {
            let due = &row.due;
            write!(seen, "| {} | {due} |", row.offence).expect("a string");
            for (version, cell) in self.versions.iter().zip(&row.cells) {
                let (expected, note) = cell.split_once(' ').unwrap_or((cell, ""));
                if expected == "–" {
                    seen.push_str(" – |");
                    continue;
                }
                // Seen where it fails within.
                println!("{}, TLS {version}", row.offence);
                let found = answer(version, &row.offence, expected == "late");
                write!(seen, " {found} |").expect("a string");
                let offence = &row.offence;
                if found != expected {
                    wrong.push(format!("{offence}, TLS {version}: {found}, not {expected}"));
                }
                if !note.is_empty() {
                    let reason = format!("\n* {} ", note.trim_matches(['(', ')']));
                    assert!(DOCUMENT.contains(&reason), "{offence}: no reason {note}");
                } else if !row.is_due(version, expected) {
                    wrong.push(format!("{offence}, TLS {version}: {expected} is not {due}"));
                }
            }
            seen.push('\n');
        }
        println!("{seen}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Row {
    fn is_due(&self, version: &str, answer: &str) -> bool {
        let separators = |character: char| !character.is_ascii_alphanumeric() && character != '.';
        let due = match self.due.split_once(" in TLS 1.3, ") {
            Some((now, _)) if version == "1.3" => now,
            Some((_, before)) => before,
            None => &self.due,
        };
        let due: BTreeSet<_> = due.split(separators).collect();
        match answer {
            "served" => due.contains("none"),
            // Which alert it is shows only after the silence.
            "late" => true,
            alert => due.contains(alert),
        }
    }
}

/// Plays the other side of a connection.
struct Offender(Tool);

impl Offender {
    fn start(role: &[&str], pair: &Pair) -> Offender {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_offences/peer.py");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args(role)
            .args([&pair.cert, &pair.key])
            .env("PYTHONPATH", old_tls::modules())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Offender(Tool::start(&mut command))
    }

    /// The line of its output with this number.
    fn line(&self, number: usize) -> String {
        wait_for("what came back", || {
            let said = self.0.said();
            let whole = said.rfind('\n')?;
            said[..whole].lines().nth(number).map(str::to_owned)
        })
    }

    fn lines(&self) -> usize {
        self.0.said().lines().count()
    }

    fn ask(&mut self, words: &[&str]) {
        writeln!(self.0.input(), "{}", words.join("\t")).expect("sending");
    }

    /// What came of it; `late`: once adit has noticed, and keeps silent.
    fn answer(&mut self, before: usize, adit: &Adit, noticed: usize, late: bool) -> String {
        let said = self.line(before);
        if !late || said != "committed" {
            return said;
        }
        adit.wait_for_log_times("LOG3[", noticed + 1);
        self.ask(&["look"]);
        self.line(before + 1)
    }
}

fn rsa(certs: &Certs, name: &str) -> Pair {
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    certs.issue(name, wish)
}

/// Clients of one service, or of another that asks for their certificates, commit what the table has.
fn clients_are_told(heading: &str, more: &str) {
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = format!("{}{}{more}", upstream.line(), rsa(&certs, "server").lines());
    let adit = Plan::new()
        .service("test", &lines)
        .service(
            "certified",
            format!("{lines}{}verifyChain = yes\n", certs.ca_line()),
        )
        .start();
    let mut client = Offender::start(&["client", "127.0.0.1"], &rsa(&certs, "client"));
    Table::under(heading).holds(|version, offence, late| {
        let service = match offence.contains("certificate") {
            true => "certified",
            false => "test",
        };
        let port = adit.address(service).port().to_string();
        let (before, noticed) = (client.lines(), adit.count_in_log("LOG3["));
        let late_or_not = if late { "late" } else { "now" };
        client.ask(&[&port, version, offence, late_or_not]);
        client.answer(before, &adit, noticed, late)
    });
}

/// The server of a service in client mode commits what the table has.
fn servers_are_told(heading: &str, more: &str) {
    let certs = Certs::new();
    let mut server = Offender::start(&["server"], &rsa(&certs, "server"));
    let port = server.line(0);
    let adit = Adit::serve(format!(
        "client = yes\nconnect = 127.0.0.1:{port}\nsni = localhost\n{}verifyChain = yes\n{more}",
        certs.ca_line()
    ));
    Table::under(heading).holds(|version, offence, late| {
        let (before, noticed) = (server.lines(), adit.count_in_log("LOG3["));
        server.ask(&[version, offence, if late { "late" } else { "now" }]);
        let mut program = adit.connect("test");
        let ours = program.try_clone().expect("a descriptor");
        let echo = std::thread::spawn(move || peers::echo(&mut program));
        let answer = server.answer(before, &adit, noticed, late);
        let _ = ours.shutdown(Shutdown::Both);
        // It may have been reset.
        let _ = echo.join().expect("no panic");
        answer
    });
}

const OLD: &str = "sslVersionMin = TLSv1\n";

#[test]
fn a_client_that_breaks_tls_is_told_by_the_alert_that_is_due() {
    require_peers!();
    clients_are_told("### What a client does, by rustls", "");
}

#[test]
fn a_server_that_breaks_tls_is_told_by_the_alert_that_is_due() {
    require_peers!();
    servers_are_told("### What a server does, by rustls", "");
}

#[test]
fn a_client_that_breaks_old_tls_is_told_by_the_alert_that_is_due() {
    require_peers!();
    clients_are_told("### What a client does, by s2n-tls", OLD);
}

#[test]
fn a_server_that_breaks_old_tls_is_told_by_the_alert_that_is_due() {
    require_peers!();
    servers_are_told("### What a server does, by s2n-tls", OLD);
}

/// A fatal alert in plain: unexpected message.
const UNEXPECTED: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

/// Sends a record of a type that there is not, and much behind it, to adit.
fn offend(address: SocketAddr) -> TcpStream {
    let mut client = peers::connect(address);
    client.write_all(&[0, 3, 1, 0, 1, 0]).expect("sending");
    client
}

#[test]
fn an_alert_reaches_a_client_that_goes_on_sending() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(upstream.line() + &certs.server().lines());
    let mut client = offend(adit.address("test"));
    adit.wait_for_log("SSL_accept: ");
    // adit has said all that it has to say, and did not close: nothing here meets an RST.
    for _ in 0..16 {
        client.write_all(&[7; 65_536]).expect("sending");
    }
    let mut alert = [0; 7];
    client.read_exact(&mut alert).expect("an alert");
    assert_eq!((alert[0], alert[6]), (UNEXPECTED[0], UNEXPECTED[6]));
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(peers::read_to_end(&mut client), b"");
    adit.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn an_alert_reaches_a_client_that_has_ended_its_half() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(upstream.line() + &certs.server().lines());
    let mut client = offend(adit.address("test"));
    client.shutdown(Shutdown::Write).expect("a shutdown");
    let said = peers::read_to_end(&mut client);
    assert_eq!((said[0], said[6], said.len()), (21, 10, 7));
}

#[test]
fn a_client_that_is_told_and_stays_is_closed_all_the_same() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(upstream.line() + &certs.server().lines());
    let client = offend(adit.address("test"));
    adit.wait_for_log("Service [test] finished (0 left)");
    drop(client);
}
