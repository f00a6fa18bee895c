//! Configurations as people publish them, with what they are for going through them: the same text and the same
//! programs at its ends, by stunnel and by adit.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::daemon::Daemon;
use crate::support::openssl::{Tool, s_client};
use crate::support::peers::{self, Server};
use crate::support::postgres::{self, Postgres};
use crate::support::{Adit, Certs, Plan, apart, installed, own_loopback, wait_for};

/// Starts both programs, one after the other, with what `text` makes of an address of their own; what goes
/// through each must be `expected`.
#[track_caller]
fn carried(
    text: impl Fn(Ipv4Addr, &Path) -> String,
    talk: impl Fn(&Adit, Ipv4Addr) -> String,
    expected: &str,
) {
    for path in [installed("stunnel4").expect("asked for before"), program()] {
        let plan = Plan::new().program(&path);
        let own = own_loopback();
        let head = format!(
            "foreground = yes\nsyslog = no\ndebug = 7\npid =\noutput = {}\n",
            plan.folder().join("log").display()
        );
        let text = head + &text(own, plan.folder());
        let adit = plan.verbatim(text).start();
        assert_eq!(talk(&adit, own), expected, "{}", path.display());
    }
}

/// Sends hello, reads as much, ends its half, and reads what else comes and how it ends.
fn said(mut client: impl Read + Write, end: impl FnOnce()) -> String {
    client.write_all(b"hello").expect("sending");
    let mut answer = [0; 5];
    if client.read_exact(&mut answer).is_err() {
        return "no answer".to_owned();
    }
    // With `TIMEOUTclose = 0` stunnel waits for no answer after this.
    end();
    let mut heard = String::from_utf8_lossy(&answer).into_owned();
    let end = client.read_to_string(&mut heard);
    format!("{heard}, {}", if end.is_ok() { "end" } else { "cut" })
}

fn echoed(adit: &Adit, service: &str) -> String {
    let client = adit.connect(service);
    let half = client.try_clone().expect("dup");
    said(client, || {
        half.shutdown(Shutdown::Write).expect("its half");
    })
}

#[test]
fn tunnels_with_both_ends_in_one_file() {
    require!(program "stunnel4");
    require!(root);
    let certs = Certs::new();
    let (server, client) = (certs.server(), certs.client());
    let upstream = Server::echo();
    let psk = certs.folder().join("keys");
    fs::write(&psk, "gate:9f2c6b1d7e8a4c5503b1aa0c4d5e6f70\n").expect("writing");
    fs::set_permissions(&psk, PermissionsExt::from_mode(0o600)).expect("chmod");
    let both = certs.folder().join("both");
    let known = certs.folder().join("known");
    for (file, certificates) in [
        (&both, [&server.cert, &client.cert]),
        (&known, [&certs.ca(), &server.cert]),
    ] {
        let certificates = certificates.map(|file| fs::read(file).expect("a file"));
        fs::write(file, certificates.concat()).expect("writing");
    }
    let (ours, theirs) = (server.lines(), client.lines());
    let (to, ca) = (upstream.line(), certs.ca_line());
    let (psk, both, known) = (psk.display(), both.display(), known.display());
    for (name, global, near, far) in [
        (
            "a share of a cloud, by the interface",
            "fips = no\nsocket = l:SO_REUSEADDR=yes\nsocket = a:SO_BINDTODEVICE=lo\n".to_owned(),
            format!(
                "sslVersion = TLSv1.2\nrenegotiation = no\nTIMEOUTbusy = 20\nTIMEOUTclose = 0\nTIMEOUTidle = 70\n\
                 delay = yes\nverify = 2\n{ca}checkHost = localhost\nlibwrap = no\n"
            ),
            format!("{ours}{to}"),
        ),
        (
            "a screen, where each side knows the other's certificate",
            "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n".to_owned(),
            format!("{theirs}CAfile = {both}\nverifyPeer = yes\nTIMEOUTclose = 0\n"),
            format!("{ours}CAfile = {both}\nverifyPeer = yes\nTIMEOUTclose = 0\n{to}"),
        ),
        (
            "a broker's bridge by a pre-shared key",
            String::new(),
            format!("PSKsecrets = {psk}\nPSKidentity = gate\n"),
            format!("PSKsecrets = {psk}\n{to}"),
        ),
        (
            "a database with strict suites",
            "options = NO_SSLv2\noptions = NO_SSLv3\noptions = CIPHER_SERVER_PREFERENCE\n"
                .to_owned(),
            format!(
                "verifyChain = yes\n{ca}checkHost = localhost\nciphersuites = TLS_CHACHA20_POLY1305_SHA256\n"
            ),
            format!("{ours}{to}sslVersionMin = TLSv1.3\ncurves = X25519:P-256\n"),
        ),
        (
            "a second server behind one that is down",
            "TIMEOUTconnect = 5\n".to_owned(),
            format!("sni = localhost\nverify = 2\n{ca}"),
            format!("{ours}connect = 127.0.0.1:1\n{to}failover = prio\n"),
        ),
        (
            "names of old options",
            "; compression = zlib\n".to_owned(),
            format!("verify = 3\nCAfile = {known}\nsessionCacheTimeout = 86400\n"),
            format!("{ours}{to}session = 300\nstack = 65536\nTIMEOUTidle = 43200\n"),
        ),
        (
            "a login shell's environment",
            String::new(),
            format!("verifyChain = yes\n{ca}"),
            format!("{ours}exec = /bin/cat\nexecArgs = cat -u\n"),
        ),
    ] {
        let text = |own: Ipv4Addr, _: &Path| {
            format!(
                "{global}[near]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {own}:4433\n{near}\
                 [far]\naccept = {own}:4433\n{far}"
            )
        };
        println!("{name}");
        carried(text, |adit, _| echoed(adit, "near"), "hello, end");
    }
}

