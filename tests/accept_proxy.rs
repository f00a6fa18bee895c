//! `acceptProxy`: a balancer says by a PROXY header who its client is; from then on that client's address is the
//! connection's.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::require;
use crate::support::daemon::Daemon;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, own_loopback, tls};

/// A server that sends back what it hears, the PROXY header of version 1 first.
fn mirror() -> Server {
    Server::start(|mut stream| {
        let _ = peers::echo(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    })
}

/// What the server behind is told when a balancer at `source` says this, and its client then speaks TLS. `None`: it
/// is refused.
fn told(
    adit: &Adit,
    service: &str,
    certs: &Certs,
    source: Ipv4Addr,
    pieces: &[&[u8]],
) -> Option<String> {
    let SocketAddr::V4(address) = adit.address(service) else {
        panic!("IPv4 is configured");
    };
    let mut stream = peers::connect_from(source, address);
    for piece in pieces {
        stream.write_all(piece).ok()?;
    }
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut stream = tls::start_client(config, stream).ok()?;
    stream.write_all(b"!").ok()?;
    let mut heard = Vec::new();
    let mut byte = [0];
    while byte != *b"!" && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        heard.extend(byte);
    }
    (byte == *b"!").then(|| String::from_utf8_lossy(&heard).into_owned())
}

const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const V1: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.1 1042 443\r\n";
/// The same, from 198.51.100.8.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\xc6\x33\x64\x08\xcb\x00\x71\x01\x04\x12\x01\xbb";
pub const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n \0\0\0";

#[test]
fn the_header_of_a_named_balancer_decides_who_the_client_is() {
    require!(adit);
    let (certs, server) = (Certs::new(), mirror());
    let lines = format!(
        "acceptProxy = 127.0.0.2\nprotocol = proxy\n{}{}",
        server.line(),
        certs.server().lines()
    );
    let adit = Plan::new()
        .service(
            "test",
            format!("{lines}denyFrom = 198.51.100.8, 127.0.0.2\n"),
        )
        .service("open", format!("{lines}debug = 6\n"))
        .start();
    let open = |header| told(&adit, "open", &certs, BALANCER, &[header]);
    let told = |source, pieces: &[&[u8]]| told(&adit, "test", &certs, source, pieces);
    let passed = Some("PROXY TCP4 198.51.100.7 203.0.113.1 1042 443\r\n!".to_owned());
    assert_eq!(told(BALANCER, &[V1]), passed);
    let bytewise: Vec<&[u8]> = V1.chunks(1).collect();
    assert_eq!(told(BALANCER, &bytewise), passed);
    adit.wait_for_log("Service [test] accepted connection from 198.51.100.7:1042");
    // By version 2, and it is denied by the address that is claimed.
    assert_eq!(told(BALANCER, &[V2]), None);
    adit.wait_for_log("REFUSED by denyFrom = 198.51.100.8 from 198.51.100.8:1042");
    // A client that the balancer does not know has the balancer's address, and so has the balancer itself, unless it only
    // looks whether adit is there.
    let silent = {
        let SocketAddr::V4(address) = adit.address("test") else {
            panic!("IPv4 is configured");
        };
        let mut check = peers::connect_from(BALANCER, address);
        check.write_all(LOCAL).expect("sending");
        check.local_addr().expect("its address")
    };
    let refused = "REFUSED by denyFrom = 127.0.0.2 from 127.0.0.2:";
    for (times, header) in [(1, &b"PROXY UNKNOWN\r\n"[..]), (2, LOCAL)] {
        assert_eq!(told(BALANCER, &[header]), None);
        adit.wait_for_log_times(refused, times);
    }
    assert_eq!(adit.count_in_log(&format!("from {silent}")), 0);
    // What it carries is told of as a client's.
    let own = open(LOCAL).expect("it is served");
    assert!(own.starts_with("PROXY TCP4 127.0.0.2 127.0.0.1 "), "{own}");
    adit.wait_for_log("Service [open] accepted connection from 127.0.0.2:");
    adit.wait_for_log("LOG5[6]: Connection closed: ");
    // Others speak for themselves.
    let own = told(Ipv4Addr::LOCALHOST, &[]).expect("a client is served");
    assert!(own.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{own}");
    assert_eq!(told(Ipv4Addr::LOCALHOST, &[V1]), None);
    adit.wait_for_log("if it is a balancer of yours, set \"acceptProxy = 127.0.0.1\"");
    assert_eq!(told(BALANCER, &[V1, V1]), None);
    adit.wait_for_log("a second PROXY header follows the first");
}

#[test]
fn what_is_no_header_is_told_with_its_remedy_and_a_check_is_no_failure() {
    require!(adit);
    let (certs, server) = (Certs::new(), mirror());
    let lines = format!(
        "acceptProxy = 127.0.0.2\n{}{}",
        server.line(),
        certs.server().lines()
    );
    let (plan, echo) = (Plan::new(), tls::echo_server(&certs, tls::BOTH));
    let socket = plan.folder().join("accept");
    let control = format!("control = {}", plan.folder().join("control").display());
    let adit = plan
        .global(control)
        .service("test", format!("{lines}TIMEOUTbusy = 1\n"))
        .service("quiet", format!("{lines}debug = 6\n"))
        .service(
            "plain",
            format!(
                "client = yes\nacceptProxy = unix\naccept = {}\n{}",
                socket.display(),
                echo.line()
            ),
        )
        .start();
    let say = |service: &str, pieces: &[&[u8]]| {
        let SocketAddr::V4(address) = adit.address(service) else {
            panic!("IPv4 is configured");
        };
        let mut stream = peers::connect_from(BALANCER, address);
        for piece in pieces {
            stream.write_all(piece).expect("sending");
        }
        stream
    };
    // TLS, nonsense, half a header; and none.
    assert_eq!(told(&adit, "test", &certs, BALANCER, &[]), None);
    adit.wait_for_log("PROXY header expected from 127.0.0.2:");
    adit.wait_for_log("TLS begins without one (let it send one (haproxy: `send-proxy-v2`;");
    drop(say("test", &[b"PROXY TCP4 nowhere\r\n"]));
    adit.wait_for_log("its line is neither TCP4 nor TCP6 with two addresses and two ports");
    drop(say("test", &[&V2[..20]]));
    adit.wait_for_log("closed the connection after 20 byte(s) of it");
    let silent = say("test", &[b"PROXY "]);
    adit.wait_for_log("PROXY header: TIMEOUTbusy exceeded: sending reset: 127.0.0.2:");
    drop(silent);
    // It looks whether the port is open; it looks whether adit is alive.
    drop(say("quiet", &[]));
    drop(say("quiet", &[LOCAL]));
    drop(say("quiet", &[LOCAL, b"\x16\x03"]));
    let own = say("quiet", &[]);
    let port = own.local_addr().expect("its address").port();
    let mut own = own;
    // haproxy's checks by version 1.
    write!(own, "PROXY TCP4 127.0.0.2 127.0.0.1 {port} 443\r\n").expect("sending");
    drop(own);
    // One service's lines come after another's checks.
    drop(say("quiet", &[b"x"]));
    adit.wait_for_log("something else came");
    let row = || {
        let status = adit.status();
        let services = &status["generations"][0]["services"];
        let services = services.as_array().expect("services");
        let row = services.iter().find(|row| row["name"] == "quiet");
        row.expect("the service").clone()
    };
    crate::support::wait_for("the end of all", || (row()["active"] == 0).then_some(()));
    let row = row();
    assert_eq!(
        (&row["failed_vanished"], &row["failed_before_tls"]),
        (&0.into(), &1.into())
    );
    // In plain, what is behind the header in the same segment is the client's.
    let mut client = std::os::unix::net::UnixStream::connect(&socket).expect("connecting");
    client.write_all(&[V1, b"hello"].concat()).expect("sending");
    let mut echo = [0; 5];
    client.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"hello");
    adit.wait_for_log("Service [plain] accepted connection from 198.51.100.7:1042");
    let log = adit.log();
    // The checks are those of numbers 4 to 7.
    let of_checks = |line: &&str| (4..8).any(|number| line.contains(&format!("[{number}]: ")));
    let lines: Vec<&str> = log.lines().filter(of_checks).collect();
    assert_eq!(lines, Vec::<&str>::new());
}

