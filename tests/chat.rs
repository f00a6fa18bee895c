//! `protocol = xmpp` and `xmpp-server` with prosody and sendxmpp, and `irc` with InspIRCd.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::daemon::Daemon;
use crate::support::dialogue::Lines;
use crate::support::openssl::Tool;
use crate::support::peers;
use crate::support::{Adit, Certs, Plan, apart, own_loopback, tls, wait_for};

const DOMAIN: &str = "chat.test";
const USER: &str = "anna";
const PASSWORD: &str = "geheim";

fn start(lines: String) -> Adit {
    Plan::new().service("test", lines).start()
}

fn client_mode(protocol: &str, server: SocketAddr, certs: &Certs) -> Adit {
    start(format!(
        "client = yes\nprotocol = {protocol}\nconnect = {server}\n{}verifyChain = yes\n",
        certs.ca_line()
    ))
}

fn server_mode(protocol: &str, server: SocketAddr, certs: &Certs) -> Adit {
    start(format!(
        "protocol = {protocol}\nconnect = {server}\n{}",
        certs.server().lines()
    ))
}

/// An XMPP server with one account.
struct Prosody {
    ip: Ipv4Addr,
    folder: TempDir,
    _daemon: Daemon,
}

impl Prosody {
    /// `insists`: it takes no login and no server without TLS; it always offers that.
    fn start(certs: &Certs, insists: bool) -> Prosody {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        let ip = own_loopback();
        let pair = certs.server();
        let accounts = here.join("data/chat%2etest/accounts");
        fs::create_dir_all(&accounts).expect("mkdir");
        let account = format!("return {{ [\"password\"] = \"{PASSWORD}\"; }};");
        fs::write(accounts.join(format!("{USER}.dat")), account).expect("writing");
        let text = format!(
            "run_as_root = true\ndaemonize = false\npidfile = \"{here}/pid\"\ndata_path = \"{here}/data\"\n\
             log = {{ info = \"*console\" }}\ninterfaces = {{ \"{ip}\" }}\nmodules_enabled = {{ \"roster\", \"saslauth\", \
             \"tls\", \"dialback\", \"offline\" }}\nc2s_require_encryption = {insists}\n\
             s2s_require_encryption = {insists}\nallow_unencrypted_plain_auth = true\n\
             authentication = \"internal_plain\"\nstorage = \"internal\"\nVirtualHost \"{DOMAIN}\"\n\
             ssl = {{ key = \"{key}\", certificate = \"{cert}\" }}\n",
            here = here.display(),
            key = pair.key.display(),
            cert = pair.cert.display(),
        );
        let conf = here.join("prosody.cfg.lua");
        fs::write(&conf, text).expect("writing");
        let mut command = Command::new("prosody");
        command.arg("--config").arg(conf);
        let daemon = Daemon::start("prosody", &mut command, here, (ip, 5222).into());
        // For servers it listens a moment later.
        wait_for("prosody's port for servers", || {
            TcpStream::connect((ip, 5269)).ok().map(drop)
        });
        Prosody {
            ip,
            folder,
            _daemon: daemon,
        }
    }

    fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Sends a message to the account, which is not there and gets it later.
    fn delivers_by(&self, adit: SocketAddr, more: &[&str]) {
        let mut sending = Tool::start(
            Command::new("sendxmpp")
                .args(["-u", USER, "-p", PASSWORD, "-o", DOMAIN, "-j"])
                .arg(adit.to_string())
                .args(more)
                .arg(format!("{USER}@{DOMAIN}"))
                .env("HOME", self.folder.path()),
        );
        sending.input().write_all(b"hello\n").expect("writing");
        sending.end_input();
        let well = sending.succeeds();
        assert!(well, "{}", sending.said());
        let list = self
            .folder
            .path()
            .join("data/chat%2etest/offline/anna.list");
        wait_for("the message", || {
            fs::read_to_string(&list)
                .ok()
                .filter(|list| list.contains("hello"))
        });
    }
}

