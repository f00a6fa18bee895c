//! Which peers are accepted: certificates of servers and clients, by chain, by name, by being known.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, openssl, tls};

fn upstream(pair: &Pair) -> Server {
    tls::server(tls::server_config(pair, tls::BOTH, None), |mut stream| {
        let _ = peers::echo(&mut stream);
        tls::end(&mut stream);
    })
}

fn client_mode(upstream: &Server, lines: &str) -> Adit {
    Adit::serve(format!("client = yes\n{}{lines}", upstream.line()))
}

#[track_caller]
fn accepted(adit: &Adit) {
    peers::says_and_hears(&mut adit.connect("test"), "a byte that is for them alone");
}

#[track_caller]
fn refused(adit: &Adit, phrase: &str) {
    let mut client: TcpStream = adit.connect("test");
    std::io::Write::write_all(&mut client, b"a byte that is for them alone").expect("sending");
    let heard = peers::read_until_gone(&mut client).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&heard), "");
    adit.wait_for_log(phrase);
    adit.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn a_server_of_the_authority_is_accepted() {
    let certs = Certs::new();
    let server = upstream(&certs.server());
    let adit = client_mode(
        &server,
        &format!(
            "{}verifyChain = yes\ncheckHost = localhost\n",
            certs.ca_line()
        ),
    );
    accepted(&adit);
    adit.wait_for_log("CERT: Host name \"localhost\" matched with \"localhost\"");
    adit.wait_for_log("Certificate accepted at depth=0: CN=localhost");
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let (certs, others) = (Certs::new(), Certs::named("somebody else"));
    let server = upstream(&others.server());
    let adit = client_mode(&server, &format!("{}verifyChain = yes\n", certs.ca_line()));
    refused(&adit, "certificate verify failed");
}

#[test]
fn a_self_signed_server_is_refused_unless_it_is_the_trusted_one() {
    let certs = Certs::new();
    let pair = certs.self_signed("alone", Wish::default());
    let server = upstream(&pair);
    let adit = client_mode(&server, &format!("{}verifyChain = yes\n", certs.ca_line()));
    refused(&adit, "certificate verify failed");
    let trusted = format!("CAfile = {}\nverifyChain = yes\n", pair.cert.display());
    accepted(&client_mode(&server, &trusted));
}

#[test]
fn an_expired_server_is_refused() {
    let certs = Certs::new();
    let pair = certs.issue(
        "expired",
        Wish {
            years: (2020, 2021),
            ..Wish::default()
        },
    );
    let server = upstream(&pair);
    let adit = client_mode(&server, &format!("{}verifyChain = yes\n", certs.ca_line()));
    refused(&adit, "certificate verify failed");
    assert!(
        adit.log().to_lowercase().contains("expired"),
        "it does not say why"
    );
}

#[test]
fn a_server_of_another_name_is_refused() {
    let certs = Certs::new();
    let server = upstream(&certs.server());
    let adit = client_mode(
        &server,
        &format!(
            "{}verifyChain = yes\ncheckHost = mail.example.com\n",
            certs.ca_line()
        ),
    );
    refused(&adit, "CERT: Subject checks failed");
    adit.wait_for_log("certificate verify failed");
}

#[test]
fn one_name_of_several_is_enough() {
    let certs = Certs::new();
    let server = upstream(&certs.server());
    let lines = "verifyChain = yes\ncheckHost = mail.example.com\ncheckHost = localhost\n";
    accepted(&client_mode(&server, &(certs.ca_line() + lines)));
}

#[test]
fn addresses_and_mail_addresses_are_checked_as_names_are() {
    let certs = Certs::new();
    let pair = certs.issue(
        "mailed",
        Wish {
            email: Some("root@mail.test"),
            ..Wish::default()
        },
    );
    let server = upstream(&pair);
    for (good, bad) in [
        ("checkIP = 127.0.0.1\n", "checkIP = 127.0.0.2\n"),
        (
            "checkEmail = root@mail.test\n",
            "checkEmail = root@other.test\n",
        ),
    ] {
        let with = |check: &str| certs.ca_line() + "verifyChain = yes\n" + check;
        accepted(&client_mode(&server, &with(good)));
        refused(
            &client_mode(&server, &with(bad)),
            "CERT: Subject checks failed",
        );
    }
}

