//! The levels of verification, on certificates of every age and kind: stunnel and adit accept and refuse the
//! same, with the same reason.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::stunnel;
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Pair;
use crate::support::lists::Authority;
use crate::support::openssl::{self, Tool, s_client, s_server};
use crate::support::peers::Server;
use crate::support::{Adit, Plan, wait_for};

const ROOT: &str = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign\n";
const LEAF: &str = "subjectAltName = DNS:localhost\n";
const AUTHORITY: &str = "basicConstraints = CA:TRUE\nsubjectAltName = DNS:localhost\n";

/// A peer's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By the root.
    Issued,
    /// By another authority.
    Foreign,
    /// By the root, of version 1: it has no alternative name either.
    First,
    /// By the root, with CA:TRUE.
    Authority,
    /// As `openssl req -x509` makes it, with CA:TRUE.
    SelfSigned,
    /// The same of version 1.
    SelfSignedFirst,
    /// The same with CA:FALSE.
    SelfSignedLeaf,
    /// By the root, and over.
    Expired,
    /// By the root, RSA of 1024 bits.
    Short,
    /// By the root, signed with SHA-1.
    Sha1,
}

const KINDS: [Kind; 10] = [
    Kind::Issued,
    Kind::Foreign,
    Kind::First,
    Kind::Authority,
    Kind::SelfSigned,
    Kind::SelfSignedFirst,
    Kind::SelfSignedLeaf,
    Kind::Expired,
    Kind::Short,
    Kind::Sha1,
];

/// What the file of CAfile has.
#[derive(Debug, Clone, Copy)]
enum Trusted {
    Root,
    /// The peer's own certificate.
    Peer,
    Both,
}

struct Bench {
    root: Authority,
    pairs: Vec<Pair>,
}

impl Bench {
    fn new() -> Bench {
        let root = Authority::root("the root", ROOT);
        let other = Authority::root("another root", ROOT);
        let issue = |kind: Kind| {
            let file = format!("{kind:?}");
            match kind {
                Kind::Issued => root.issue(&file, "2", LEAF),
                Kind::Foreign => {
                    let pair = other.issue(&file, "2", LEAF);
                    copied(&pair, root.folder(), &file)
                }
                Kind::First => root.issue(&file, "3", ""),
                Kind::Authority => root.issue(&file, "4", AUTHORITY),
                Kind::SelfSigned => itself(&root, &file, AUTHORITY),
                Kind::SelfSignedFirst => itself(&root, &file, ""),
                Kind::SelfSignedLeaf => itself(&root, &file, LEAF),
                Kind::Expired => root.issue_as(&file, "5", LEAF, &["-days", "-1"], 2048),
                Kind::Short => root.issue_as(&file, "6", LEAF, &["-days", "99"], 1024),
                Kind::Sha1 => root.issue_as(&file, "7", LEAF, &["-sha1"], 2048),
            }
        };
        let pairs = KINDS.map(issue).into();
        Bench { root, pairs }
    }

    /// `CAfile` with what is trusted.
    fn trusting(&self, kind: usize, trusted: Trusted) -> String {
        let read = |path: &Path| fs::read_to_string(path).expect("a certificate");
        let text = match trusted {
            Trusted::Root => read(&self.root.cert()),
            Trusted::Peer => read(&self.pairs[kind].cert),
            Trusted::Both => read(&self.root.cert()) + &read(&self.pairs[kind].cert),
        };
        let file = self.root.folder().join(format!("{kind}-{trusted:?}.pem"));
        fs::write(&file, text).expect("writing");
        format!("CAfile = {}\n", file.display())
    }
}

fn copied(pair: &Pair, folder: &Path, file: &str) -> Pair {
    let copy = |from: &Path, end: &str| {
        let to: PathBuf = folder.join(format!("{file}.{end}"));
        fs::copy(from, &to).expect("copying");
        to
    };
    Pair {
        cert: copy(&pair.cert, "pem"),
        key: copy(&pair.key, "key"),
    }
}

/// A self-signed certificate for localhost.
fn itself(root: &Authority, file: &str, extensions: &str) -> Pair {
    // Its key and its request are made on the way.
    let pair = root.issue(file, "8", LEAF);
    let request = root.folder().join(format!("{file}.csr"));
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-req", "-days", "99", "-in"])
        .arg(request);
    command
        .arg("-signkey")
        .arg(&pair.key)
        .arg("-out")
        .arg(&pair.cert);
    if !extensions.is_empty() {
        let path = root.folder().join("extensions");
        fs::write(&path, extensions).expect("writing");
        command.arg("-extfile").arg(path);
    }
    openssl::run(&mut command);
    pair
}