#[test]
fn files_in_a_folder_with_sockets_at_both_ends() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let text = |own: Ipv4Addr, folder: &Path| {
        let parts = folder.join("conf.d");
        fs::create_dir(&parts).expect("mkdir");
        let (near, far) = (folder.join("near.sock"), folder.join("far.sock"));
        let near = format!(
            "[near]\nclient = yes\naccept = {}\nconnect = {own}:3307\nverifyChain = yes\n{ca}checkHost = localhost\n",
            near.display()
        );
        let listener = UnixListener::bind(&far).expect("a socket");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = peers::echo(&mut stream);
        });
        let far = format!(
            "[far]\naccept = {own}:3307\nconnect = {}\n{ours}",
            far.display()
        );
        fs::write(parts.join("10-near.conf"), near).expect("writing");
        fs::write(parts.join("20-far.conf"), far).expect("writing");
        format!("include = {}\n", parts.display())
    };
    let talk = |adit: &Adit, _: Ipv4Addr| {
        let client = UnixStream::connect(adit.plan.folder().join("near.sock")).expect("connecting");
        let half = client.try_clone().expect("dup");
        said(client, || half.shutdown(Shutdown::Write).expect("its half"))
    };
    carried(text, talk, "hello, end");
}

#[test]
fn messages_that_are_never_answered() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let received = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&received);
    let collector = Server::start(move |mut stream| {
        let mut text = String::new();
        if stream.read_to_string(&mut text).is_ok() {
            collected.lock().expect("no panic").push_str(&text);
        }
    });
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let text = |own: Ipv4Addr, _: &Path| {
        format!(
            "[syslog-out]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {own}:6514\nverifyChain = yes\n{ca}\
             [syslog-in]\naccept = {own}:6514\n{}{ours}TIMEOUTidle = 86400\n",
            collector.line()
        )
    };
    let talk = |adit: &Adit, _: Ipv4Addr| {
        let mut client = adit.connect("syslog-out");
        client
            .write_all(b"23 <13>1 - host app - - - a23 <13>1 - host app - - - b")
            .expect("room");
        drop(client);
        wait_for("both messages", || {
            let mut text = received.lock().expect("no panic");
            (!text.is_empty()).then(|| std::mem::take(&mut *text))
        })
    };
    carried(
        text,
        talk,
        "23 <13>1 - host app - - - a23 <13>1 - host app - - - b",
    );
}

