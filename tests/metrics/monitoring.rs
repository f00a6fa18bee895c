//! What docs/ has for Prometheus and Grafana speaks of metrics and labels that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{address, client_mode, get, wait_for_health};
use crate::require;
use crate::support::peers;
use crate::support::{Certs, Plan, apart, dead_address, tls, wait_for};

/// Labels that Prometheus adds.
const OTHERS: [&str; 2] = ["instance", "job"];

fn docs(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    fs::read_to_string(&path).expect("a file of docs/")
}

/// The names of metrics, each with its labels.
fn told(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines() {
        if let Some(about) = line.strip_prefix("# TYPE ") {
            let (name, kind) = about.split_once(' ').expect("a kind");
            let suffixes: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            for suffix in suffixes {
                all.entry(format!("{name}{suffix}")).or_default();
            }
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = all.get_mut(name).expect("a kind before its lines");
            let (labels_of, _) = rest.rsplit_once('}').expect("an end");
            let names = labels_of
                .split("\",")
                .filter_map(|label| label.split_once('='));
            labels.extend(names.map(|(label, _)| label.to_owned()));
        }
    }
    all
}

/// Every text under this key, wherever it stands.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == key) {
                    Some(text) => found.push(text),
                    None => texts(value, key, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The words of an expression that are no text.
fn words(text: &str) -> Vec<&str> {
    let outside = text.split('"').step_by(2);
    let words =
        outside.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| !word.is_empty()).collect()
}

/// Fails unless each metric in it is told, and each label that it selects or groups by is one of theirs.
#[track_caller]
fn is_told(expression: &str, all: &BTreeMap<String, BTreeSet<String>>) {
    let metrics: Vec<&str> = words(expression)
        .into_iter()
        .filter(|word| word.starts_with("adit_"))
        .collect();
    assert!(!metrics.is_empty(), "{expression}");
    let mut known: BTreeSet<&str> = OTHERS.into();
    for metric in metrics {
        let labels = all.get(metric);
        let labels = labels.unwrap_or_else(|| panic!("no metric {metric}: {expression}"));
        known.extend(labels.iter().map(String::as_str));
    }
    let mut named: Vec<&str> = Vec::new();
    for (before, part) in [("{", "}"), ("by (", ")")] {
        for rest in expression.split(before).skip(1) {
            let inside = rest.split(part).next().unwrap_or_default();
            named.extend(words(inside));
        }
    }
    for label in named {
        assert!(known.contains(label), "no label {label}: {expression}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_told() {
    require!(adit);
    let promtool = apart::program("promtool");
    require!(
        promtool.is_some(),
        "promtool is not unpacked; tests/run does it"
    );
    let promtool = promtool.expect("asked for");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let dead = dead_address();
    let pair = certs.server();
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 1")
        .service("tls", client_mode(&certs, &upstream))
        .service("mail", upstream.line() + &pair.lines())
        .service("dead", format!("client = yes\nconnect = {}", dead.address))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    peers::says_and_hears(&mut adit.connect("tls"), "hello");
    // So that something has failed.
    let _ = peers::read_until_gone(&mut adit.connect("dead"));
    let (page, all) = wait_for("a failure's cause", || {
        let page = get(address, "/metrics");
        let mut all = told(&page);
        // Nothing has failed of adit itself.
        let own = all.get_mut("adit_failures_total").expect("it is told");
        own.insert("cause".to_owned());
        let is_told = all["adit_service_failures_total"].contains("cause");
        is_told.then_some((page, all))
    });
    is_documented(&page);

    let dashboard: Value = serde_json::from_str(&docs("grafana/adit.json")).expect("JSON");
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    let mut definitions = Vec::new();
    texts(&dashboard, "definition", &mut definitions);
    assert!(definitions.iter().all(|text| text.contains("(adit_")));
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions.into_iter().enumerate() {
        is_told(expression, &all);
        let whole = expression.replace("$__rate_interval", "5m");
        let whole = whole.replace("$__interval", "5m");
        let whole = serde_json::to_string(&whole).expect("text");
        let _ = writeln!(rules, "  - {{record: 'panel{number}', expr: {whole}}}");
    }
    let panels = adit.plan.folder().join("panels.yml");
    fs::write(&panels, rules).expect("a file");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus");
    let alerts = docs("prometheus/adit.rules.yml");
    for line in alerts.lines() {
        if let Some(expression) = line.trim().strip_prefix("expr: ") {
            is_told(&expression.replace("up{job=\"adit\"}", "0"), &all);
        }
    }
    for arguments in [
        ["check", "rules"]
            .map(Path::new)
            .into_iter()
            .chain([&*panels]),
        ["check", "rules"]
            .map(Path::new)
            .into_iter()
            .chain([&*folder.join("adit.rules.yml")]),
        ["test", "rules"]
            .map(Path::new)
            .into_iter()
            .chain([&*folder.join("adit.test.yml")]),
    ] {
        let output = Command::new(&promtool).args(arguments).output();
        let output = output.expect("promtool");
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

/// Fails unless docs/metrics.md has a row for each metric, and for no other.
#[track_caller]
fn is_documented(page: &str) {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<&str> = types.filter_map(|about| about.split(' ').next()).collect();
    let text = docs("metrics.md");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows = rows.map(|(name, _)| name);
    let rows: BTreeSet<&str> = rows.filter(|name| name.starts_with("adit_")).collect();
    assert_eq!(told, rows);
}