#[test]
fn a_locally_installed_certificate_needs_no_authority() {
    let certs = Certs::new();
    let pair = certs.self_signed("known", Wish::default());
    let other = certs.issue("unknown", Wish::default());
    let lines = format!("CAfile = {}\nverifyPeer = yes\n", pair.cert.display());
    let server = upstream(&pair);
    let adit = client_mode(&server, &lines);
    accepted(&adit);
    adit.wait_for_log("CERT: Locally installed certificate matched");
    let server = upstream(&other);
    refused(
        &client_mode(&server, &lines),
        "CERT: Certificate not found in local repository",
    );
}

#[test]
fn without_verification_everybody_is_accepted_and_a_warning_stands_in_the_log() {
    let certs = Certs::new();
    let server = upstream(&certs.self_signed("alone", Wish::default()));
    let adit = client_mode(&server, "");
    accepted(&adit);
    adit.wait_for_log("Service [test] needs authentication to prevent MITM attacks");
}

#[test]
fn verifyserver_asks_for_chain_and_name_at_once() {
    require!(adit);
    let certs = Certs::new();
    let server = upstream(&certs.server());
    // By address, which is in the certificate.
    accepted(&client_mode(
        &server,
        &(certs.ca_line() + "verifyServer = yes\n"),
    ));
    // By the name in `sni`, which the certificate does not have.
    let other = certs.ca_line() + "verifyServer = yes\nsni = mail.example.com\n";
    refused(&client_mode(&server, &other), "certificate verify failed");
    // By the system's authorities, none of which issued it.
    refused(
        &client_mode(&server, "verifyServer = yes\n"),
        "certificate verify failed",
    );
}

#[test]
fn a_folder_of_authorities_serves_as_well() {
    require!(program "openssl");
    let certs = Certs::new();
    let folder = certs.folder().join("authorities");
    fs::create_dir(&folder).expect("mkdir");
    fs::copy(certs.ca(), folder.join("one.pem")).expect("copying");
    openssl::run(Command::new("openssl").arg("rehash").arg(&folder));
    let server = upstream(&certs.server());
    let lines = format!("CApath = {}\nverifyChain = yes\n", folder.display());
    accepted(&client_mode(&server, &lines));
}

#[test]
fn an_authority_whose_link_in_the_jail_is_removed_is_trusted_no_more() {
    require!(root);
    require!(program "openssl");
    let certs = Certs::new();
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    let folder = jail.join("authorities");
    fs::create_dir_all(&folder).expect("mkdir");
    fs::copy(certs.ca(), folder.join("one.pem")).expect("copying");
    openssl::run(Command::new("openssl").arg("rehash").arg(&folder));
    let server = upstream(&certs.server());
    let adit = plan
        .global(format!("chroot = {}", jail.display()))
        .global("certWatch = yes")
        .service(
            "test",
            format!(
                "client = yes\n{}CApath = /authorities\nverifyChain = yes\n",
                server.line()
            ),
        )
        .start();
    accepted(&adit);
    let links = fs::read_dir(&folder).expect("the folder").flatten();
    for link in links.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
        fs::remove_file(link.path()).expect("removing");
    }
    let remedy = format!("openssl rehash {}", folder.display());
    adit.wait_for_log(&remedy);
    adit.wait_for_log("Configuration reloaded");
    refused(&adit, "unable to get local issuer certificate");
}