/// Reads until this was said.
fn hears(stream: &mut impl Read, phrase: &str) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(phrase.as_bytes()) {
        let read = stream.read(&mut byte);
        assert!(
            read.is_ok_and(|count| count == 1),
            "the end, and no {phrase:?}: {}",
            String::from_utf8_lossy(&said)
        );
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn header(kind: &str, from: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}'{from} xmlns='jabber:{kind}' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
    )
}

const FEATURES: &str = "</stream:features>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

macro_rules! require_prosody {
    () => {
        require!(adit);
        require!(root);
        require!(program "prosody");
    };
}

#[test]
fn a_plain_xmpp_program_reaches_prosody_by_starttls() {
    require_prosody!();
    require!(program "sendxmpp");
    let certs = Certs::new();
    let prosody = Prosody::start(&certs, true);
    let adit = client_mode("xmpp", prosody.at(5222), &certs);
    prosody.delivers_by(adit.address("test"), &[]);
    adit.wait_for_log("TLS connected: new session negotiated");
    // One stream, in which TLS is not offered.
    let mut client = adit.connect("test");
    client
        .write_all(header("client", "").as_bytes())
        .expect("sending");
    let said = hears(&mut client, FEATURES);
    assert!(
        said.contains("PLAIN") && !said.contains("starttls"),
        "{said}"
    );
    assert_eq!(said.matches("<stream:stream").count(), 1, "{said}");
    // A server that has no TLS for it.
    let mut client = adit.connect("test");
    let unknown = header("client", "").replace(DOMAIN, "other.test");
    client.write_all(unknown.as_bytes()).expect("sending");
    let said = hears(&mut client, "</stream:stream>");
    assert!(said.contains("<remote-connection-failed"), "{said}");
    adit.wait_for_log("the xmpp server ended the stream: host-unknown");
}

