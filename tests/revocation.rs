//! `CRLfile` and `CRLpath`: what of them is adit's own, and when a list begins to count. That each list counts as
//! with stunnel is in `stunnel_compat/revocation.rs`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Pair;
use crate::support::lists::{Authority, Listed};
use crate::support::openssl::{self, s_client};
use crate::support::peers::Server;
use crate::support::{Adit, Plan, installed, tls, wait_for};

const ROOT: &str = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign\n";
const LEAF: &str = "subjectAltName = DNS:localhost\n";

fn echo(pair: &Pair) -> Server {
    tls::echo(tls::server_config(pair, tls::BOTH, None))
}

fn plan(root: &Authority, server: &Server, plan: Plan, more: &str) -> Plan {
    let lines = format!(
        "client = yes\n{}CAfile = {}\nverifyChain = yes\n{more}",
        server.line(),
        root.cert().display()
    );
    plan.service("test", lines)
}

/// Whether its server is accepted.
fn accepts(adit: &Adit) -> bool {
    let mut client = adit.connect("test");
    let sent = std::io::Write::write_all(&mut client, b"hello");
    let mut answer = [0; 5];
    sent.and_then(|()| std::io::Read::read_exact(&mut client, &mut answer))
        .is_ok()
}

/// Writes a list as a whole.
fn put(path: &Path, list: &str) {
    let new = path.with_extension("new");
    fs::write(&new, list).expect("writing");
    fs::rename(new, path).expect("rename");
}

fn hash_of(certificate: &Path) -> String {
    let mut command = Command::new("openssl");
    let command = command.args(["x509", "-noout", "-hash", "-in"]);
    let said = openssl::run(command.arg(certificate)).stdout;
    String::from_utf8(said).expect("a number").trim().to_owned()
}

/// stunnel looks up the leaf alone.
#[test]
fn an_authority_that_a_list_at_hand_revokes_falls_with_what_it_issued() {
    require!(program "stunnel4");
    require!(program "openssl");
    let root = Authority::root("the root", ROOT);
    let middle = root.below("the middle", "3", ROOT, &[]);
    let leaf = middle.issue("leaf", "7", LEAF);
    let chain = [&leaf.cert, &middle.cert()].map(|one| fs::read_to_string(one).expect("PEM"));
    fs::write(&leaf.cert, chain.concat()).expect("writing");
    let server = echo(&leaf);
    let file = root.folder().join("lists.pem");
    let line = format!("CRLfile = {}\n", file.display());
    let of_middle = middle.list(&Listed::revoked(&[]));
    let over = Listed {
        next: Some("250701000000Z"),
        ..Listed::revoked(&[3])
    };
    let of_namesake = |serials: &[u8]| {
        Authority::root("the root", ROOT).list(&Listed {
            this: "250701000000Z",
            ..Listed::revoked(serials)
        })
    };
    let stunnel = installed("stunnel4").expect("asked for before");
    for (lists, falls) in [
        (root.list(&Listed::revoked(&[4])), false),
        (root.list(&Listed::revoked(&[3])), true),
        // What was revoked stays so.
        (root.list(&over), true),
        // A newer list counts if it is by the same key.
        (root.list(&Listed::revoked(&[3])) + &of_namesake(&[]), true),
        (root.list(&Listed::revoked(&[])) + &of_namesake(&[3]), false),
    ] {
        fs::write(&file, of_middle.clone() + &lists).expect("writing");
        for (path, refused) in [(stunnel.clone(), false), (program(), falls)] {
            let plan = Plan::new().program(path);
            let adit = self::plan(&root, &server, plan, &line).start();
            assert_eq!(accepts(&adit), !refused);
            if refused {
                adit.wait_for_log("CERT: Authority revoked at depth=1: CN=the middle");
                adit.wait_for_log("Pre-verification error: certificate revoked");
            }
        }
    }
}

