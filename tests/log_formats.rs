//! The log in other shapes than stunnel's: an object a line, or a line a connection; nothing else is lost.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

/// The objects that the log has so far, each by itself.
fn objects(adit: &Adit) -> Vec<Value> {
    let log = adit.log();
    let file = log.lines().filter(|line| line.starts_with('{'));
    let parsed = file.map(|line| serde_json::from_str(line).expect("an object"));
    parsed.collect()
}

/// The object of the `nth` connection of a service that is over.
#[track_caller]
fn record(adit: &Adit, service: &str, nth: usize) -> Value {
    wait_for("the connection's object", || {
        let all = objects(adit);
        let mut of = all
            .into_iter()
            .filter(|one| one["event"] == "connection" && one["service"] == service);
        of.nth(nth)
    })
}

/// Says hello through a service in server mode whose server is told of the client.
fn greet_in(adit: &Adit, certs: &Certs) {
    let mut config = tls::client_config(&certs.ca(), tls::BOTH, None);
    Arc::make_mut(&mut config).alpn_protocols = vec![b"greeting".to_vec()];
    let mut client = tls::connect(config, adit.address("in"));
    client.write_all(b"hello").expect("sending");
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("an echo");
        heard.extend(byte);
    }
    tls::end(&mut client);
    peers::read_to_end(&mut client);
}

fn plan(format: &str, certs: &Certs, upstream: &Server, secure: &Server) -> Plan {
    let port = secure.address.port();
    Plan::new()
        .global(format!("logFormat = {format}\nworkers = 1"))
        .service(
            "in",
            format!(
                "debug = notice\n{}{}protocol = proxy\nalpn = greeting\n",
                upstream.line(),
                certs.server().lines()
            ),
        )
        .service(
            "out",
            format!("client = yes\nconnect = localhost:{port}\nalpn = greeting\n"),
        )
}

fn secure(certs: &Certs) -> Server {
    let mut config = tls::server_config(&certs.server(), tls::BOTH, None);
    Arc::make_mut(&mut config).alpn_protocols = vec![b"greeting".to_vec()];
    tls::echo(config)
}

/// The fields in the tables of docs/logs.md.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string("docs/logs.md").expect("the document");
    let tables = text.split_once("## Every object").expect("the tables").1;
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect()
}