/// haproxy and nginx before adit and behind it, each by itself.
struct Balancers {
    address: Ipv4Addr,
    _haproxy: Daemon,
    _nginx: Daemon,
}

/// Ports of theirs: haproxy by version 1 and 2, the latter with its own TLS and a client's certificate; nginx by version 1.
const HAPROXY_V1: u16 = 1001;
const HAPROXY_V2: u16 = 1002;
const HAPROXY_TLS: u16 = 1003;
const NGINX: u16 = 1004;
/// Behind adit they say who the client is.
const BEHIND_HAPROXY: u16 = 1005;
const BEHIND_NGINX: u16 = 1006;

impl Balancers {
    /// Where the two behind adit are.
    fn behind(address: Ipv4Addr) -> [SocketAddr; 2] {
        [BEHIND_HAPROXY, BEHIND_NGINX].map(|port| (address, port).into())
    }

    fn start(folder: &Path, certs: &Certs, address: Ipv4Addr, to: &[SocketAddr; 2]) -> Balancers {
        let pair = certs.server();
        let both = folder.join("both.pem");
        let parts = [&pair.cert, &pair.key].map(|file| fs::read(file).expect("a file"));
        fs::write(&both, parts.concat()).expect("writing");
        let (ca, both) = (certs.ca(), both.display().to_string());
        let ca = ca.display();
        let [plain, inner] = to;
        let haproxy = format!(
            "defaults
    mode tcp
    timeout connect 30s
    timeout client 30s
    timeout server 30s
listen v1
    bind {address}:{HAPROXY_V1}
    server adit {plain} send-proxy check inter 100ms
listen v2
    bind {address}:{HAPROXY_V2}
    server adit {plain} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 100ms
    unique-id-format one
listen tls
    bind {address}:{HAPROXY_TLS} ssl crt {both} verify required ca-file {ca}
    server adit {inner} ssl verify none send-proxy-v2-ssl-cn
frontend behind
    mode http
    bind {address}:{BEHIND_HAPROXY} accept-proxy
    http-request return content-type text/plain lf-string \"%[src]:%[src_port] %[fc_pp_authority] %[fc_pp_unique_id]\"
"
        );
        let nginx = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
stream {{ server {{ listen {address}:{NGINX}; proxy_pass {plain}; proxy_protocol on; }} }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen {address}:{BEHIND_NGINX} proxy_protocol;
    return 200 $proxy_protocol_addr:$proxy_protocol_port;
  }}
}}
",
            folder = folder.display()
        );
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).expect("writing");
            file
        };
        let mut command = Command::new(installed("haproxy").expect("asked for before"));
        command
            .args(["-db", "-f"])
            .arg(write("haproxy.cfg", &haproxy));
        let first = (address, HAPROXY_V1).into();
        let haproxy = Daemon::start("haproxy", &mut command, folder, first);
        let mut command = Command::new(installed("nginx").expect("asked for before"));
        command
            .args(["-p"])
            .arg(folder)
            .arg("-c")
            .arg(write("nginx.conf", &nginx));
        let nginx = Daemon::start("nginx", &mut command, folder, (address, NGINX).into());
        Balancers {
            address,
            _haproxy: haproxy,
            _nginx: nginx,
        }
    }

    /// A client's connection to one of them, and its own address.
    fn dial(&self, port: u16) -> (TcpStream, SocketAddr) {
        let stream = peers::connect_from(CLIENT, SocketAddrV4::new(self.address, port));
        let own = stream.local_addr().expect("its address");
        (stream, own)
    }
}