#[test]
fn a_list_that_is_replaced_counts_from_the_next_reload_and_ends_older_sessions() {
    require!(program "openssl");
    require!(adit);
    let root = Authority::root("the root", ROOT);
    let server = root.issue("server", "2", LEAF);
    let client = root.issue("client", "7", LEAF);
    let file = root.folder().join("list.pem");
    put(&file, &root.list(&Listed::revoked(&[6])));
    let upstream = Server::greeting("hello\n");
    let lines = format!(
        "{}{}CAfile = {}\nverifyChain = yes\nCRLfile = {}\n",
        upstream.line(),
        server.lines(),
        root.cert().display(),
        file.display()
    );
    let adit = Plan::new().service("test", lines).start();
    let (cert, key) = (client.cert.to_str(), client.key.to_str());
    let session = adit.plan.folder().join("session");
    let session = session.to_str().expect("UTF-8");
    let talk = |version: &str, how: &str| {
        let arguments = [
            "-cert",
            cert.expect("UTF-8"),
            "-key",
            key.expect("UTF-8"),
            version,
            how,
            session,
            "-ign_eof",
        ];
        s_client(adit.address("test"), &arguments, "")
    };
    for version in ["-tls1_3", "-tls1_2"] {
        put(&file, &root.list(&Listed::revoked(&[6])));
        adit.reload(1);
        assert!(talk(version, "-sess_out").contains("hello"));
        // The same list again changes nothing.
        adit.reload(1);
        assert!(talk(version, "-sess_in").contains("Reused, TLSv1"));
        put(&file, &root.list(&Listed::revoked(&[6, 7])));
        adit.reload(1);
        let said = talk(version, "-sess_in");
        assert!(!said.contains("hello"), "{said}");
        assert!(said.contains("alert certificate revoked"), "{said}");
    }
}