#[test]
fn one_port_for_the_web_and_a_private_network() {
    require!(program "stunnel4");
    require!(root);
    require!(program "openssl");
    let certs = Certs::new();
    let [web, vpn] = ["the web\n", "the tunnel\n"].map(Server::greeting);
    let wish = Wish {
        name: "vpn.example.com",
        subjects: &["vpn.example.com"],
        ..Wish::default()
    };
    let (ours, other) = (certs.server().lines(), certs.issue("vpn", wish).lines());
    let text = |own: Ipv4Addr, _: &Path| {
        format!(
            "[web]\naccept = {own}:443\n{}{ours}\n[vpn]\nsni = web:vpn.example.com\n{}{other}",
            web.line(),
            vpn.line()
        )
    };
    let talk = |_: &Adit, own: Ipv4Addr| {
        ["www.example.com", "vpn.example.com"]
            .map(|name| {
                let address = SocketAddr::from((own, 443));
                let said = s_client(address, &["-servername", name, "-ign_eof"], "");
                let greeting = ["the web", "the tunnel"]
                    .iter()
                    .find(|line| said.contains(**line));
                let subject = said.lines().find(|line| line.starts_with("subject"));
                format!("{greeting:?} {subject:?}; ")
            })
            .concat()
    };
    carried(
        text,
        talk,
        "Some(\"the web\") Some(\"subject=CN = localhost\"); \
         Some(\"the tunnel\") Some(\"subject=CN = vpn.example.com\"); ",
    );
}

#[test]
fn a_line_protocol_on_a_terminal() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let text = |own: Ipv4Addr, folder: &Path| {
        // In place of pppd: it wants a terminal, and asks the other side for a line.
        let peer = folder.join("pppd");
        let script =
            "#!/bin/sh\nstty -echo raw\n[ -t 0 ] && [ -t 1 ] && printf 'terminal '\nhead -c 5\n";
        fs::write(&peer, script).expect("writing");
        fs::set_permissions(&peer, PermissionsExt::from_mode(0o755)).expect("chmod");
        format!(
            "[dial]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {own}:2020\nverifyChain = yes\n{ca}\
             [answer]\naccept = {own}:2020\n{ours}exec = {}\nexecArgs = pppd local\npty = yes\n",
            peer.display()
        )
    };
    let talk = |adit: &Adit, _: Ipv4Addr| {
        let mut client = adit.connect("dial");
        let mut heard = vec![0; 9];
        client.read_exact(&mut heard).expect("its first word");
        client.write_all(b"hello").expect("sending");
        let mut rest = vec![0; 5];
        client.read_exact(&mut rest).expect("an answer");
        String::from_utf8_lossy(&[heard, rest].concat()).into_owned()
    };
    carried(text, talk, "terminal hello");
}