#[test]
fn each_line_is_an_object_and_each_connection_has_one_with_the_documented_fields() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let secure = secure(&certs);
    let adit = plan("json", &certs, &upstream, &secure).start();
    greet_in(&adit, &certs);
    let inward = record(&adit, "in", 0);
    let mut client = adit.connect("out");
    peers::says_and_hears(&mut client, "hello, there");
    peers::reset(client);
    let outward = record(&adit, "out", 0);
    // What has quotation marks, ends lines and moves the cursor.
    adit.connect("in")
        .write_all(b"\"}\r\n{\"level\":\"\x1b[2J\\\0")
        .expect("sending");
    let broken = record(&adit, "in", 1);

    assert_eq!(inward["front_sni"], "localhost");
    assert_eq!(inward["front_version"], "TLSv1.3");
    assert_eq!(inward["front_resumed"], false);
    assert_eq!(inward["upstream"], upstream.address.to_string());
    assert_eq!(inward["bytes_to_back"], 5);
    assert!(inward["bytes_to_front"].as_u64() > Some(5), "{inward}");
    assert_eq!(inward["ended"], "closed");
    assert!(inward.get("fault").is_none() && inward.get("back_version").is_none());
    assert_eq!(outward["upstream_name"], "localhost");
    assert_eq!(outward["back_sni"], "localhost");
    assert_eq!(outward["back_version"], "TLSv1.3");
    assert_eq!(
        (&outward["back_alpn"], &inward["front_alpn"]),
        (&"greeting".into(), &"greeting".into())
    );
    assert_eq!(
        (&broken["fault"], broken["reason"].is_string()),
        (&"client".into(), true)
    );
    assert_eq!(
        (&outward["ended"], &outward["fault"]),
        (&"failed".into(), &"client".into())
    );
    assert!(
        outward["reason"]
            .as_str()
            .expect("one")
            .contains("Connection reset by peer")
    );
    assert_eq!(
        (&broken["ended"], &broken["level"]),
        (&"failed".into(), &"notice".into())
    );
    let order = [
        "hello_at",
        "front_handshake_at",
        "connect_at",
        "dialogue_at",
        "first_byte_at",
        "duration",
    ];
    let times = order.map(|name| {
        inward[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {inward}"))
    });
    assert!(times.is_sorted(), "{inward}");

    let all = objects(&adit);
    let seen: BTreeSet<String> = all
        .iter()
        .flat_map(|one| one.as_object().expect("an object").keys().cloned())
        .collect();
    assert_eq!(seen, documented());
    let mine = all
        .iter()
        .filter(|one| one["connection"] == inward["connection"]);
    let (count, services): (Vec<_>, BTreeSet<_>) =
        mine.map(|one| (1, one["service"].to_string())).unzip();
    assert!(
        count.len() == 4 && services.len() == 1,
        "{services:?} {count:?}"
    );
    let (_, log) = adit.stop();
    let file = &log[..log.find("--- stdout").expect("the file's part")];
    let mut python = Command::new("python3")
        .args([
            "-c",
            "import json, sys\nfor line in sys.stdin: json.loads(line)['message']",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = python.stdin.take().expect("its input");
    input.write_all(file.as_bytes()).expect("writing");
    drop(input);
    assert!(python.wait().expect("its end").success(), "{file}");
}

#[test]
fn a_connection_is_one_line_an_error_another_and_a_reload_changes_the_shape() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let secure = secure(&certs);
    let plan = plan("short", &certs, &upstream, &secure);
    let adit = plan.start();
    greet_in(&adit, &certs);
    let line = adit.wait_for_log("Connection: service=in peer=127.0.0.1:");
    for part in [
        " front_sni=localhost front_version=TLSv1.3 ",
        " bytes_to_back=5 ",
        " ended=closed",
    ] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    let number = |line: &str| line.split(['[', ']']).nth(1).map(|id| format!("[{id}]: "));
    let mine = number(&line).expect("a number");
    assert_eq!(adit.count_in_log(&mine), 1, "{}", adit.log());
    adit.connect("in")
        .write_all(b"no TLS at all\r\n")
        .expect("sending");
    let line = adit.wait_for_log(" ended=failed");
    let mine = number(&line).expect("a number");
    assert!(adit.wait_for_log(&mine).contains(" LOG3["));
    assert_eq!(adit.count_in_log(&mine), 2, "{}", adit.log());

    adit.rewrite(|text| text.replace("logFormat = short", "logFormat = json\nlogRepeats = 1"));
    adit.reload(2);
    greet_in(&adit, &certs);
    assert_eq!(record(&adit, "in", 0)["bytes_to_back"], 5);
    let fault = "no TLS at all, again and again\r\n";
    for _ in 0..3 {
        let mut client = adit.connect("in");
        client.write_all(fault.as_bytes()).expect("sending");
        let _ = peers::read_until_gone(&mut client);
    }
    // One is told of, the others are counted, and so is the course of the address's connections.
    adit.rewrite(|text| text.replace("logFormat = json", "logFormat = stunnel"));
    adit.reload(2);
    greet_in(&adit, &certs);
    adit.wait_for_log(" byte(s) sent to socket");
    let (_, log) = adit.stop();
    let sum = "more line(s) about connections from 127.0.0.1 in a minute";
    let sums = log.lines().filter(|line| line.contains(sum));
    assert!(sums.clone().count() > 0, "{log}");
    sums.for_each(|line| assert!(line.starts_with("{\"time\":\""), "{line}"));
}
