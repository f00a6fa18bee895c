//! What a responder says about a server's own certificate is fetched beside all connections, and stapled.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::authority::{Authority, Says};
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::openssl::{self, Tool, s_client};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// A certificate that names this responder, with its issuer behind it.
fn chained(certs: &Certs, name: &str, url: &str) -> Pair {
    let wish = Wish {
        name,
        responder: Some(url),
        ..Wish::default()
    };
    certs.chained(certs.issue(name, wish))
}

/// What `openssl s_client` says of the response; by then its handshake is done.
#[track_caller]
pub fn stapled(address: SocketAddr, arguments: &[&str]) -> String {
    s_client(address, &[&["-status"], arguments].concat(), "")
}

pub const GOOD: &str = "Cert Status: good";
const REVOKED: &str = "Cert Status: revoked";
pub const NONE: &str = "OCSP response: no response sent";

/// An authority with its responder, a server's certificate that names it, and what is behind the server.
pub struct Scene {
    pub certs: Arc<Certs>,
    pub authority: Authority,
    pair: Pair,
    pub behind: Server,
}

impl Scene {
    pub fn of(says: Says) -> Scene {
        let certs = Arc::new(Certs::new());
        let authority = Authority::start(&certs, says);
        let pair = chained(&certs, "served", &authority.url());
        Scene {
            certs,
            authority,
            pair,
            behind: Server::echo(),
        }
    }

    fn plan(&self, lines: &str) -> Plan {
        plan(&self.pair, &self.behind, lines)
    }
}

/// Waits until that is what clients see.
#[track_caller]
fn wait_until_stapled(adit: &Adit, service: &str, arguments: &[&str], what: &str) {
    let address = adit.address(service);
    wait_for(what, || {
        stapled(address, arguments).contains(what).then_some(())
    });
}

/// One service in front of an echo, with a control socket.
pub fn plan(pair: &Pair, behind: &Server, lines: &str) -> Plan {
    let plan = Plan::new();
    let control = plan.folder().join("control");
    plan.global(format!("control = {}", control.display()))
        .service("test", format!("{}{}{lines}", behind.line(), pair.lines()))
}

fn ocsp(adit: &Adit) -> serde_json::Value {
    let status = adit.status();
    let generations = status["generations"].as_array().expect("generations");
    let serving = generations.last().expect("one");
    serving["services"][0]["ocsp"].clone()
}

/// OpenSSL's own responder, by an index in which the certificate with serial number 0x11 is good.
fn openssls_responder(certs: &Certs) -> (Tool, String) {
    certs.write_key();
    let index = certs.folder().join("index");
    let line = "V\t491231235959Z\t\t11\tunknown\t/CN=good\n";
    std::fs::write(&index, line).expect("writing");
    let tool = Tool::start(
        Command::new("openssl")
            .args(["ocsp", "-nmin", "5", "-port", "0", "-index"])
            .arg(&index)
            .arg("-CA")
            .arg(certs.ca())
            .arg("-rsigner")
            .arg(certs.ca())
            .arg("-rkey")
            .arg(certs.folder().join("ca.key")),
    );
    tool.wait_for("waiting for OCSP client connections");
    // ACCEPT [::]:45219 PID=7801
    let said = tool.wait_for(" PID=");
    let (accepts, _) = said.split_once(" PID=").expect("it is there");
    let port = accepts.rsplit(':').next().expect("a port");
    (tool, format!("http://localhost:{port}/"))
}