#[test]
fn a_reload_with_a_damaged_list_changes_nothing() {
    require!(program "openssl");
    require!(adit);
    let root = Authority::root("the root", ROOT);
    let server = echo(&root.issue("server", "7", LEAF));
    let file = root.folder().join("list.pem");
    put(&file, &root.list(&Listed::revoked(&[6])));
    let line = format!("CRLfile = {}\n", file.display());
    let adit = plan(&root, &server, Plan::new(), &line).start();
    assert!(accepts(&adit));
    put(
        &file,
        "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    );
    adit.reload_refused(&["revocation list 1 in", "is damaged"]);
    assert!(accepts(&adit));
}

/// stunnel says nothing of them, and goes on behind them too.
#[test]
fn a_file_in_a_row_of_a_folder_whose_list_does_not_count_is_told() {
    require!(program "stunnel4");
    require!(program "openssl");
    require!(adit);
    let root = Authority::root("the root", ROOT);
    let server = echo(&root.issue("server", "7", LEAF));
    let hash = hash_of(&root.cert());
    let older = root.list(&Listed {
        this: "250101000000Z",
        ..Listed::revoked(&[])
    });
    let older = older.as_bytes();
    let newer = root.list(&Listed::revoked(&[7]));
    let der = pem::parse(&newer).expect("PEM").into_contents();
    let damaged = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let cut = &newer.as_bytes()[..newer.len() / 2];
    let stunnel = installed("stunnel4").expect("asked for before");
    for (row, good, words) in [
        ([older, newer.as_bytes()], false, None),
        ([older, &der], true, Some("r1 is DER, not PEM")),
        ([older, damaged], true, Some("r1 has a damaged")),
        ([older, cut], true, Some("r1 has a damaged")),
        ([older, b""], true, Some("r1 has no revocation list")),
        ([&der, older], true, Some("r0 is DER, not PEM")),
    ] {
        for path in [stunnel.clone(), program()] {
            let is_adit = path == program();
            let plan = Plan::new().program(path);
            let folder = plan.folder().join("lists");
            fs::create_dir(&folder).expect("mkdir");
            for (nth, list) in row.into_iter().enumerate() {
                fs::write(folder.join(format!("{hash}.r{nth}")), list).expect("writing");
            }
            // Of other files nothing is said.
            fs::write(folder.join("other"), damaged).expect("writing");
            let line = format!("CRLpath = {}\n", folder.display());
            let adit = self::plan(&root, &server, plan, &line).start();
            assert_eq!(accepts(&adit), good, "{is_adit} {words:?}: {}", adit.log());
            if let Some(words) = words.filter(|_| is_adit) {
                adit.wait_for_log(&format!("{hash}.{words}"));
            }
            let told = adit
                .log()
                .matches("what it revokes may be accepted")
                .count();
            let expected = usize::from(is_adit && words.is_some());
            assert_eq!(told, expected, "{}", adit.log());
        }
    }
}

/// Inside the jail; outside it where the folder is not there inside.
#[test]
fn certwatch_sees_a_list_that_is_added_to_a_folder_inside_and_outside_the_jail() {
    require!(root);
    require!(program "openssl");
    require!(adit);
    let root = Authority::root("the root", ROOT);
    let server = echo(&root.issue("server", "7", LEAF));
    let hash = hash_of(&root.cert());
    for inside in [true, false] {
        let plan = Plan::new();
        let jail = plan.folder().join("jail");
        let outside = plan.folder().join("lists");
        let (folder, named) = match inside {
            true => (jail.join("lists"), Path::new("/lists")),
            false => (outside.clone(), &*outside),
        };
        fs::create_dir_all(&jail).expect("mkdir");
        fs::create_dir_all(&folder).expect("mkdir");
        let plan = plan
            .global(format!("chroot = {}", jail.display()))
            .global("certWatch = yes");
        let line = format!("CRLpath = {}\n", named.display());
        let adit = self::plan(&root, &server, plan, &line).start();
        adit.wait_for_log(&format!(
            "no revocation list in {}: as it is, no peer is accepted",
            folder.display()
        ));
        assert!(!accepts(&adit));
        adit.wait_for_log("unable to get certificate CRL");
        let older = Listed {
            this: "250101000000Z",
            ..Listed::revoked(&[])
        };
        for (nth, (list, good)) in [(older, true), (Listed::revoked(&[7]), false)]
            .into_iter()
            .enumerate()
        {
            let file = format!("list{nth}.pem");
            put(&folder.join(&file), &root.list(&list));
            symlink(&file, folder.join(format!("{hash}.r{nth}"))).expect("a link");
            wait_for("the list to count", || {
                (accepts(&adit) == good).then_some(())
            });
        }
        adit.wait_for_log("Pre-verification error: certificate revoked");
    }
}

#[test]
fn lists_that_refuse_every_peer_are_told_at_the_start() {
    require!(program "openssl");
    require!(adit);
    let root = Authority::root("the root", ROOT);
    let imitation = Authority::root("the root", ROOT);
    let server = echo(&root.issue("server", "7", LEAF));
    let over = Listed {
        next: Some("250701000000Z"),
        ..Listed::revoked(&[])
    };
    let early = Listed {
        this: "480101000000Z",
        ..Listed::revoked(&[])
    };
    for (list, words) in [
        (
            root.list(&over),
            "of CN=the root has expired: get its new one",
        ),
        (
            root.list(&early),
            "of CN=the root is not yet valid: check the clock",
        ),
        (
            imitation.list(&Listed::revoked(&[])),
            "its signature is not by the key",
        ),
    ] {
        let plan = Plan::new();
        let file = plan.folder().join("list.pem");
        put(&file, &list);
        let line = format!("CRLfile = {}\n", file.display());
        let adit = self::plan(&root, &server, plan, &line).start();
        adit.wait_for_log(words);
        assert!(!accepts(&adit));
    }
    let server = Server::echo();
    let list = root.folder().join("list.pem");
    put(&list, &root.list(&Listed::revoked(&[])));
    let lines = format!(
        "client = yes\n{}CRLfile = {}\n",
        server.line(),
        list.display()
    );
    let adit = Plan::new().service("test", lines).start();
    adit.wait_for_log("`CRLfile` has no effect: this service verifies no certificate");
}

#[test]
fn a_list_by_a_small_key_counts_where_the_key_does() {
    require!(program "openssl");
    require!(adit);
    let root = Authority::root_of(1024, "the root", ROOT, &[]);
    let server = echo(&root.issue("server", "7", LEAF));
    let file = root.folder().join("list.pem");
    let old = |level: u8| format!("sslVersionMin = TLSv1.1\nsecurityLevel = {level}\n");
    for (lines, revoked, words) in [
        (old(0), 6, None),
        (old(1), 6, None),
        (
            old(1),
            7,
            Some("Pre-verification error: certificate revoked"),
        ),
        (
            String::new(),
            6,
            Some("it is signed with sha256WithRSAEncryption by RSA of 1024 bits"),
        ),
    ] {
        put(&file, &root.list(&Listed::revoked(&[revoked])));
        let lines = format!("CRLfile = {}\n{lines}", file.display());
        let adit = plan(&root, &server, Plan::new(), &lines).start();
        assert_eq!(accepts(&adit), words.is_none(), "{}", adit.log());
        match words {
            Some(words) => drop(adit.wait_for_log(words)),
            None => assert!(!adit.log().contains("is damaged"), "{}", adit.log()),
        }
    }
}
