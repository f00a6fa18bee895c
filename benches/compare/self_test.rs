//! The load generator, tested without adit: its parts, and the whole on Debian's stunnel where it
//! is installed. (A bench target without a harness cannot hold tests.)
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that fails shows where"
)]

#[path = "mod.rs"]
mod compare;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use compare::counts::{self, Counts};
use compare::figures::{Bar, judged, told};
use compare::upstream::{Request, Upstream, send_pattern, take_pattern};
use compare::wire::{Ledger, Wire};
use compare::{chart, figures, latency, report, scale, tree};

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
        "--at-once",
        "4",
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
fn a_direct_connection_stalls_where_nagle_waits_for_a_delayed_acknowledgement() {
    if !Path::new("/usr/bin/stunnel4").exists() {
        eprintln!("skipped: stunnel4 is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.json");
    let mut args = vec!["--first-byte", "--no-adit", "--peer", "stunnel"];
    args.extend(["--rounds", "1", "--work", "0.1", "--limit", "220"]);
    args.extend(["--json", file.to_str().unwrap()]);
    assert!(run(&args));
    let results: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let value = |what: &str| {
        let figures = results["figures"].as_array().unwrap();
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.unwrap_or_else(|| panic!("no {what}"))["value"].as_f64()
    };
    // A busy machine makes any of them slower, and none faster.
    for case in ["TLS 1.3 full, Nagle, in pieces", "TLS 1.2 resumed, Nagle"] {
        assert!(value(&format!("{case}: floor, p50")) > Some(35.0), "{case}");
        assert!(
            value(&format!("{case}: stunnel, p50")) > Some(35.0),
            "{case}"
        );
    }
    for case in ["request, Nagle", "greeting, Nagle"] {
        let direct = value(&format!("client mode, {case}: direct, p50"));
        assert!(direct > Some(35.0), "{case}");
    }
    assert!(value("TLS 1.3 full: stunnel, p99") > Some(0.0));
}

#[test]
fn rustls_alone_shakes_hands_as_each_row_says_and_does_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.json");
    let mut args = vec!["--no-adit", "--peer", "rustls", "--rounds", "1"];
    args.extend(["--work", "0.01", "--json", file.to_str().unwrap()]);
    assert!(run(&args));
    let results: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    for row in results["rows"].as_array().unwrap() {
        let (id, cell) = (row["id"].as_str().unwrap(), &row["peers"]["rustls"]);
        let shakes_hands = id.contains("handshake") || id.contains("resumed");
        assert_eq!(shakes_hands, !cell.is_null(), "{id}");
        if shakes_hands {
            assert!(cell["median"].as_f64().unwrap() > 0.0, "{id}");
            let negotiated = cell["negotiated"].as_str().unwrap();
            assert_eq!(id.contains("resumed"), negotiated.ends_with("resumed"));
            assert_eq!(id.contains("tls12"), negotiated.starts_with("TLSv1.2"));
        }
    }
}

