//! Revocation lists of every form: stunnel and adit, by either of its libraries, accept and refuse the same, in the
//! same words.

mod cases;

use std::fs;
use std::path::Path;

use super::{openssl, same, starts, stunnel};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Pair;
use crate::support::lists::{Authority, Listed};
use crate::support::peers::Server;
use crate::support::{Adit, Plan, tls, wait_for};

const ROOT: &str = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n";
const LEAF: &str = "subjectAltName = DNS:localhost\nauthorityKeyIdentifier = keyid\n";
/// The serial number of every leaf.
const SERIAL: u8 = 7;
/// Nothing is wrong.
const GOOD: &str = "";
const REVOKED: &str = "certificate revoked";
const NONE: &str = "unable to get certificate CRL";

/// A configuration of a client, and what it must come to.
struct Case {
    what: &'static str,
    server: usize,
    lines: String,
    expected: &'static str,
}

/// What all cases share.
struct Bench {
    root: Authority,
    /// Without cRLSign.
    mute: Authority,
    /// Between the root and a leaf.
    middle: Authority,
    leaves: Vec<Pair>,
    cases: Vec<Case>,
}

const PLAIN: usize = 0;
const WITH_POINT: usize = 1;
const SOME_REASONS: usize = 2;
const OF_MUTE: usize = 3;
/// Of an authority that the root issued; its certificate is sent along.
const OF_MIDDLE: usize = 4;

impl Bench {
    fn new() -> Bench {
        let root = Authority::root("the root", ROOT);
        let mute = Authority::root("the mute", &ROOT.replace(", cRLSign", ""));
        let middle = root.below("the middle", "3", ROOT, &[]);
        let point = "crlDistributionPoints = URI:http://lists.test/a\n";
        let reasons = "crlDistributionPoints = point\n[point]\nfullname = URI:http://lists.test/a\nreasons = keyCompromise\n";
        let leaves = vec![
            root.issue("plain", "7", LEAF),
            root.issue("point", "7", &format!("{LEAF}{point}")),
            root.issue("reasons", "7", &format!("{LEAF}{reasons}")),
            mute.issue("mute", "7", LEAF),
            middle.issue("below", "7", LEAF),
        ];
        let below = &leaves[OF_MIDDLE].cert;
        let chain = [below, &middle.cert()].map(|one| fs::read_to_string(one).expect("PEM"));
        fs::write(below, chain.concat()).expect("writing");
        let cases = Vec::new();
        Bench {
            root,
            mute,
            middle,
            leaves,
            cases,
        }
    }

    /// A service whose CRLfile has these lists of the root's, in order.
    fn add(&mut self, what: &'static str, server: usize, lists: &[Listed], expected: &'static str) {
        let lists: Vec<String> = lists.iter().map(|list| self.root.list(list)).collect();
        self.add_text(what, server, &lists.concat(), expected);
    }

    fn add_text(&mut self, what: &'static str, server: usize, text: &str, expected: &'static str) {
        let file = self.root.folder().join(format!("{}.crl", self.cases.len()));
        fs::write(&file, text).expect("writing");
        let lines = format!("verifyChain = yes\nCRLfile = {}\n", file.display());
        self.add_lines(what, server, lines, expected);
    }

    fn add_lines(
        &mut self,
        what: &'static str,
        server: usize,
        lines: String,
        expected: &'static str,
    ) {
        let trusted = match server {
            OF_MUTE => self.mute.cert(),
            _ => self.root.cert(),
        };
        let lines = match lines.contains("CAfile") {
            true => lines,
            false => format!("{lines}CAfile = {}\n", trusted.display()),
        };
        self.cases.push(Case {
            what,
            server,
            lines,
            expected,
        });
    }

    /// Runs every case by this program.
    fn run(&self, path: &Path, more: &str) -> Vec<String> {
        let servers = self.leaves.iter();
        let servers: Vec<Server> = servers
            .map(|leaf| tls::echo(tls::server_config(leaf, tls::BOTH, None)))
            .collect();
        let mut plan = Plan::new().program(path);
        for (nth, case) in self.cases.iter().enumerate() {
            let connect = servers[case.server].line();
            let lines = format!("client = yes\n{connect}{}{more}", case.lines);
            plan = plan.service(&format!("case{nth}"), lines);
        }
        let adit = plan.start();
        let cases = self.cases.iter().enumerate();
        cases
            .map(|(nth, case)| format!("{}: {}", case.what, verdict(&adit, &format!("case{nth}"))))
            .collect()
    }
}