#[test]
fn openssl_gnutls_and_curl_see_what_openssls_responder_says() {
    require!(adit);
    require!(program "openssl");
    require!(program "curl");
    require!(program "gnutls-cli");
    let certs = Certs::new();
    let (_responder, url) = openssls_responder(&certs);
    let wish = Wish {
        serial: 0x11,
        responder: Some(&url),
        ..Wish::default()
    };
    let pair = certs.chained(certs.issue("good", wish));
    let http = Server::start(|mut stream: TcpStream| {
        let mut heard = [0; 2048];
        if stream.read(&mut heard).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhere\n");
        }
    });
    let adit = plan(&pair, &http, "").start();
    for version in ["-tls1_2", "-tls1_3"] {
        wait_until_stapled(&adit, "test", &[version], GOOD);
    }
    let address = adit.address("test");
    let said = openssl::run(
        Command::new("curl")
            .args(["-sS", "--cert-status", "--cacert"])
            .arg(certs.ca())
            .arg(format!("https://{address}/")),
    );
    assert_eq!(String::from_utf8_lossy(&said.stdout), "here\n");
    let mut gnutls = Tool::start(
        Command::new("gnutls-cli")
            .args(["--verify-hostname=localhost", "--x509cafile"])
            .arg(certs.ca())
            .args(["-p", &address.port().to_string(), "127.0.0.1"]),
    );
    gnutls.wait_for("Handshake was completed");
    let said = gnutls.said();
    gnutls.end_input();
    assert!(said.contains("OCSP status request"), "{said}");
    assert_eq!(ocsp(&adit)["status"], "good");
}

#[test]
fn a_client_that_verifies_accepts_what_is_good_and_rejects_what_is_revoked() {
    require!(adit);
    let scene = Scene::of(Says::Good(3600));
    for (says, phrase) in [
        (Says::Good(3600), "OCSP: Accepted (good)"),
        (Says::Revoked(3600), "OCSP: Rejected (revoked)"),
    ] {
        scene.authority.says(says.clone());
        let server = scene.plan("").start();
        let expected = if says == Says::Good(3600) {
            GOOD
        } else {
            REVOKED
        };
        wait_until_stapled(&server, "test", &[], expected);
        // It asks for that without any option, as stunnel does.
        let client = Adit::serve(format!(
            "client = yes\nconnect = {}\n{}verifyChain = yes\n",
            server.address("test"),
            scene.certs.ca_line()
        ));
        let _ = client.connect("test").write_all(b"x");
        client.wait_for_log(phrase);
    }
}

#[test]
fn a_revoked_certificate_is_told_of_loudly() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Revoked(3600));
    let adit = scene.plan("").start();
    let line = adit.wait_for_log("OCSP: its certificate is REVOKED since");
    assert!(
        line.contains("LOG3") && line.contains("keyCompromise"),
        "{line}"
    );
    for version in ["-tls1_2", "-tls1_3"] {
        wait_until_stapled(&adit, "test", &[version], REVOKED);
    }
    let seen = ocsp(&adit);
    assert_eq!(
        (&seen["status"], &seen["failures"]),
        (&"revoked".into(), &0.into())
    );
}

#[test]
fn what_dead_and_lying_responders_say_is_not_stapled() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let behind = Server::echo();
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = format!("http://{}/", unused.local_addr().expect("its address"));
    drop(unused);
    let adit = plan(&chained(&certs, "dead", &dead), &behind, "").start();
    let line = adit.wait_for_log("OCSP: no response to staple: ");
    assert!(
        line.contains("LOG4") && line.contains("Connection refused (111)"),
        "{line}"
    );
    assert!(line.contains("another try in 2 s"), "{line}");
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
    drop(adit);
    // By another authority of the same name.
    let liar = Authority::start(&Arc::new(Certs::new()), Says::Good(3600));
    let adit = plan(&chained(&certs, "lied", &liar.url()), &behind, "").start();
    adit.wait_for_log("OCSP_basic_verify: signature failure");
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
}

#[test]
fn a_silent_responder_is_in_no_handshakes_way_and_is_asked_again() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Nothing);
    let authority = &scene.authority;
    let adit = scene.plan("TIMEOUTocsp = 60\n").start();
    wait_for("the question", || (authority.asked() == 1).then_some(()));
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
    assert_eq!(adit.count_in_log("no response to staple"), 0);
    drop(adit);
    let adit = scene.plan("TIMEOUTocsp = 1\n").start();
    adit.wait_for_log("TIMEOUTocsp exceeded");
    authority.says(Says::Forged);
    adit.wait_for_log("OCSP_basic_verify: signature failure");
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
    let seen = ocsp(&adit);
    assert_eq!(seen["status"], "waiting");
    assert!(seen["failures"].as_u64() >= Some(2), "{seen}");
    authority.says(Says::GoodForNow);
    wait_until_stapled(&adit, "test", &[], GOOD);
    assert_eq!(ocsp(&adit)["failures"], 0);
}