/// What is asked for.
const ASKED: [(&str, Trusted); 15] = [
    ("verify = 0", Trusted::Root),
    ("verify = 1", Trusted::Root),
    ("verify = 2", Trusted::Root),
    ("verify = 3", Trusted::Both),
    ("verify = 4", Trusted::Peer),
    ("requireCert = yes", Trusted::Root),
    // What follows is asked of servers alone: clients are judged by the same code.
    ("verify = 3", Trusted::Root),
    ("verify = 4", Trusted::Root),
    ("verifyChain = yes", Trusted::Peer),
    ("verifyChain = yes", Trusted::Root),
    ("verifyPeer = yes", Trusted::Peer),
    ("verifyPeer = yes", Trusted::Root),
    ("verifyPeer = yes\nverifyChain = yes", Trusted::Both),
    ("verifyChain = yes\ncheckHost = localhost", Trusted::Both),
    ("verifyChain = yes\ncheckHost = mail.test", Trusted::Both),
];
const OF_CLIENTS: usize = 6;

/// Each of these kinds of peer with each of the first levels.
fn table(kinds: &[Kind], levels: usize) -> Vec<(usize, usize)> {
    let kinds = kinds.iter();
    kinds
        .filter_map(|kind| KINDS.iter().position(|one| one == kind))
        .flat_map(|kind| (0..levels).map(move |level| (kind, level)))
        .collect()
}

fn name(kind: usize, level: usize) -> String {
    format!("case-{kind}-{level}")
}

/// Why it refuses, as the log has it.
fn reason(said: &str) -> String {
    let before = [
        "CERT: Pre-verification error: certificate not found in local repository: ",
        "CERT: Pre-verification error: ",
    ];
    for phrase in before {
        if let Some((_, behind)) = said.split_once(phrase) {
            return behind.lines().next().unwrap_or_default().to_owned();
        }
    }
    let whole = [
        "CERT: Subject checks failed",
        "CERT: Certificate not found in local repository",
        "peer did not return a certificate",
    ];
    let found = whole.into_iter().find(|phrase| said.contains(phrase));
    found.unwrap_or_default().to_owned()
}

/// What became of a connection.
#[derive(Debug)]
struct Came {
    case: String,
    accepted: bool,
    /// Of a refusal.
    reason: String,
}

/// Lets a connection happen.
fn came(adit: &Adit, (kind, level): (usize, usize), talk: impl FnOnce() -> bool) -> Came {
    let (asked, trusted) = ASKED[level];
    let before = adit.log().len();
    let accepted = talk();
    let finished = format!("Service [{}] finished", name(kind, level));
    let said = wait_for("the end of the connection", || {
        let said = adit.log()[before..].to_owned();
        said.contains(&finished).then_some(said)
    });
    Came {
        case: format!("{:?}, {asked} with {trusted:?}", KINDS[kind]),
        accepted,
        reason: match accepted {
            true => String::new(),
            false => reason(&said),
        },
    }
}

/// Client mode: what a program makes of each server.
fn of_servers(
    bench: &Bench,
    servers: &[(Tool, SocketAddr)],
    path: &Path,
    kinds: &[Kind],
    more: &str,
) -> Vec<Came> {
    let cases = table(kinds, ASKED.len());
    let mut plan = Plan::new().program(path);
    for (kind, level) in &cases {
        let (asked, trusted) = ASKED[*level];
        let lines = format!(
            "client = yes\nconnect = {}\n{asked}\n{}{more}",
            servers[*kind].1,
            bench.trusting(*kind, trusted)
        );
        plan = plan.service(&name(*kind, *level), lines);
    }
    let adit = plan.start();
    let cases = cases.into_iter();
    cases
        .map(|case| {
            came(&adit, case, || {
                let mut client = adit.connect(&name(case.0, case.1));
                let _ = client.write_all(b"hello\n");
                let mut answer = [0; 5];
                client.read_exact(&mut answer).is_ok() && answer == *b"olleh"
            })
        })
        .collect()
}

/// Server mode: what it makes of each client, and of one without a certificate.
fn of_clients(bench: &Bench, path: &Path) -> Vec<Came> {
    let cases = table(&KINDS, OF_CLIENTS);
    let upstream = Server::greeting("hello\n");
    let own = &bench.pairs[0];
    let mut plan = Plan::new().program(path);
    for (kind, level) in &cases {
        let (asked, trusted) = ASKED[*level];
        let lines = format!(
            "{}{}{asked}\n{}",
            upstream.line(),
            own.lines(),
            bench.trusting(*kind, trusted)
        );
        plan = plan.service(&name(*kind, *level), lines);
    }
    let adit = plan.start();
    let talk = |(kind, level): (usize, usize), identity: &[&str]| {
        let arguments = [identity, &["-cipher", "ALL:@SECLEVEL=0", "-ign_eof"]].concat();
        let address = adit.address(&name(kind, level));
        s_client(address, &arguments, "").contains("hello\n")
    };
    let mut all: Vec<Came> = Vec::new();
    for case in cases {
        let pair = &bench.pairs[case.0];
        let (cert, key) = (pair.cert.to_str(), pair.key.to_str());
        let identity = ["-cert", cert.expect("UTF-8"), "-key", key.expect("UTF-8")];
        all.push(came(&adit, case, || talk(case, &identity)));
    }
    all.extend((0..OF_CLIENTS).map(|level| came(&adit, (0, level), || talk((0, level), &[]))));
    all
}