/// Why a service refuses its server; nothing if it does not.
fn verdict(adit: &Adit, service: &str) -> String {
    let before = adit.log().len();
    let mut client = adit.connect(service);
    let half = client.try_clone().expect("dup");
    let heard = super::hello(&mut client, || {
        half.shutdown(std::net::Shutdown::Write).expect("its half");
    });
    let finished = format!("Service [{service}] finished");
    let said = wait_for("the end of the connection", || {
        let said = adit.log()[before..].to_owned();
        said.contains(&finished).then_some(said)
    });
    let reason = said.lines().find_map(|line| {
        let (_, reason) = line.split_once("CERT: Pre-verification error: ")?;
        Some(reason.to_owned())
    });
    match heard.as_str() {
        "hello" => GOOD.to_owned(),
        _ => reason.unwrap_or_else(|| format!("no reason in {said}")),
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    cases::forms(&mut bench);
    cases::extensions(&mut bench);
    cases::places(&mut bench);
    bench
}

#[test]
fn revocation_lists_of_every_form() {
    require!(program "stunnel4");
    require!(program "openssl");
    let bench = bench();
    let expected: Vec<String> = bench
        .cases
        .iter()
        .map(|case| format!("{}: {}", case.what, case.expected))
        .collect();
    assert_eq!(bench.run(&stunnel(), ""), expected);
    assert_eq!(bench.run(&program(), ""), expected);
    let old = "sslVersionMin = TLSv1.1\n";
    assert_eq!(bench.run(&program(), old), expected);
}

/// The other way round: clients, by TLS 1.3 and 1.2.
#[test]
fn revoked_clients() {
    require!(program "stunnel4");
    require!(program "openssl");
    let root = Authority::root("the root", ROOT);
    let server = root.issue("server", "2", LEAF);
    let upstream = Server::greeting("hello\n");
    let file = root.folder().join("list.crl");
    let lines = format!(
        "{}{}CAfile = {}\nverifyChain = yes\nCRLfile = {}\n",
        upstream.line(),
        server.lines(),
        root.cert().display(),
        file.display()
    );
    let client = root.issue("client", "7", LEAF);
    let (cert, key) = (client.cert.to_str(), client.key.to_str());
    let identity = ["-cert", cert.expect("UTF-8"), "-key", key.expect("UTF-8")];
    let other = Authority::root("another", ROOT);
    for (list, alert) in [
        (root.list(&Listed::revoked(&[6])), None),
        (
            root.list(&Listed::revoked(&[7])),
            Some("certificate revoked"),
        ),
        (other.list(&Listed::revoked(&[6])), Some("unknown ca")),
    ] {
        fs::write(&file, list).expect("writing");
        for version in ["-tls1_2", "-tls1_3"] {
            let talk = |adit: &Adit| {
                let said = openssl(adit, &[&identity[..], &[version]].concat());
                let alerted = alert.is_some_and(|alert| said.contains(&format!("alert {alert}")));
                format!("{}, {alerted}", said.contains("hello"))
            };
            same(&lines, &[], |adit| {
                let heard = talk(adit);
                assert_eq!(heard, format!("{}, {}", alert.is_none(), alert.is_some()));
                heard
            });
        }
        // By the other library.
        let lines = lines.clone() + "sslVersionMin = TLSv1.1\n";
        let adit = Plan::new().service("test", lines).start();
        let said = openssl(&adit, &[&identity[..], &["-tls1_2"]].concat());
        assert_eq!(said.contains("hello"), alert.is_none(), "{said}");
        assert!(said.contains(alert.unwrap_or_default()), "{said}");
    }
}

/// Neither program starts with a file that has no list, or is none.
#[test]
fn files_that_are_no_lists() {
    require!(program "stunnel4");
    require!(program "openssl");
    let root = Authority::root("the root", ROOT);
    let list = root.list(&Listed::revoked(&[6]));
    let file = root.folder().join("file");
    let der = pem::parse(&list).expect("PEM").into_contents();
    let cut = list.replacen("MII", "MIJ", 1);
    let certificate = fs::read(root.cert()).expect("a certificate");
    for (bytes, good, words) in [
        (list.clone().into_bytes(), true, ""),
        ([&certificate[..], list.as_bytes()].concat(), true, ""),
        (der, false, "is DER, not PEM: openssl crl -inform der"),
        (certificate, false, "has no revocation list"),
        (cut.into_bytes(), false, "revocation list 1 in"),
        (Vec::new(), false, "has no revocation list"),
    ] {
        fs::write(&file, bytes).expect("writing");
        let verify = format!("CAfile = {}\nverifyChain = yes\n", root.cert().display());
        for verify in ["", &verify] {
            let lines = format!(
                "client = yes\nconnect = 127.0.0.1:9\nCRLfile = {}\n{verify}",
                file.display()
            );
            for path in [stunnel(), program()] {
                let (started, said) = starts(&path, &lines);
                assert_eq!(started, good, "{}: {said}", path.display());
                assert!(path == stunnel() || said.contains(words), "{said}");
            }
        }
    }
}