/// Where the client is, which is no balancer.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// The last line of an answer by HTTP.
fn answer(config: &Arc<rustls::ClientConfig>, stream: TcpStream) -> String {
    let mut stream = tls::start_client(config.clone(), stream).expect("a handshake");
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("sending");
    let mut said = String::new();
    // Either may end without close_notify.
    let _ = stream.read_to_string(&mut said);
    said.trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn servers_see_through_haproxy_and_nginx_who_the_client_is() {
    require!(adit);
    require!(root);
    require!(program "haproxy");
    require!(program "nginx");
    require!(program "dovecot");
    let (certs, mail) = (Certs::new(), MailHost::behind_proxy());
    let address = own_loopback();
    let [haproxy, nginx] = Balancers::behind(address);
    let common = format!(
        "acceptProxy = 127.0.0.1\nprotocol = proxy\nproxyVersion = 2\nacceptFrom = {CLIENT}\n{}",
        certs.server().lines()
    );
    // The one at which they are told of who is there serves each in turn: one after the other is configured.
    for (round, server) in [haproxy, nginx, mail.at(143)].into_iter().enumerate() {
        let plan = Plan::new();
        let folder = plan.folder().to_owned();
        let adit = plan
            .global("debug = 6")
            .service("plain", format!("{common}connect = {server}\n"))
            .service("inner", format!("{common}connect = {server}\n"))
            .start();
        let to = [adit.address("plain"), adit.address("inner")];
        let balancers = Balancers::start(&folder, &certs, address, &to);
        let config = tls::client_config(&certs.ca(), tls::BOTH, Some(&certs.client()));
        for port in [HAPROXY_V1, HAPROXY_V2, HAPROXY_TLS, NGINX] {
            let (stream, own) = balancers.dial(port);
            match round {
                0 => {
                    let id = if port == HAPROXY_V2 { "one" } else { "" };
                    let name = if port == HAPROXY_TLS { "" } else { "localhost" };
                    let said = answer(&config, stream);
                    assert_eq!(said.trim_end(), format!("{own} {name} {id}").trim_end());
                }
                1 => assert_eq!(answer(&config, stream), own.to_string()),
                // It takes a password only where it is told of TLS, the client's or adit's.
                _ => {
                    let stream = tls::start_client(config.clone(), stream).expect("a handshake");
                    let mut client = Lines(stream);
                    client.expect("* OK");
                    let answer = client.ask(&format!("a LOGIN {USER} {PASSWORD}"), "a ");
                    assert!(answer.starts_with("a OK"), "{answer}");
                }
            }
            adit.wait_for_log(&format!("accepted connection from {own}"));
        }
        adit.wait_for_log("PROXY header: its certificate is client's, verified");
        drop(balancers);
        // The checks of both kinds were none of it.
        let log = adit.log();
        let faults: Vec<&str> = log.lines().filter(|line| line.contains(" LOG3[")).collect();
        assert_eq!(faults, Vec::<&str>::new(), "{log}");
    }
    let logs = mail.logs();
    assert!(logs.contains(&format!("rip={CLIENT}")), "{logs}");
}
