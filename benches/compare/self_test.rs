//! The load generator, tested without adit: on Debian's stunnel, where it is installed.

#[path = "mod.rs"]
mod compare;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

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