#[track_caller]
fn alike(theirs: &[Came], ours: &[Came], old: bool) {
    // adit adds the size of a key that is too small. Of several faults each program tells the first it meets.
    let first = [
        (
            "unable to get local issuer certificate",
            "certificate has expired",
        ),
        (
            "EE certificate key too weak",
            "unable to get local issuer certificate",
        ),
        (
            "CA signature digest algorithm too weak",
            "CERT: Certificate not found in local repository",
        ),
    ];
    // rustls verifies no signature by such a key; docs/differences-certificates.md has a row for it.
    let unverified = |case: &str| {
        case.starts_with("Short, verify = 0") || case.starts_with("Short, requireCert")
    };
    let same = |theirs: &Came, ours: &Came| {
        if !old && unverified(&ours.case) {
            return theirs.accepted && !ours.accepted;
        }
        theirs.accepted == ours.accepted
            && (ours.reason.starts_with(&theirs.reason)
                || first.contains(&(&theirs.reason, &ours.reason)))
    };
    let differ = theirs.iter().zip(ours);
    let differ: Vec<_> = differ
        .filter(|(theirs, ours)| !same(theirs, ours))
        .collect();
    assert!(differ.is_empty(), "stunnel and adit: {differ:#?}");
    // Neither of both accepts or refuses everything.
    assert!(ours.iter().any(|came| came.accepted) && ours.iter().any(|came| !came.accepted));
}

#[test]
fn every_level_on_servers_of_every_kind() {
    require!(program "stunnel4");
    require!(program "openssl");
    let bench = Bench::new();
    let pairs = bench.pairs.iter();
    let servers: Vec<_> = pairs
        .map(|pair| s_server(pair, &["-rev", "-cipher", "ALL:@SECLEVEL=0"]))
        .collect();
    let theirs = of_servers(&bench, &servers, &stunnel(), &KINDS, "");
    alike(
        &theirs,
        &of_servers(&bench, &servers, &program(), &KINDS, ""),
        false,
    );
    let old = "sslVersionMin = TLSv1.1\n";
    alike(
        &theirs,
        &of_servers(&bench, &servers, &program(), &KINDS, old),
        true,
    );
}

#[test]
fn every_level_on_clients_of_every_kind() {
    require!(program "stunnel4");
    require!(program "openssl");
    let bench = Bench::new();
    let theirs = of_clients(&bench, &stunnel());
    alike(&theirs, &of_clients(&bench, &program()), false);
}

#[test]
fn lower_security_levels_with_old_tls() {
    require!(program "stunnel4");
    require!(program "openssl");
    let bench = Bench::new();
    let pairs = bench.pairs.iter();
    let servers: Vec<_> = pairs
        .map(|pair| s_server(pair, &["-rev", "-cipher", "ALL:@SECLEVEL=0"]))
        .collect();
    let kinds = [Kind::Issued, Kind::SelfSignedFirst, Kind::Short, Kind::Sha1];
    for level in [1, 0] {
        let more = format!("securityLevel = {level}\n");
        let theirs = of_servers(&bench, &servers, &stunnel(), &kinds, &more);
        let more = more + "sslVersionMin = TLSv1.1\n";
        let ours = of_servers(&bench, &servers, &program(), &kinds, &more);
        alike(&theirs, &ours, true);
    }
}

/// Each program and level: whether a server of an authority with a key of 1024 bits is accepted.
#[test]
fn authorities_with_short_keys() {
    require!(program "stunnel4");
    require!(program "openssl");
    let root = Authority::root_of(1024, "the root", ROOT, &[]);
    let pair = root.issue("leaf", "2", LEAF);
    let (_tool, address) = s_server(&pair, &["-rev", "-cipher", "ALL:@SECLEVEL=0"]);
    for (level, accepted) in [(2, false), (1, true), (0, true)] {
        for (path, more) in [(stunnel(), ""), (program(), "sslVersionMin = TLSv1.1\n")] {
            let lines = format!(
                "client = yes\nconnect = {address}\nCAfile = {}\nverifyChain = yes\nsecurityLevel = {level}\n{more}",
                root.cert().display()
            );
            let adit = Plan::new().program(&path).service("test", lines).start();
            let mut client = adit.connect("test");
            let _ = client.write_all(b"hello\n");
            let mut answer = [0; 5];
            let heard = client.read_exact(&mut answer).is_ok() && answer == *b"olleh";
            assert_eq!(heard, accepted, "{level} {}", path.display());
            if !accepted {
                adit.wait_for_log("Pre-verification error: CA certificate key too weak");
            }
        }
    }
}