#[test]
fn redis_with_a_tunnel_on_both_sides() {
    require!(program "stunnel4");
    let Some([server, cli]) = apart::program("redis-server")
        .zip(apart::program("redis-cli"))
        .map(<[_; 2]>::from)
    else {
        crate::support::say_skipped(
            &crate::support::test_name(),
            "redis is not unpacked; tests/run does it",
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let address = SocketAddr::from((own_loopback(), 6379));
    let mut command = Command::new(server);
    command
        .args([
            "--bind",
            &address.ip().to_string(),
            "--save",
            "",
            "--daemonize",
            "no",
        ])
        .arg("--dir")
        .arg(folder.path());
    let _redis = Daemon::start("redis", &mut command, folder.path(), address);
    let certs = Certs::new();
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let text = |own: Ipv4Addr, _: &Path| {
        format!(
            "delay = yes\nretry = no\n[redis-cli]\nclient = yes\naccept = {own}:6379\nconnect = {own}:6380\n\
             verifyChain = yes\n{ca}checkHost = localhost\n\
             [redis-server]\naccept = {own}:6380\nconnect = {address}\n{ours}"
        )
    };
    let large = "x".repeat(1 << 20);
    let talk = |_: &Adit, own: Ipv4Addr| {
        let asks = |words: &[&str], input: &str| {
            let mut tool = Command::new(&cli);
            let mut tool = Tool::start(tool.args(["-h", &own.to_string()]).args(words));
            tool.input().write_all(input.as_bytes()).expect("sending");
            tool.end_input();
            tool.succeeds();
            tool.said().trim().to_owned()
        };
        let first = [asks(&["ping"], ""), asks(&["-x", "set", "large"], &large)].join(" ");
        first
            + " "
            + &asks(&["strlen", "large"], "")
            + &asks(&["get", "large"], "").replace('x', "")
    };
    carried(text, talk, &format!("PONG OK {}", large.len()));
}

#[test]
fn rsync_with_a_tunnel_on_both_sides() {
    require!(program "stunnel4");
    require!(program "rsync");
    let certs = Certs::new();
    let rsync = installed("rsync").expect("asked for before");
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let theirs = certs.client().lines();
    let text = |own: Ipv4Addr, folder: &Path| {
        let module = folder.join("module");
        fs::create_dir(&module).expect("mkdir");
        fs::write(module.join("file"), "content").expect("writing");
        let conf = folder.join("rsyncd.conf");
        let lines = format!(
            "use chroot = no\nlog file = /dev/null\nlock file = {}\n[m]\npath = {}\n",
            folder.join("lock").display(),
            module.display()
        );
        fs::write(&conf, lines).expect("writing");
        format!(
            "[rsync-out]\nclient = yes\naccept = {own}:873\nconnect = {own}:874\n{theirs}verifyChain = yes\n{ca}\
             [rsyncd]\naccept = {own}:874\n{ours}verifyChain = yes\n{ca}exec = {}\n\
             execArgs = rsync --daemon --config={}\n",
            rsync.display(),
            conf.display()
        )
    };
    require!(root);
    let talk = |adit: &Adit, own: Ipv4Addr| {
        let to = adit.plan.folder().join("copy");
        let mut copy = Command::new(&rsync);
        let mut tool = Tool::start(copy.arg("-r").arg(format!("rsync://{own}/m/")).arg(&to));
        tool.end_input();
        assert!(tool.succeeds(), "{}", tool.said());
        fs::read_to_string(to.join("file")).expect("the copy")
    };
    carried(text, talk, "content");
}

#[test]
fn postgresql_with_a_tunnel_on_both_sides() {
    require!(program "stunnel4");
    require!(root);
    require!(program "psql");
    require!(
        postgres::is_there(),
        "postgres is not unpacked; tests/run does it"
    );
    let postgres = Postgres::start(None, "host");
    let certs = Certs::new();
    let (ours, ca) = (certs.server().lines(), certs.ca_line());
    let text = |own: Ipv4Addr, _: &Path| {
        format!(
            "[psql]\nclient = yes\nprotocol = pgsql\naccept = {own}:5432\nconnect = {own}:5433\nverifyChain = yes\n{ca}\
             [postgres]\nprotocol = pgsql\naccept = {own}:5433\nconnect = {}\n{ours}",
            postgres.address
        )
    };
    let talk = |_: &Adit, own: Ipv4Addr| {
        // stunnel has no answer for a program that asks for encryption.
        let plain = [("PGSSLMODE", "disable"), ("PGGSSENCMODE", "disable")];
        let address = SocketAddr::from((own, 5432));
        let mut tool = postgres::psql(address, &plain, "select 6 * 7");
        tool.succeeds();
        tool.said().trim().to_owned()
    };
    carried(text, talk, "42");
}

#[test]
fn an_entrypoint_of_a_container_logs_to_its_terminal() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let upstream = Server::echo();
    for path in [installed("stunnel4").expect("asked for before"), program()] {
        let own = own_loopback();
        let text = format!(
            "foreground = yes\nsyslog = no\npid =\ndebug = info\noutput = /dev/stdout\n\
             [out]\nclient = yes\naccept = {own}:8000\nconnect = {own}:8443\nverifyChain = yes\n{}\
             [in]\naccept = {own}:8443\n{}{}",
            certs.ca_line(),
            upstream.line(),
            certs.server().lines()
        );
        let adit = Plan::new().program(&path).verbatim(text).launch();
        wait_for("its start", || {
            let said = adit.everything_said();
            said.contains("Accepting new connections").then_some(())
        });
        let mut client = peers::connect(SocketAddr::from((own, 8000)));
        peers::says_and_hears(&mut client, "hello");
        drop(client);
        wait_for("the end of both", || {
            let said = adit.everything_said();
            [0, 1]
                .into_iter()
                .all(|number| {
                    let end = "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket";
                    said.contains(&format!("LOG5[{number}]: {end}"))
                })
                .then_some(())
        });
    }
}
