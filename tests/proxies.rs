//! `protocol = connect`: through squid and tinyproxy, with and without a login.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::daemon::Daemon;
use crate::support::openssl::run;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, apart, installed, own_loopback, tls};

const NAME: &str = "office";
const PASSWORD: &str = "correct horse";
const DOMAIN: &str = "OFFICE";

/// The user whose rights the proxies take.
const NOBODY: u32 = 65534;

struct Proxy {
    address: SocketAddr,
    _daemon: Daemon,
    _folder: TempDir,
}

/// A folder that the proxies, which are nobody, may write to.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    chown(folder.path(), Some(NOBODY), None).expect("chown");
    folder
}

/// A login by its name and a hash of its password.
fn basic(folder: &Path) -> String {
    let hash = run(Command::new("openssl").args(["passwd", "-apr1", PASSWORD]));
    let hash = String::from_utf8_lossy(&hash.stdout).into_owned();
    let passwords = folder.join("passwords");
    fs::write(&passwords, format!("{NAME}:{hash}")).expect("writing");
    let helper = apart::file("usr/lib/squid/basic_ncsa_auth");
    format!(
        "auth_param basic program {} {}\n",
        helper.display(),
        passwords.display()
    )
}

/// A login by NTLM, which samba judges.
fn ntlm() -> String {
    let helper = installed("ntlm_auth").expect("asked for before");
    format!(
        "auth_param ntlm program {} --helper-protocol=squid-2.5-ntlmssp --username={NAME} --domain={DOMAIN} \
         --password={}\nauth_param ntlm children 1 startup=1\n",
        helper.display(),
        one_word(PASSWORD)
    )
}

/// For what has no word for a blank in its configuration.
fn one_word(password: &str) -> String {
    password.replace(' ', "-")
}

fn squid(login: impl FnOnce(&Path) -> String) -> Proxy {
    let folder = folder();
    let address = SocketAddr::from((own_loopback(), 3128));
    let login = login(folder.path());
    let file = |name: &str| apart::file(name).display().to_string();
    let here = folder.path().display();
    let text = format!(
        "http_port {address}\n\
         {login}\
         acl known proxy_auth REQUIRED\n\
         http_access allow known\n\
         http_access deny all\n\
         pid_filename none\n\
         cache_log {here}/cache.log\n\
         access_log none\n\
         cache deny all\n\
         cache_effective_user nobody\n\
         mime_table {mime}\n\
         icon_directory {icons}\n\
         error_directory {errors}\n\
         unlinkd_program {unlinkd}\n\
         coredump_dir {here}\n\
         netdb_filename none\n\
         pinger_enable off\n\
         shutdown_lifetime 0 seconds\n\
         visible_hostname proxy.test\n",
        mime = file("usr/share/squid/mime.conf"),
        icons = file("usr/share/squid/icons"),
        errors = file("usr/share/squid-langpack/en"),
        unlinkd = file("usr/lib/squid/unlinkd"),
    );
    let conf = folder.path().join("squid.conf");
    fs::write(&conf, text).expect("writing");
    let program = apart::program("squid").expect("asked for before");
    // The name tells its shared memory from that of others.
    let name = format!("adit{}", std::process::id());
    let mut command = Command::new(program);
    command.args(["-N", "-n", &name, "-f"]).arg(conf);
    Proxy {
        _daemon: Daemon::start("squid", &mut command, folder.path(), address),
        address,
        _folder: folder,
    }
}

fn tinyproxy() -> Proxy {
    let folder = folder();
    let ip = own_loopback();
    let conf = folder.path().join("tinyproxy.conf");
    let text = format!(
        "Port 8888\nListen {ip}\nTimeout 60\nMaxClients 10\nUser nobody\nBasicAuth {NAME} {}\n",
        one_word(PASSWORD)
    );
    fs::write(&conf, text).expect("writing");
    let program = apart::program("tinyproxy").expect("asked for before");
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(conf);
    let address = SocketAddr::from((ip, 8888));
    Proxy {
        _daemon: Daemon::start("tinyproxy", &mut command, folder.path(), address),
        address,
        _folder: folder,
    }
}

/// adit in front of the proxy, which is asked for the server by its name.
fn through(proxy: SocketAddr, server: &Server, certs: &Certs, more: &str) -> Adit {
    Plan::new()
        .service("test", lines(proxy, server, certs, more))
        .start()
}

fn lines(proxy: SocketAddr, server: &Server, certs: &Certs, more: &str) -> String {
    format!(
        "client = yes\nconnect = {proxy}\nprotocol = connect\nprotocolHost = localhost:{}\n\
         {}verifyServer = yes\n{more}",
        server.address.port(),
        certs.ca_line()
    )
}

/// With the right login, a wrong one and none.
fn logs_in(proxy: &Proxy, password: &str, more: &str) {
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::BOTH);
    let login = format!("protocolUsername = {NAME}\nprotocolPassword = {password}\n{more}");
    let adit = through(proxy.address, &server, &certs, &login);
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    adit.wait_for_log("CONNECT request accepted");
    // The certificate is held against the name of the server, not of the proxy.
    adit.wait_for_log("SNI: sending servername: localhost");
    let served = server.connections();
    let wrong = format!("protocolUsername = {NAME}\nprotocolPassword = hunter2\n{more}");
    for (login, phrase) in [
        (
            &wrong[..],
            "the proxy refused protocolUsername and protocolPassword",
        ),
        (
            "",
            "the proxy wants a login: give protocolUsername and protocolPassword",
        ),
    ] {
        let refused = through(proxy.address, &server, &certs, login);
        let _ = peers::read_until_gone(&mut refused.connect("test"));
        refused.wait_for_log(&format!("CONNECT request rejected: {phrase}"));
        assert!(!refused.everything_said().contains("hunter2"));
    }
    assert_eq!(server.connections(), served);
    let said = adit.everything_said();
    assert!(!said.contains(password), "a password in the log");
}