#[test]
fn garbage_is_not_stapled() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Bytes(b"garbage".to_vec()));
    let (authority, adit) = (&scene.authority, scene.plan("").start());
    adit.wait_for_log("OCSP: No OCSP response");
    authority.says(Says::Bytes(vec![0x30; 60_000]));
    adit.wait_for_log("the response has 60000 bytes");
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
}

#[test]
fn it_is_renewed_at_half_its_time_and_never_stapled_beyond_its_end() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Good(8));
    let (authority, adit) = (&scene.authority, scene.plan("").start());
    wait_until_stapled(&adit, "test", &[], GOOD);
    authority.says(Says::Revoked(6));
    // The next answer takes its place before its end: at no time there is none.
    let address = adit.address("test");
    wait_for("the next answer", || {
        let said = stapled(address, &[]);
        assert!(said.contains(GOOD) || said.contains(REVOKED), "{said}");
        said.contains(REVOKED).then_some(())
    });
    authority.says(Says::Bytes(Vec::new()));
    wait_until_stapled(&adit, "test", &[], NONE);
    adit.wait_for_log("OCSP: no response to staple: ");
}

#[test]
fn what_is_known_outlives_a_reload_a_worker_and_a_new_binary() {
    require!(adit);
    require!(root);
    require!(program "openssl");
    let scene = Scene::of(Says::Good(3600));
    let (authority, plan) = (&scene.authority, scene.plan(""));
    let path = plan.folder().join("adit");
    std::fs::copy(crate::support::adit::program(), &path).expect("copy");
    let adit = plan.global("workers = 2").program(&path).start();
    wait_until_stapled(&adit, "test", &[], GOOD);
    authority.says(Says::Nothing);
    let address = adit.address("test");
    adit.reload(1);
    assert!(stapled(address, &[]).contains(GOOD));
    for worker in proc::roles(adit.pid()).workers {
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("killing");
        wait_for("another worker", || {
            let workers = proc::roles(adit.pid()).workers;
            (workers.len() == 2 && !workers.contains(&worker)).then_some(())
        });
        assert!(stapled(address, &[]).contains(GOOD));
    }
    let master = proc::roles(adit.pid()).master;
    kill(Pid::from_raw(master), Signal::SIGKILL).expect("killing");
    wait_for("another master", || {
        let roles = proc::roles(adit.pid());
        (roles.master != master && roles.workers.len() == 2).then_some(())
    });
    assert!(stapled(address, &[]).contains(GOOD));
    assert_eq!(ocsp(&adit)["status"], "good");
    crate::upgrade::next_version(&path);
    adit.reload(1);
    assert!(stapled(adit.address("test"), &[]).contains(GOOD));
    assert_eq!(ocsp(&adit)["status"], "good");
    assert_eq!(authority.asked(), 1);
}

#[test]
fn another_worker_asks_when_the_one_that_asked_has_died() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Nothing);
    let authority = &scene.authority;
    let adit = scene
        .plan("TIMEOUTocsp = 1\n")
        .global("workers = 2")
        .start();
    wait_for("a question", || (authority.asked() > 0).then_some(()));
    authority.says(Says::Good(3600));
    for worker in proc::roles(adit.pid()).workers {
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("killing");
    }
    wait_until_stapled(&adit, "test", &[], GOOD);
}

#[test]
fn it_is_stapled_from_the_jail() {
    require!(adit);
    require!(root);
    require!(program "openssl");
    let scene = Scene::of(Says::Good(3600));
    let plan = scene.plan("");
    let jail = plan.folder().join("jail");
    std::fs::create_dir(&jail).expect("a folder");
    let adit = plan
        .global(format!(
            "chroot = {}\nsetuid = nobody\nsetgid = nogroup",
            jail.display()
        ))
        .start();
    wait_until_stapled(&adit, "test", &[], GOOD);
    let worker = proc::roles(adit.pid()).workers[0];
    assert_eq!(proc::root(worker), jail);
}