#[test]
fn a_peer_or_a_row_that_is_not_there_or_no_round_is_refused() {
    assert!(!run(&["--no-adit", "--peer", "nobody-knows-it"]));
    assert!(!run(&["--rows", "no-such-row"]));
    assert!(!run(&["--rounds", "0"]));
    assert!(!run(&["--at-once", "0"]));
    assert!(!run(&["--at-once", "1001"]));
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

#[test]
fn a_percentile_is_a_value_that_was_measured() {
    let values: Vec<f64> = (1..=200).map(f64::from).collect();
    assert_eq!(latency::percentile(&values, 0.50), 100.0);
    assert_eq!(latency::percentile(&values, 0.99), 198.0);
    assert_eq!(latency::percentile(&values[..1], 0.99), 1.0);
    assert!(latency::percentile(&[], 0.5).is_nan());
}

#[test]
fn two_cores_are_bound_by_the_busiest_worker_or_by_both_being_busy() {
    // One worker does all: the other core cannot help it.
    assert_eq!(scale::capacity(400.0, 420.0), 2500.0);
    // Two share, and what is not theirs needs the same cores.
    assert_eq!(scale::capacity(200.0, 500.0), 4000.0);
}

#[test]
fn a_figure_is_held_against_its_bar() {
    let figures = [
        told("seen", 1.0, "us"),
        judged("low", 2.0, "ms", Bar::AtMost(2.0)),
        judged("high", 1.7, "", Bar::AtLeast(1.8)),
    ];
    let met: Vec<_> = figures.iter().map(figures::Figure::met).collect();
    assert_eq!(met, [None, Some(true), Some(false)]);
    let text = figures::text("Title", &figures);
    assert!(text.contains("at most 2: met"), "{text}");
    assert!(text.contains("1.70 |") && text.contains("at least 1.8: missed"));
}

#[test]
fn strace_s_lines_are_counted_by_thread_and_a_resumed_call_once() {
    let text = "10    read(3, <unfinished ...>\n11 write(4, \"x\", 1) = 1\n\
                10 <... read resumed>\"x\", 1) = 1\n10 +++ exited with 0 +++\n100 close(3) = 0\n";
    let of = |threads: &[&str]| {
        let threads: Vec<String> = threads.iter().map(ToString::to_string).collect();
        counts::calls(text, &threads)
    };
    assert_eq!(of(&["10"]), 1);
    assert_eq!(of(&["10", "11"]), 2);
    assert_eq!(of(&["1"]), 0);
}

#[test]
fn a_dump_that_is_not_whole_has_no_total() {
    assert_eq!(counts::totals("fn=(1)\n1 2\ntotals: 4711\n"), Some(4711));
    assert_eq!(counts::totals("summary: 4711\nfn=(1)\n"), None);
    assert_eq!(counts::totals(""), None);
}

fn numbers(tool: &str, list: &[(&str, f64)]) -> Counts {
    Counts {
        tools: [("valgrind".to_owned(), tool.to_owned())].into(),
        counts: list.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
    }
}

#[test]
fn what_became_dearer_by_more_than_two_percent_is_told_apart_from_what_did_not() {
    let then = numbers("1", &[("a", 1000.0), ("b", 1000.0), ("gone", 1.0)]);
    let (text, dearer) = counts::compare(&then, &numbers("1", &[("a", 1019.0), ("b", 900.0)]));
    assert!(!dearer && text.contains("cheaper"), "{text}");
    let (text, dearer) = counts::compare(&then, &numbers("1", &[("a", 1021.0), ("new", 5.0)]));
    assert!(
        dearer && text.contains("DEARER") && text.contains("new"),
        "{text}"
    );
}

#[test]
fn numbers_of_other_tools_are_not_compared() {
    let then = numbers("valgrind-3.19.0", &[]);
    assert!(counts::differences(&then, &then).is_empty());
    let told = counts::differences(&then, &numbers("valgrind-3.22.0", &[]));
    assert_eq!(
        told,
        ["valgrind: valgrind-3.19.0 then, valgrind-3.22.0 now"]
    );
}

#[test]
fn the_baseline_in_the_tree_can_be_read_and_has_every_row_that_is_counted() {
    let text = fs::read_to_string(counts::BASELINE).unwrap();
    let counts: Counts = serde_json::from_str(&text).unwrap();
    assert_eq!(counts.counts.len(), 13 * 2);
    assert!(counts.counts.values().all(|value| *value > 0.0));
}

#[test]
fn a_chart_has_a_bar_for_each_peer_that_does_a_row_and_none_for_the_floor() {
    let results = serde_json::json!({
        "peers": [{"name": "adit"}, {"name": "stunnel"}, {"name": "hitch"}, {"name": "sockets"}, {"name": "rustls"}],
        "rows": [
            {"label": "first", "peers": {"adit": {}, "stunnel": {"median_ratio": 0.5},
                "hitch": {"median_ratio": 2.0}, "sockets": {"median_ratio": 3.0}}},
            {"label": "second", "peers": {"stunnel": {"median_ratio": 0.25}, "hitch": null}},
        ],
    });
    let (peers, groups) = chart::groups(&results).unwrap();
    assert_eq!(peers, ["stunnel", "hitch"]);
    assert_eq!(groups[0].bars, [(0, 0.5), (1, 2.0)]);
    assert_eq!(groups[1].bars, [(0, 0.25)]);
    let dir = tempfile::tempdir().unwrap();
    let (json, svg) = (dir.path().join("run.json"), dir.path().join("cost.svg"));
    fs::write(&json, results.to_string()).unwrap();
    let (json, svg) = (json.to_str().unwrap(), svg.to_str().unwrap());
    assert!(run(&["--from", json, "--chart", svg]));
    let picture = fs::read_to_string(svg).unwrap();
    assert!(picture.contains("second") && picture.contains("2.00"));
    assert!(!run(&["--from", json]), "it says where from, not where to");
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
