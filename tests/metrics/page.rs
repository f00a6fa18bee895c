//! The page at `/`: who sees it, and what it says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use super::{address, ask, ask_on, client_mode, get, plain, teller, wait_for_health};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, apart, dead_address, own_address, tls, wait_for};
use crate::upgrade::next_version;

#[test]
fn it_says_what_adit_does_and_a_browser_may_run_nothing_else() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 2")
        .service("<b onclick='x'>mail", client_mode(&certs, &upstream))
        .service("imap", client_mode(&certs, &upstream))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let mut client = adit.connect("imap");
    peers::says_and_hears(&mut client, "hello");
    let page = wait_for("the page", || {
        let page = get(address, "/");
        page.contains("2 services, 1 open connection.")
            .then_some(page)
    });
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in [
        "Content-Type: text/html; charset=utf-8",
        "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
    ] {
        assert!(head.contains(&format!("\r\n{header}")), "{head}");
    }
    let bound = adit.address("imap").to_string();
    let leads = upstream.address.to_string();
    for part in [
        "<title>All is well · adit</title>",
        "&lt;b onclick=&#39;x&#39;&gt;mail",
        &format!("{bound} → {leads}"),
        "<b>1</b> serving",
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(!body.contains("<b onclick"), "{body}");

    // A stranger's site that has its name resolved to this machine sees nothing.
    for (host, status) in [
        ("evil.example", "421 Misdirected Request"),
        ("localhost:1", "200 OK"),
        ("127.0.0.1", "200 OK"),
    ] {
        let answer = ask(address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert_eq!(answer.contains("imap"), status == "200 OK", "{answer}");
    }
    for path in ["/metrics", "/health"] {
        let asked = |more: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n{more}\r\n");
            ask(address, &request)
        };
        // Prometheus, and a browser that a script has made deny what it may.
        let scraped = asked("Accept-Encoding: gzip, deflate\r\nUser-Agent: Prometheus/2.53.0\r\n");
        assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
        let rebound = asked("Accept-Language: *\r\nUser-Agent: Prometheus/2.53.0\r\n");
        assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
        assert!(!rebound.contains("adit_healthy"), "{rebound}");
    }
}

/// A connection to this address on loopback that comes from this machine's own address, as one of another machine does.
fn from(own: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.expect("a socket");
    let [a, b, c, d] = own.octets();
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).expect("a free port");
    let to = SockaddrIn::new(127, 0, 0, 1, to.port());
    connect(socket.as_raw_fd(), &to).expect("it listens");
    socket.into()
}

#[test]
fn other_machines_see_it_where_the_configuration_names_their_network() {
    require!(adit);
    let own = own_address();
    require!(own.is_some(), "this machine has no address but loopback");
    let own = own.expect("asked for");
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("metrics = *:0\n#")
        .service("test", plain(&upstream))
        .start();
    let bound = address(&adit);
    let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), bound.port());
    wait_for_health(here, "200", "ok");
    let served = teller(&adit);
    let asked = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {own}\r\n\r\n");
        ask_on(from(own, here), request.as_bytes())
    };
    let [a, b, c, _] = own.octets();
    let network = format!("    metricsAllow = {a}.{b}.{c}.0/24\n");
    let refused = asked("/");
    assert!(
        refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
        "{refused}"
    );
    assert!(
        refused.contains(&network) && !refused.contains("[test]"),
        "{refused}"
    );
    assert!(asked("/metrics").contains("\nadit_healthy 1\n"));
    assert!(asked("/health").ends_with("\r\n\r\nok\n"));

    // A list holds for everything.
    adit.rewrite(|text| text.replace('#', "metricsAllow = 203.0.113.0/24, 2001:db8::/32"));
    adit.reload(1);
    for path in ["/", "/metrics", "/health"] {
        let refused = wait_for("a refusal", || {
            Some(asked(path)).filter(|answer| answer.starts_with("HTTP/1.1 403 Forbidden\r\n"))
        });
        assert!(refused.contains(&network), "{refused}");
    }
    assert!(
        get(here, "/").contains("All is well"),
        "this machine sees it"
    );

    adit.rewrite(|text| text.replace("203.0.113.0/24", &own.to_string()));
    adit.reload(1);
    wait_for("the page", || {
        asked("/").contains("All is well").then_some(())
    });
    assert!(asked("/health").ends_with("\r\n\r\nok\n"));
    assert_eq!(teller(&adit), served, "the teller is the same");
}

#[test]
fn a_browser_shows_it_by_day_and_by_night_on_a_telephone_and_on_a_desk() {
    require!(adit);
    require!(program "python3");
    let (driver, browser) = (
        apart::file("usr/bin/chromedriver"),
        apart::file("usr/lib/chromium/chromium-headless-shell"),
    );
    require!(
        driver.is_file() && browser.is_file(),
        "chromium-driver and chromium-headless-shell are not unpacked; tests/run does it"
    );
    let (certs, upstream, dead) = (Certs::new(), Server::echo(), dead_address());
    let (far, soon) = (
        certs.server(),
        certs.issue(
            "soon",
            Wish {
                ends_in: Some(5 * 24 * 3600),
                ..Wish::default()
            },
        ),
    );
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 2")
        .service("<img src=x onerror=\"window.hacked=1\">", plain(&upstream))
        .service(
            "a-service-of-the-longest-name-that-anyone-writes",
            upstream.line() + &soon.lines(),
        )
        .service("imaps", upstream.line() + &far.lines())
        .service("dead", format!("client = yes\nconnect = {}", dead.address))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let _ = peers::read_until_gone(&mut adit.connect("dead"));
    wait_for("what failed", || {
        get(address, "/").contains("What failed last").then_some(())
    });
    let imaps = adit.address("imaps");
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/browser.py"))
        .args([driver, browser])
        .arg(format!("http://{address}/"))
        .args([imaps.ip().to_string(), imaps.port().to_string()])
        .args(std::env::var_os("PICTURES"))
        .output()
        .expect("python3");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn after_an_upgrade_whose_configuration_is_refused_it_tells_of_what_runs() {
    require!(adit);
    let own = own_address();
    require!(own.is_some(), "this machine has no address but loopback");
    let own = own.expect("asked for");
    let upstream = Server::echo();
    let plan = Plan::new();
    let path = plan.folder().join("adit");
    std::fs::copy(program(), &path).expect("copy");
    let adit = plan
        .program(&path)
        .global("metrics = *:0\n#")
        .service("before", plain(&upstream))
        .start();
    let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address(&adit).port());
    wait_for_health(here, "200", "ok");
    next_version(&path);
    // What the new program cannot know before it runs.
    let taken = Server::silent();
    let lines = plain(&upstream);
    adit.rewrite(|text| {
        let text = text.replace("[before]", "[after]");
        let text = text.replace('#', "metricsAllow = 203.0.113.0/24");
        format!("{text}[taken]\naccept = {}\n{lines}", taken.address)
    });
    adit.reload_refused(&["has taken over", "Binding service [taken] to"]);
    let leads = format!("{} → {}", adit.address("before"), upstream.address);
    let page = wait_for("the page", || {
        let page = get(here, "/");
        page.contains("is not in force").then_some(page)
    });
    assert!(
        page.contains("<b>before</b>") && page.contains(&leads),
        "{page}"
    );
    assert!(!page.contains("<b>after</b>"), "{page}");
    let request = format!("GET /health HTTP/1.1\r\nHost: {own}\r\n\r\n");
    let answer = ask_on(from(own, here), request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