/// Shell functions: `root KEY NAME` makes a root, `sign KEY NAME BY EXTENSIONS FILE` a certificate
/// signed by BY.key. A missing key is made.
const AUTHORITY: &str = r#"
cd "$1"
keyid='subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid'
ca="basicConstraints=critical,CA:TRUE
$keyid"
leaf="subjectAltName=DNS:localhost
$keyid"
request() {
    openssl ecparam -name prime256v1 -genkey -noout -out $1.new
    [ -f $1.key ] || mv $1.new $1.key
    openssl req -new -key $1.key -subj "/CN=$2" -out request
}
root() {
    request $1 "$2"
    echo "$ca" > extensions
    openssl x509 -req -in request -key $1.key -days 99 -extfile extensions -out $1.pem
}
sign() {
    request $1 "$2"
    echo "$4" > extensions
    openssl x509 -req -in request -CA $3.pem -CAkey $3.key -CAcreateserial -days 99 -extfile extensions -out $5.pem
}
"#;

/// The commands make `shown.pem`, `sent.pem` and `trusted.pem`: a server's certificate, what it sends
/// along, and CAfile. Returns adit as that server's client, and the result of `openssl verify`.
fn beside_openssl(commands: &str) -> (Adit, Server, Certs, String) {
    let certs = Certs::new();
    let script = format!("{AUTHORITY}{commands}\ncat shown.pem sent.pem > chain.pem\n");
    let mut shell = Command::new("sh");
    openssl::run(shell.args(["-ec", &script, "sh"]).arg(certs.folder()));
    let verify = Command::new("openssl")
        .args("verify -no-CApath -no-CAstore -purpose sslserver".split(' '))
        .args("-CAfile trusted.pem -untrusted sent.pem shown.pem".split(' '))
        .current_dir(certs.folder())
        .output()
        .expect("openssl");
    let said = [verify.stdout, verify.stderr].concat();
    let pair = Pair {
        cert: certs.folder().join("chain.pem"),
        key: certs.folder().join("shown.key"),
    };
    let server = upstream(&pair);
    let trusted = certs.folder().join("trusted.pem");
    let lines = format!("CAfile = {}\nverifyChain = yes\n", trusted.display());
    let adit = client_mode(&server, &lines);
    let said = String::from_utf8_lossy(&said).into_owned();
    (adit, server, certs, said)
}

/// The root is rejected, and another, trusted authority vouches for its key.
#[test]
fn a_root_that_is_rejected_does_not_come_back_by_another_authority() {
    require!(program "openssl");
    let chain = "root root Root; root other Other
        sign root Root other \"$ca\" sent
        sign shown localhost root \"$leaf\" shown
        openssl x509 -in root.pem -trustout";
    for (settings, good) in [
        ("-addreject serverAuth", false),
        ("-addreject anyExtendedKeyUsage", false),
        ("-addtrust clientAuth", false),
        ("-addreject clientAuth", true),
    ] {
        let commands = format!("{chain} {settings} > trusted.pem\ncat other.pem >> trusted.pem");
        let (adit, _server, _certs, said) = beside_openssl(&commands);
        if good {
            assert!(said.contains("shown.pem: OK"), "{settings} {said}");
            accepted(&adit);
        } else {
            assert!(said.contains("error 28 at 1 depth"), "{settings} {said}");
            refused(&adit, "certificate verify failed");
            adit.wait_for_log("certificate rejected");
        }
    }
}

/// An authority's new key, signed by its old one, is no root.
#[test]
fn a_link_to_a_root_that_is_not_there_ends_no_path() {
    require!(program "openssl");
    let chain = "root old Authority
        sign link Authority old \"$ca\" link; cp link.pem sent.pem
        sign shown localhost link \"$leaf\" shown";
    let (adit, _server, _certs, said) =
        beside_openssl(&format!("{chain}\ncat link.pem > trusted.pem"));
    assert!(said.contains("error 2 at 1 depth"), "{said}");
    refused(&adit, "certificate verify failed");
    let (adit, _server, _certs, said) =
        beside_openssl(&format!("{chain}\ncat link.pem old.pem > trusted.pem"));
    assert!(said.contains("shown.pem: OK"), "{said}");
    accepted(&adit);
}

