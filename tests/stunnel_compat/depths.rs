//! Which certificate of a path is refused, and why: both logs have the same depth, name and reason.

use std::fs;
use std::path::Path;

use super::{plain_hello, stunnel};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Pair;
use crate::support::lists::Authority;
use crate::support::peers::Server;
use crate::support::{Plan, tls};

const ROOT: &str = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign\n";
const LEAF: &str = "subjectAltName = DNS:localhost\n";
/// In the past.
const OVER: &[&str] = &["-days", "-1"];

/// What the log says about certificates that are refused.
fn said(path: &Path, upstream: &Server, trusted: &Path) -> Vec<String> {
    let lines = format!(
        "client = yes\n{}CAfile = {}\nverifyChain = yes\n",
        upstream.line(),
        trusted.display()
    );
    let adit = Plan::new().program(path).service("test", lines).start();
    plain_hello(&adit);
    adit.wait_for_log("Service [test] finished (0 left)");
    let log = adit.log();
    let told = log.lines().filter_map(|line| {
        let phrases = ["CERT: Pre-verification error", "Rejected by CERT"];
        let at = phrases.iter().find_map(|phrase| line.find(phrase))?;
        Some(line[at..].to_owned())
    });
    told.collect()
}

#[test]
fn the_certificate_that_is_refused() {
    require!(program "stunnel4");
    require!(program "openssl");
    let root = Authority::root("the root", ROOT);
    let other = Authority::root("another root", ROOT);
    let middle = root.below("the middle", "3", ROOT, &[]);
    let ended = root.below("the ended", "4", ROOT, OVER);
    let old = Authority::root_of(2048, "the old root", ROOT, OVER);
    let leaf = middle.issue("leaf", "7", LEAF);
    let of_ended = ended.issue("leaf", "7", LEAF);
    let of_old = old.issue("leaf", "7", LEAF);
    let none = root.below("no authority", "5", LEAF, &[]);
    let of_none = none.issue("leaf", "7", LEAF);
    let alone = Authority::root("alone", LEAF);
    let of_alone = alone.issue("leaf", "7", LEAF);
    let itself = other.cert();
    let late = middle.issue_as("late", "8", LEAF, OVER, 2048);
    let mut differ = Vec::new();
    let read = |path: &Path| fs::read_to_string(path).expect("PEM");
    for (nth, (pair, above, trusted)) in [
        // Another root, and the way up as far as it is sent.
        (&leaf, vec![], other.cert()),
        (&leaf, vec![middle.cert()], other.cert()),
        (&leaf, vec![middle.cert(), root.cert()], other.cert()),
        (&leaf, vec![root.cert()], other.cert()),
        // The one in the middle alone is trusted.
        (&leaf, vec![], middle.cert()),
        (&leaf, vec![middle.cert()], middle.cert()),
        // What is over.
        (&of_ended, vec![ended.cert()], root.cert()),
        (&of_old, vec![], old.cert()),
        (&late, vec![middle.cert()], root.cert()),
        // What is no authority, sent along and trusted.
        (&of_none, vec![none.cert()], root.cert()),
        (&of_alone, vec![], alone.cert()),
        // Nothing is wrong.
        (&leaf, vec![middle.cert()], root.cert()),
        (&leaf, vec![itself, middle.cert()], root.cert()),
    ]
    .into_iter()
    .enumerate()
    {
        let chain = root.folder().join(format!("chain{nth}.pem"));
        let above = above.iter().map(|one| read(one));
        let text = [read(&pair.cert)].into_iter().chain(above);
        fs::write(&chain, text.collect::<String>()).expect("writing");
        let pair = Pair {
            cert: chain,
            key: pair.key.clone(),
        };
        let upstream = tls::echo(tls::server_config(&pair, tls::BOTH, None));
        let [theirs, ours] = [stunnel(), program()].map(|path| said(&path, &upstream, &trusted));
        if theirs != ours || theirs.is_empty() != (nth > 10) {
            differ.push((nth, theirs, ours));
        }
    }
    assert!(differ.is_empty(), "stunnel and adit: {differ:#?}");
}
