//! The load generator, tested without adit: its parts, and the whole on Debian's stunnel where it
//! is installed. (A bench target without a harness cannot hold tests.)

#[path = "mod.rs"]
mod compare;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use compare::upstream::{Request, Upstream, send_pattern, take_pattern};
use compare::wire::{Ledger, Wire};
use compare::{report, tree};

fn run(args: &[&str]) -> bool {
    let code = compare::run(args.iter().map(OsString::from));
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

#[test]
fn stunnel_does_every_row_and_each_sample_is_in_the_json() {
    if !Path::new("/usr/bin/stunnel4").exists() {
        eprintln!("skipped: stunnel4 is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.json");
    assert!(run(&[
        "--no-adit",
        "--peer",
        "stunnel",
        "--rounds",
        "2",
        "--work",
        "0.02",
        "--limit",
        "120",
        "--json",
        file.to_str().unwrap(),
    ]));
    let results: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let rows = results["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 15);
    for row in rows {
        let stunnel = &row["peers"]["stunnel"];
        let samples = stunnel["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 2, "{row}");
        let id = row["id"].as_str().unwrap();
        for sample in samples {
            let value = sample.as_f64().unwrap();
            // A page shared with another stunnel, a neighbour test's, is counted by halves: so few
            // connections may weigh nothing then.
            assert!(value > 0.0 || id.ends_with("idle"), "{row}");
        }
        let negotiated = stunnel["negotiated"].as_str().unwrap();
        assert_eq!(id.contains("resumed"), negotiated.ends_with("resumed"));
        assert_eq!(id.contains("tls12"), negotiated.starts_with("TLSv1.2"));
        assert!(negotiated.contains("AES_256_GCM_SHA384"), "{negotiated}");
    }
}

#[test]
fn a_peer_or_a_row_that_is_not_there_or_no_round_is_refused() {
    assert!(!run(&["--no-adit", "--peer", "nobody-knows-it"]));
    assert!(!run(&["--rows", "no-such-row"]));
    assert!(!run(&["--rounds", "0"]));
}

#[test]
fn the_median_is_the_middle_or_between_the_two_middle_ones() {
    assert_eq!(report::median(&[]), None);
    assert_eq!(report::median(&[3.0]), Some(3.0));
    assert_eq!(report::median(&[9.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(report::median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
}

#[test]
fn ratios_pair_a_round_with_the_same_round() {
    // The machine was twice as slow in the second round: the ratio does not see it.
    assert_eq!(report::ratios(&[10.0, 20.0], &[20.0, 40.0]), [0.5, 0.5]);
    assert!(report::ratios(&[10.0], &[]).is_empty());
}

#[test]
fn a_table_is_markdown_with_straight_columns() {
    let rows = [vec!["work", "us"], vec!["handshake", "1016"]];
    let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect());
    assert_eq!(
        report::table(&rows),
        "| work      |   us |\n|-----------|-----:|\n| handshake | 1016 |\n"
    );
}

fn connect(upstream: &Upstream) -> Wire {
    let address = SocketAddr::from(([127, 0, 0, 1], upstream.port()));
    Wire::connect(address, None, &Ledger::default()).unwrap()
}

#[test]
fn requests_follow_one_another_on_a_connection() {
    let upstream = Upstream::start(None, Ledger::default()).unwrap();
    let mut wire = connect(&upstream);
    let odd = 3 * 64 * 1024 + 5;
    Request::Send(odd).write(&mut wire).unwrap();
    take_pattern(&mut wire, odd).unwrap();
    Request::Echo(5).write(&mut wire).unwrap();
    wire.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    wire.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    Request::Take(odd).write(&mut wire).unwrap();
    send_pattern(&mut wire, odd).unwrap();
    wire.read_exact(&mut back[..1]).unwrap();
    assert_eq!(back[0], b'K');
    wire.finish().unwrap();
}

#[test]
fn a_changed_byte_is_seen() {
    let upstream = Upstream::start(None, Ledger::default()).unwrap();
    let mut wire = connect(&upstream);
    Request::Take(3).write(&mut wire).unwrap();
    wire.write_all(b"bad").unwrap();
    assert_eq!(wire.read(&mut [0]).unwrap(), 0);
    let trouble = upstream.trouble();
    assert_eq!(trouble.as_deref(), Some("the proxy changed a byte"));
}

#[test]
fn a_tree_has_the_cpu_of_a_child_that_is_gone() {
    // The inner shell counts and ends; the outer one, which did nothing, waits for input.
    let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; read line; :";
    let mut outer = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let root = outer.id().cast_signed();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut most = 0;
    let spent = loop {
        let all = tree::processes(root).unwrap();
        let spent = tree::cpu(root).unwrap();
        most = most.max(all.len());
        if most == 2 && all.len() == 1 {
            break spent;
        }
        assert!(Instant::now() < deadline, "{all:?}");
    };
    // Only a living process has memory.
    assert!(tree::pss(root).unwrap() > 0);
    drop(outer.stdin.take());
    outer.wait().unwrap();
    assert!(spent > Duration::from_millis(20), "{spent:?}");
    assert!(tree::processes(root).unwrap().is_empty());
}