#[test]
fn xmpp_programs_speak_starttls_in_front_of_a_prosody_that_offers_it_too() {
    require_prosody!();
    require!(program "sendxmpp");
    let certs = Certs::new();
    let prosody = Prosody::start(&certs, false);
    // It does.
    let mut client = peers::connect(prosody.at(5222));
    client
        .write_all(header("client", "").as_bytes())
        .expect("sending");
    assert!(hears(&mut client, FEATURES).contains("starttls"));
    let adit = server_mode("xmpp", prosody.at(5222), &certs);
    prosody.delivers_by(adit.address("test"), &["-t", "-n"]);
    adit.wait_for_log("TLS accepted: new session negotiated");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for at_once in [false, true] {
        let mut client = adit.connect("test");
        if !at_once {
            client
                .write_all(header("client", "").as_bytes())
                .expect("sending");
            assert!(hears(&mut client, FEATURES).contains("<required/>"));
            client.write_all(STARTTLS.as_bytes()).expect("sending");
            hears(
                &mut client,
                "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            );
        }
        let mut client = tls::start_client(config.clone(), client).expect("a handshake");
        client
            .write_all(header("client", "").as_bytes())
            .expect("sending");
        let said = hears(&mut client, FEATURES);
        assert!(
            said.contains("PLAIN") && !said.contains("starttls"),
            "{said}"
        );
    }
    // A login without TLS reaches no server.
    let mut client = adit.connect("test");
    client
        .write_all(header("client", "").as_bytes())
        .expect("sending");
    hears(&mut client, FEATURES);
    client
        .write_all(b"<auth mechanism='PLAIN'>")
        .expect("sending");
    assert!(hears(&mut client, "</stream:stream>").contains("<policy-violation"));
    adit.wait_for_log("STARTTLS expected: the xmpp client goes on without STARTTLS");
}

#[test]
fn xmpp_servers_reach_each_other_by_starttls() {
    require_prosody!();
    let certs = Certs::new();
    let from = " from='other.test' xmlns:db='jabber:server:dialback'";
    for insists in [true, false] {
        let prosody = Prosody::start(&certs, insists);
        let said = if insists {
            let adit = client_mode("xmpp-server", prosody.at(5269), &certs);
            let mut server = adit.connect("test");
            server
                .write_all(header("server", from).as_bytes())
                .expect("sending");
            let said = hears(&mut server, FEATURES);
            adit.wait_for_log("TLS connected: new session negotiated");
            said
        } else {
            let adit = server_mode("xmpp-server", prosody.at(5269), &certs);
            let mut server = adit.connect("test");
            server
                .write_all(header("server", from).as_bytes())
                .expect("sending");
            hears(&mut server, FEATURES);
            server.write_all(STARTTLS.as_bytes()).expect("sending");
            hears(
                &mut server,
                "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            );
            let config = tls::client_config(&certs.ca(), tls::BOTH, None);
            let mut server = tls::start_client(config, server).expect("a handshake");
            server
                .write_all(header("server", from).as_bytes())
                .expect("sending");
            hears(&mut server, FEATURES)
        };
        assert!(
            said.contains("dialback") && !said.contains("starttls"),
            "{said}"
        );
        assert!(said.contains("jabber:server"), "{said}");
    }
}

/// InspIRCd, with STARTTLS.
fn inspircd(certs: &Certs) -> (Daemon, SocketAddr, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().display();
    let address = SocketAddr::from((own_loopback(), 6667));
    let pair = certs.server();
    let text = format!(
        "<server name=\"irc.test\" description=\"x\" network=\"Test\">\n<admin name=\"x\" nick=\"x\" email=\"x@x\">\n\
         <bind address=\"{}\" port=\"6667\" type=\"clients\">\n\
         <path moduledir=\"{}\" datadir=\"{here}\" logdir=\"{here}\" runtimedir=\"{here}\">\n\
         <module name=\"cap\">\n<module name=\"ssl_gnutls\">\n<module name=\"starttls\">\n\
         <sslprofile name=\"Clients\" provider=\"gnutls\" certfile=\"{}\" keyfile=\"{}\" hash=\"sha256\">\n\
         <starttls sslprofile=\"Clients\">\n\
         <connect name=\"main\" allow=\"*\" timeout=\"60\" pingfreq=\"120\" resolvehostnames=\"no\" useident=\"no\">\n",
        address.ip(),
        apart::file("usr/lib/inspircd/modules").display(),
        pair.cert.display(),
        pair.key.display(),
    );
    let conf = folder.path().join("inspircd.conf");
    fs::write(&conf, text).expect("writing");
    let mut command = Command::new(apart::program("inspircd").expect("asked for before"));
    // It dies of SIGSEGV when it is ended, and leaves its core where it stands.
    command
        .args(["--nofork", "--nopid", "--runasroot", "--config"])
        .arg(conf)
        .current_dir(folder.path());
    let daemon = Daemon::start("inspircd", &mut command, folder.path(), address);
    (daemon, address, folder)
}

/// Registers, and leaves.
fn chats<S: Read + Write>(client: &mut Lines<S>) {
    client.send("CAP LS\r\nNICK anna\r\nUSER anna 0 * :Anna\r\nCAP END\r\n");
    client.expect(":irc.test 001 anna");
    client.ask("QUIT", "ERROR");
}

#[test]
fn irc_programs_reach_inspircd_by_starttls_and_speak_it_in_front() {
    require!(adit);
    require!(root);
    require!(
        apart::program("inspircd").is_some(),
        "inspircd is not unpacked; tests/run does it"
    );
    let certs = Certs::new();
    let (_daemon, address, _folder) = inspircd(&certs);
    let adit = client_mode("irc", address, &certs);
    chats(&mut Lines(adit.connect("test")));
    adit.wait_for_log("TLS connected: new session negotiated");
    let adit = server_mode("irc", address, &certs);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for at_once in [false, true] {
        let mut client = Lines(adit.connect("test"));
        if !at_once {
            client.ask("CAP LS 302", ":adit CAP * LS :tls");
            client.ask("NICK anna", ":adit 451 *");
            client.ask("STARTTLS", ":adit 670 *");
        }
        chats(&mut Lines(
            tls::start_client(config.clone(), client.0).expect("a handshake"),
        ));
    }
    let mut client = Lines(adit.connect("test"));
    client.ask("QUIT", "ERROR :Closing link");
    assert_eq!(client.rest(), "");
}