fn server_mode(certs: &Certs, upstream: &Server, lines: &str) -> Adit {
    Adit::serve(format!(
        "{}{}{lines}",
        upstream.line(),
        certs.server().lines()
    ))
}

/// A client's outcome: in TLS 1.3 it learns of a refusal only when it reads.
fn client(adit: &Adit, certs: &Certs, pair: Option<&Pair>) -> std::io::Result<()> {
    let config = tls::client_config(&certs.ca(), tls::BOTH, pair);
    let mut stream = tls::start_client(config, peers::connect(adit.address("test")))?;
    std::io::Write::write_all(&mut stream, b"hello")?;
    let mut answer = [0; 5];
    std::io::Read::read_exact(&mut stream, &mut answer)
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, &(certs.ca_line() + "verify = 2\n"));
    client(&adit, &certs, None).expect_err("no certificate, no service");
    adit.wait_for_log("peer did not return a certificate");
    assert_eq!(upstream.connections(), 0);
    client(&adit, &certs, Some(&certs.client())).expect("a client of the authority");
}

#[test]
fn a_client_of_another_authority_is_refused() {
    let (certs, others) = (Certs::new(), Certs::named("somebody else"));
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, &(certs.ca_line() + "verify = 2\n"));
    client(&adit, &certs, Some(&others.client())).expect_err("somebody else's client");
    adit.wait_for_log("certificate verify failed");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn verify_1_takes_a_client_with_or_without_a_certificate_but_none_that_is_wrong() {
    let (certs, others) = (Certs::new(), Certs::named("somebody else"));
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, &(certs.ca_line() + "verify = 1\n"));
    client(&adit, &certs, None).expect("none is needed");
    client(&adit, &certs, Some(&certs.client())).expect("a good one");
    client(&adit, &certs, Some(&others.client())).expect_err("a wrong one");
}

#[test]
fn a_client_that_is_locally_installed_is_known_by_its_certificate() {
    let certs = Certs::new();
    let known = certs.client();
    let upstream = Server::echo();
    let lines = format!(
        "CAfile = {}\nverifyPeer = yes\nrequireCert = yes\n",
        known.cert.display()
    );
    let adit = server_mode(&certs, &upstream, &lines);
    client(&adit, &certs, Some(&known)).expect("the known one");
    let unknown = certs.issue(
        "unknown",
        Wish {
            name: "client",
            ..Wish::default()
        },
    );
    client(&adit, &certs, Some(&unknown)).expect_err("not the known one");
    adit.wait_for_log("CERT: Certificate not found in local repository");
}

#[test]
fn adit_shows_its_own_certificate_to_a_server_that_asks() {
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, Some(&certs.ca()));
    let server = tls::server(config, |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let lines = certs.ca_line() + "verifyChain = yes\n" + &certs.client().lines();
    accepted(&client_mode(&server, &lines));
}

#[test]
fn the_phrases_of_failure_stand_in_no_other_line() {
    let certs = Certs::new();
    let server = upstream(&certs.server());
    let adit = client_mode(&server, &(certs.ca_line() + "verifyChain = yes\n"));
    accepted(&adit);
    adit.wait_for_log("Service [test] finished (0 left)");
    let log = adit.log();
    for phrase in [
        "certificate verify failed",
        "peer did not return a certificate",
        "bad certificate",
        "unsupported protocol",
        "Redirecting connection",
        "previous session reused",
    ] {
        assert!(
            !log.contains(phrase),
            "{phrase:?} in a log where nothing failed"
        );
    }
}

#[test]
fn clients_are_told_which_authorities_are_trusted_unless_options_says_no() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    for (options, told) in [("", true), ("options = DISABLE_TLSEXT_CA_NAMES\n", false)] {
        let lines = certs.ca_line() + "verifyChain = yes\n" + options;
        let adit = server_mode(&certs, &upstream, &lines);
        let said = openssl::s_client(adit.address("test"), &["-tls1_3"], "");
        let names = said.contains("Acceptable client certificate CA names");
        assert_eq!(names, told, "{said}");
    }
}
