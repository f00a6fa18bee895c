//! `protocol = socks` in server mode: clients say within TLS where they want to be connected to, and names
//! are resolved on this side. curl speaks SOCKS in plain to a service in client mode, and that is adit too.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;

use crate::require;
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, own_address, tls};

fn listening(ip: IpAddr) -> TcpListener {
    TcpListener::bind((ip, 0)).expect("a port")
}

/// A web server there.
fn web_server(ip: IpAddr) -> Server {
    Server::on(listening(ip), |mut stream| {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
    })
}

/// The client's side in plain, and the server's.
fn both(certs: &Certs) -> (Adit, Adit) {
    let server = Adit::serve(format!("protocol = socks\n{}", certs.server().lines()));
    let client = Adit::serve(format!(
        "client = yes\nconnect = {}\n{}verifyChain = yes\n",
        server.address("test"),
        certs.ca_line()
    ));
    (client, server)
}

/// What curl says; whether it succeeded.
fn curl(proxy: &str, client: &Adit, url: &str) -> (bool, String) {
    let proxy = format!("{proxy}://{}", client.address("test"));
    let mut curl = Tool::start(
        Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "",
                "--proxy",
                &proxy,
            ])
            .args(["--max-time", "30", url]),
    );
    curl.end_input();
    let succeeded = curl.succeeds();
    (succeeded, curl.said())
}

#[test]
fn curl_fetches_by_every_version_and_is_told_what_fails() {
    require!(adit);
    require!(program "curl");
    let own = own_address();
    require!(
        own.is_some(),
        "this machine has an address on loopback alone"
    );
    let ip = own.expect("required");
    let web = web_server(ip.into());
    let port = web.address.port();
    let nowhere = listening(ip.into());
    let closed = nowhere.local_addr().expect("its address").port();
    drop(nowhere);
    let certs = Certs::new();
    let (client, server) = both(&certs);
    for proxy in ["socks4", "socks4a", "socks5", "socks5h"] {
        let (succeeded, said) = curl(proxy, &client, &format!("http://{ip}:{port}/"));
        assert!(succeeded && said == "hello\n", "{proxy}: {said}");
        let (succeeded, said) = curl(proxy, &client, &format!("http://{ip}:{closed}/"));
        assert!(!succeeded, "{proxy}: {said}");
        // Code 5 of version 5 is "Connection refused"; version 4 has one code for all.
        let code = if proxy.starts_with("socks5") {
            "(5)"
        } else {
            "(91)"
        };
        assert!(said.contains(code), "{proxy}: {said}");
    }
    server.wait_for_log("No more addresses to connect");
}

#[test]
fn this_machines_loopback_is_out_of_reach_however_it_is_named() {
    require!(adit);
    require!(program "curl");
    let web = web_server("127.0.0.1".parse().expect("an address"));
    let port = web.address.port();
    let certs = Certs::new();
    let (client, server) = both(&certs);
    let hosts = [
        "127.0.0.1",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ];
    for host in hosts {
        let (succeeded, said) = curl("socks5h", &client, &format!("http://{host}:{port}/"));
        assert!(!succeeded, "{host}: {said}");
        assert!(said.contains("(2)"), "{host}: {said}");
    }
    assert_eq!(web.connections(), 0);
    server.wait_for_log_times("SOCKS connection to the IPv4 loopback rejected", 3);
    server.wait_for_log("SOCKS connection to the IPv6 loopback rejected");
}

#[test]
fn a_name_that_does_not_resolve_is_told_by_its_code() {
    require!(adit);
    require!(program "curl");
    let certs = Certs::new();
    let (client, server) = both(&certs);
    let (succeeded, said) = curl("socks5h", &client, "http://no-such-name.invalid/");
    assert!(!succeeded && said.contains("(4)"), "{said}");
    server.wait_for_log("no-such-name.invalid");
}

/// A client with TLS of its own, that has sent its greeting and got the answer.
fn greeted(certs: &Certs, server: &Adit) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, server.address("test"));
    client.write_all(b"\x05\x01\x00").expect("sending");
    let mut answer = [0; 2];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, [5, 0]);
    client
}

#[test]
fn words_sent_along_with_the_request_reach_the_server_once() {
    require!(adit);
    let own = own_address();
    require!(
        own.is_some(),
        "this machine has an address on loopback alone"
    );
    let echo = Server::on(listening(own.expect("required").into()), |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let certs = Certs::new();
    let server = Adit::serve(format!("protocol = socks\n{}", certs.server().lines()));
    let mut client = greeted(&certs, &server);
    let SocketAddr::V4(address) = echo.address else {
        return;
    };
    let mut request = vec![5, 1, 0, 1];
    request.extend(address.ip().octets());
    request.extend(address.port().to_be_bytes());
    request.extend(b"in the same breath");
    client.write_all(&request).expect("sending");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[..4], [5, 0, 0, 1]);
    let mut heard = [0; 18];
    client.read_exact(&mut heard).expect("the echo");
    assert_eq!(&heard, b"in the same breath");
    client.write_all(b"more").expect("sending");
    let mut heard = [0; 4];
    client.read_exact(&mut heard).expect("the echo");
    assert_eq!(&heard, b"more");
}

#[test]
fn tors_resolve_looks_a_name_up_and_connects_nothing() {
    require!(adit);
    let certs = Certs::new();
    let server = Adit::serve(format!("protocol = socks\n{}", certs.server().lines()));
    let mut client = greeted(&certs, &server);
    let request = b"\x05\xf0\x00\x03\x09localhost\x00\x00";
    client.write_all(request).expect("sending");
    let reply = peers::read_to_end(&mut client);
    let v4 = [5, 0, 0, 1, 127, 0, 0, 1, 0, 0];
    let v6 = [&[5, 0, 0, 4][..], &[0; 15], &[1, 0, 0]].concat();
    assert!(reply == v4 || reply == v6, "{reply:?}");
    server.wait_for_log("Service [test] finished (0 left)");
    assert_eq!(server.count_in_log("s_connect"), 0);
}

#[test]
fn what_is_no_socks_is_refused_and_counted() {
    require!(adit);
    let certs = Certs::new();
    let server = Adit::serve(format!("protocol = socks\n{}", certs.server().lines()));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, server.address("test"));
    client
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("sending");
    let _ = peers::read_until_gone(&mut client);
    server.wait_for_log("Unsupported SOCKS version");
    server.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn check_says_what_connect_comes_to() {
    require!(adit);
    let certs = Certs::new();
    let given = format!(
        "protocol = socks\nconnect = 192.0.2.1:9\n{}",
        certs.server().lines()
    );
    let adit = Plan::new().service("test", given).start();
    adit.wait_for_log("`connect` has no effect with `protocol = socks`");
}