#[test]
fn squid_lets_through_who_logs_in() {
    require!(adit);
    require!(root);
    require!(program "openssl");
    require!(
        apart::program("squid").is_some(),
        "squid is not unpacked; tests/run does it"
    );
    logs_in(&squid(basic), PASSWORD, "");
}

#[test]
fn squid_lets_through_who_logs_in_by_ntlm() {
    require!(adit);
    require!(root);
    require!(program "ntlm_auth");
    require!(
        apart::program("squid").is_some(),
        "squid is not unpacked; tests/run does it"
    );
    let more = format!("protocolAuthentication = ntlm\nprotocolDomain = {DOMAIN}\n");
    logs_in(&squid(|_| ntlm()), &one_word(PASSWORD), &more);
}

#[test]
fn tinyproxy_lets_through_who_logs_in() {
    require!(adit);
    require!(root);
    require!(
        apart::program("tinyproxy").is_some(),
        "tinyproxy is not unpacked; tests/run does it"
    );
    logs_in(&tinyproxy(), &one_word(PASSWORD), "");
}

/// A proxy that gives this answer and then carries; what it was asked is passed on.
fn fake(answer: &'static str, asked: std::sync::mpsc::Sender<String>) -> Server {
    Server::start(move |mut client| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let port = head
            .split(['\r', ' ', ':'])
            .find_map(|word| word.parse::<u16>().ok());
        let _ = asked.send(head);
        let Some(port) = port.filter(|_| answer.contains(" 2")) else {
            let _ = client.write_all(answer.as_bytes());
            return;
        };
        let mut server = peers::connect((Ipv4Addr::LOCALHOST, port).into());
        let _ = client.write_all(answer.as_bytes());
        let (mut back, mut forth) = (
            server.try_clone().expect("dup"),
            client.try_clone().expect("dup"),
        );
        let carrying = std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
        let _ = std::io::copy(&mut client, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
        let _ = carrying.join();
    })
}

#[test]
fn what_the_client_says_at_once_waits_for_the_tunnel() {
    require!(adit);
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::BOTH);
    let (asked, heard) = std::sync::mpsc::channel();
    let proxy = fake("HTTP/1.0 200 Connection established\r\n\r\n", asked);
    let more = "protocolHeader = User-Agent: adit\nprotocolHeader = X-Office: 7\n";
    let adit = through(proxy.address, &server, &certs, more);
    let mut client = adit.connect("test");
    // More than a dialogue keeps of an end that it hears.
    let sending = client.try_clone().expect("dup");
    let total = 1 << 20;
    let sender = std::thread::spawn(move || peers::send_pattern(&mut &sending, total));
    peers::expect_pattern(&mut client, total);
    sender.join().expect("no panic").expect("sending");
    let port = server.address.port();
    assert_eq!(
        heard.recv().expect("a request"),
        format!(
            "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: adit\r\n\
             X-Office: 7\r\n\r\n"
        )
    );
}

#[test]
fn a_proxy_needs_no_name_for_the_server_behind_it_to_be_verified() {
    require!(adit);
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::BOTH);
    let (asked, _heard) = std::sync::mpsc::channel();
    let proxy = fake("HTTP/1.1 200 OK\r\n\r\n", asked);
    let port = format!("connect = {}\n", proxy.address.port());
    let lines = lines(proxy.address, &server, &certs, "");
    let lines = lines.replace(&proxy.line(), &port);
    let adit = Plan::new().service("test", lines).start();
    peers::says_and_hears(&mut adit.connect("test"), "hello");
}

#[test]
fn a_proxy_that_never_answers_costs_timeout_busy() {
    require!(adit);
    let certs = Certs::new();
    let (server, proxy) = (tls::echo_server(&certs, tls::BOTH), Server::silent());
    let adit = through(proxy.address, &server, &certs, "TIMEOUTbusy = 1\n");
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("TIMEOUTbusy exceeded: sending reset");
}

#[test]
fn stunnel_says_the_same_to_a_proxy() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::BOTH);
    let asked = |path: &Path, answer: &'static str| {
        let (asked, heard) = std::sync::mpsc::channel();
        let proxy = fake(answer, asked);
        let more = format!(
            "protocolHeader = X-Office: 7\nprotocolUsername = {NAME}\nprotocolPassword = {PASSWORD}\n"
        );
        // stunnel has no verifyServer.
        let lines = lines(proxy.address, &server, &certs, &more).replace(
            "verifyServer = yes",
            "verifyChain = yes\ncheckHost = localhost",
        );
        let adit = Plan::new().program(path).service("test", lines).start();
        let mut client = adit.connect("test");
        let phrase = match answer.contains(" 2") {
            true => {
                peers::says_and_hears(&mut client, "hello");
                "CONNECT request accepted"
            }
            false => {
                let _ = peers::read_until_gone(&mut client);
                "CONNECT request rejected"
            }
        };
        adit.wait_for_log(phrase);
        // The name of the scheme has no case (RFC 9110, section 11.1).
        heard.recv().expect("a request").replace("basic", "Basic")
    };
    let stunnel = installed("stunnel4").expect("asked for before");
    let adit = crate::support::adit::program();
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    ] {
        assert_eq!(asked(&stunnel, answer), asked(&adit, answer), "{answer}");
    }
}