#[test]
fn each_name_staples_what_is_said_of_its_own_certificate() {
    require!(adit);
    require!(program "openssl");
    let certs = Arc::new(Certs::new());
    let [first, second] =
        [Says::Good(3600), Says::Revoked(3600)].map(|says| Authority::start(&certs, says));
    let behind = Server::echo();
    let service = |name: &str, url: &str, lines: &str| {
        let pair = chained(&certs, name, url);
        format!("{}{}{lines}", behind.line(), pair.lines())
    };
    let adit = Plan::new()
        .service("first", service("first", &first.url(), ""))
        .service(
            "host",
            service("host", &second.url(), "sni = first:host.test\n"),
        )
        // With none of its own.
        .service(
            "plain",
            format!(
                "sni = first:plain.test\n{}{}",
                behind.line(),
                certs.server().lines()
            ),
        )
        .start();
    wait_until_stapled(&adit, "first", &["-servername", "other.test"], GOOD);
    wait_until_stapled(&adit, "first", &["-servername", "host.test"], REVOKED);
    let address = adit.address("first");
    assert!(stapled(address, &["-servername", "plain.test"]).contains(NONE));
}

#[test]
fn old_tls_staples_too_and_renews() {
    require!(adit);
    require!(program "openssl");
    let certs = Arc::new(Certs::new());
    let authority = Authority::start(&certs, Says::Good(8));
    let wish = Wish {
        responder: Some(&authority.url()),
        kind: Kind::Rsa,
        ..Wish::default()
    };
    let pair = certs.chained(certs.issue("old", wish));
    let behind = Server::echo();
    let adit = plan(&pair, &behind, "sslVersionMin = TLSv1\n").start();
    for version in ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"] {
        let arguments = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
        wait_until_stapled(&adit, "test", &arguments, GOOD);
    }
    authority.says(Says::Revoked(3600));
    wait_until_stapled(&adit, "test", &["-tls1_2"], REVOKED);
    assert_eq!(ocsp(&adit)["status"], "revoked");
}

#[test]
fn the_fetcher_is_there_for_certificates_that_name_a_responder() {
    require!(adit);
    require!(program "openssl");
    let certs = Arc::new(Certs::new());
    let authority = Authority::start(&certs, Says::Good(3600));
    let behind = Server::echo();
    let (plain, named) = (certs.server(), chained(&certs, "named", &authority.url()));
    let adit = plan(&plain, &behind, "").start();
    let mut stream = tls::connect(
        tls::client_config(&certs.ca(), tls::BOTH, None),
        adit.address("test"),
    );
    peers::says_and_hears(&mut stream, "a byte");
    let fetcher = || {
        let below = proc::children(adit.pid());
        below
            .into_iter()
            .find(|&pid| proc::title(pid) == "adit: fetcher")
    };
    assert_eq!(fetcher(), None, "nothing asks it");
    adit.rewrite(|text| text.replace(&plain.lines(), &named.lines()));
    adit.reload(1);
    let first = wait_for("the fetcher", fetcher);
    wait_until_stapled(&adit, "test", &[], GOOD);
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("killing");
    wait_for("another fetcher", || fetcher().filter(|pid| *pid != first));
    assert!(stapled(adit.address("test"), &[]).contains(GOOD));
    adit.rewrite(|text| text.replace(&named.lines(), &plain.lines()));
    adit.reload(1);
    wait_for("no fetcher", || fetcher().is_none().then_some(()));
}

#[test]
fn a_certificate_that_cannot_be_stapled_to_is_told_of() {
    require!(adit);
    let certs = Certs::new();
    let behind = Server::echo();
    for (responder, must_staple, phrases) in [
        (
            None,
            true,
            &["warning: ", "must-staple", "names no responder"][..],
        ),
        (
            Some("http://a/"),
            true,
            &["warning: ", "this certificate demands one"],
        ),
        (
            Some("http://a/"),
            false,
            &["note: ", "the certificate of its issuer is not at hand"],
        ),
    ] {
        let wish = Wish {
            responder,
            must_staple,
            ..Wish::default()
        };
        let pair = certs.issue("alone", wish);
        let plan = plan(&pair, &behind, "");
        let file = plan.file().display().to_string();
        let outcome = plan.arguments(&["check", &file]).run();
        outcome.exits(0).says(phrases);
    }
}
