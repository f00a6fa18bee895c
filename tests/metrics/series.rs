//! What is in `/metrics`: names, labels and values.

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{address, ask, client_mode, get, send, teller, value, wait_for_health};
use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, apart, proc, tls, wait_for};

#[test]
fn promtool_finds_nothing_to_say_and_the_counts_are_those_of_the_connections() {
    require!(adit);
    require!(
        apart::program("promtool").is_some(),
        "promtool is not unpacked; tests/run does it"
    );
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 2")
        .service("test", client_mode(&certs, &upstream))
        .service("with \"quotes\"", client_mode(&certs, &upstream))
        .start();
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "ten bytes.");
    let address = address(&adit);
    let answer = get(address, "/metrics?ignored=1");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(
        head.contains(&format!("\r\nContent-Length: {}", page.len())),
        "{head}"
    );
    let count = |series: &str| value(&get(address, "/metrics"), series);
    // What was heard was counted a moment after it was sent.
    for direction in ["to_back", "to_front"] {
        let series = format!(
            "adit_service_payload_bytes_total{{service=\"test\",direction=\"{direction}\"}}"
        );
        wait_for(&series, || (count(&series) == 10).then_some(()));
    }
    assert_eq!(count("adit_service_connections{service=\"test\"}"), 1);
    assert_eq!(count("adit_service_connections_total{service=\"test\"}"), 1);
    assert_eq!(
        count("adit_service_connections_total{service=\"with \\\"quotes\\\"\"}"),
        0
    );
    assert_eq!(
        count("adit_service_handshakes_total{service=\"test\",version=\"TLSv1.3\",type=\"full\"}"),
        1
    );
    assert_eq!(count("adit_worker_up{worker=\"1\"}"), 1);
    assert_eq!(count("adit_healthy"), 1);
    let asked_for_head = ask(address, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(asked_for_head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(asked_for_head.ends_with("\r\n\r\n"), "{asked_for_head}");
    has_no_lint(page);
}

/// Fails unless promtool takes this for metrics, and has nothing to say of them.
#[track_caller]
fn has_no_lint(page: &str) {
    let promtool = apart::program("promtool");
    let mut promtool = Command::new(promtool.expect("promtool is unpacked"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(page.as_bytes()).expect("writing");
    drop(input);
    let output = promtool.wait_with_output().expect("its end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{said} of:\n{page}"
    );
}

#[test]
fn queues_certificates_and_restarts_are_told() {
    require!(adit);
    let certs = Certs::new();
    let (upstream, secure) = (Server::echo(), tls::echo_server(&certs, tls::BOTH));
    let pair = certs.server();
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 1")
        .service("mail", upstream.line() + &pair.lines())
        .service("client", client_mode(&certs, &secure))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let page = get(address, "/metrics");
    let ends = "adit_service_certificate_expiry_timestamp_seconds";
    assert_eq!(
        value(&page, &format!("{ends}{{service=\"mail\",side=\"front\"}}")),
        2_493_072_000,
        "2049 begins"
    );
    assert_eq!(page.matches(&format!("\n{ends}{{")).count(), 1, "{page}");
    assert_eq!(value(&page, "adit_draining_connections"), 0);

    // A reload leaves a generation with a connection behind.
    let mut client = adit.connect("client");
    peers::says_and_hears(&mut client, "hello");
    adit.reload(2);
    let count = |series: &str| value(&get(address, "/metrics"), series);
    wait_for("a draining connection", || {
        (count("adit_draining_connections") == 1).then_some(())
    });
    drop(client);

    let killed = teller(&adit);
    send(killed, Signal::SIGKILL);
    let restarts = "adit_helper_restarts_total{helper=\"teller\"}";
    wait_for("a restart", || (count(restarts) == 1).then_some(()));
    assert_eq!(count("adit_helper_restarts_total{helper=\"resolver\"}"), 0);

    // Clients wait while the master stands still.
    let queue = "adit_service_accept_queue_connections{service=\"client\"}";
    assert_eq!(count(queue), 0);
    let master = proc::roles(adit.pid()).master;
    proc::freeze(master);
    let waiting = [0, 1, 2].map(|_| adit.connect("client"));
    assert_eq!(count(queue), 3);
    assert!(count("adit_service_accept_queue_limit_connections{service=\"client\"}") > 3);
    drop(waiting);
    send(master, Signal::SIGCONT);
}
