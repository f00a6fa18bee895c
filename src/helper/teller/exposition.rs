//! The metrics in Prometheus' text format 0.0.4. docs/metrics.md tells what each one means.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};

use super::picture::Picture;
use crate::ipc::scoreboard::{Counts, ReadOnlyBoard};

/// What is said of the format in an answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The boards that there are, by generation.
pub(super) type Boards = HashMap<u64, ReadOnlyBoard>;

/// The highest totals of each service so far. While the supervisor moves counts from a board to the
/// picture they are on neither, and a counter must never go back.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<String, Counts>);

impl Totals {
    /// Adds up what the boards and the picture have, by service; services of one name are one.
    pub(super) fn update(&mut self, picture: &Picture, boards: &Boards) {
        let named = picture
            .services
            .iter()
            .map(|name| (&**name, Counts::default()));
        let mut sums: BTreeMap<&str, Counts> = named.collect();
        for generation in &picture.generations {
            let board = boards.get(&generation.number);
            for (index, name) in generation.services.iter().enumerate() {
                let sum = sums.entry(name).or_default();
                if let Some(board) = board {
                    sum.add(board.counts(index));
                }
            }
        }
        for (name, counts) in &picture.carried {
            if let Some(sum) = sums.get_mut(&**name) {
                sum.add(*counts);
            }
        }
        self.0.retain(|name, _| sums.contains_key(&**name));
        for (name, sum) in sums {
            let total = self.0.entry(name.to_owned()).or_default();
            *total = total.highest(sum);
        }
    }
}

/// A metric's lines, under its name and what is said of it.
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) -> Metric<'_> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric {
            page: &mut self.0,
            name: name.to_owned(),
        }
    }

    fn gauge(&mut self, name: &str, help: &str) -> Metric<'_> {
        self.metric(name, "gauge", help)
    }

    fn counter(&mut self, name: &str, help: &str) -> Metric<'_> {
        self.metric(name, "counter", help)
    }
}

struct Metric<'a> {
    page: &'a mut String,
    name: String,
}

impl Metric<'_> {
    fn value(&mut self, labels: &[(&str, &dyn fmt::Display)], value: u64) {
        self.page.push_str(&self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(
                self.page,
                "{before}{label}=\"{}\"",
                escaped(&text.to_string())
            );
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.page, "{after} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The page.
pub(super) fn page(picture: &Picture, boards: &Boards, totals: &Totals, healthy: bool) -> String {
    let mut page = Page(String::new());
    about_adit(&mut page, picture, healthy);
    about_workers(&mut page, picture, boards);
    about_services(&mut page, picture, boards, totals);
    page.0
}

fn about_adit(page: &mut Page, picture: &Picture, healthy: bool) {
    page.gauge(
        "adit_build_info",
        "The version of adit that runs; always 1.",
    )
    .value(&[("version", &picture.version)], 1);
    page.gauge(
        "adit_healthy",
        "Whether every service can be reached, as /health says.",
    )
    .value(&[], healthy.into());
    let mut reloads = page.counter("adit_reloads_total", "Reloads that are over, by result.");
    reloads.value(&[("result", &"success")], picture.reloads_succeeded);
    reloads.value(&[("result", &"failure")], picture.reloads_failed);
    let mut states: BTreeMap<&str, u64> = BTreeMap::from([("serving", 0), ("draining", 0)]);
    for generation in &picture.generations {
        *states.entry(&generation.state).or_default() += 1;
    }
    let mut generations = page.gauge(
        "adit_generations",
        "Generations that have a process, by state; a reload makes another.",
    );
    for (state, count) in states {
        generations.value(&[("state", &state)], count);
    }
    let serving = picture.generations.iter().find(|g| g.serves);
    if let Some(serving) = serving {
        page.gauge(
            "adit_generation",
            "The number of the generation that serves.",
        )
        .value(&[], serving.number);
        page.gauge(
            "adit_generation_start_time_seconds",
            "When the master that serves was started, in seconds since 1970.",
        )
        .value(&[], serving.since);
    }
}

fn about_workers(page: &mut Page, picture: &Picture, boards: &Boards) {
    let serving = picture.generations.iter().find(|g| g.serves);
    let Some(board) = serving.and_then(|serving| boards.get(&serving.number)) else {
        return;
    };
    let workers: Vec<_> = (0..board.workers()).map(|i| board.worker(i)).collect();
    let mut up = page.gauge(
        "adit_worker_up",
        "Whether a worker of the serving generation is alive.",
    );
    for (index, worker) in workers.iter().enumerate() {
        up.value(&[("worker", &index)], (worker.pid != 0).into());
    }
    let mut open = page.gauge(
        "adit_worker_connections",
        "Open connections of a worker of the serving generation.",
    );
    for (index, worker) in workers.iter().enumerate() {
        open.value(&[("worker", &index)], worker.active);
    }
    let mut starts = page.counter(
        "adit_worker_starts_total",
        "Times that a worker of the serving generation was started.",
    );
    for (index, worker) in workers.iter().enumerate() {
        starts.value(&[("worker", &index)], worker.starts);
    }
}

/// A counter with its labels, and where it stands among the counts.
type Cell = (&'static [(&'static str, &'static str)], fn(&Counts) -> u64);

/// The counters of a service: name, help, cells.
const COUNTERS: [(&str, &str, &[Cell]); 7] = [
    (
        "adit_service_connections_total",
        "Connections that were accepted.",
        &[(&[], |c| c.accepted)],
    ),
    (
        "adit_service_refusals_total",
        "Clients that were refused by their address.",
        &[(&[], |c| c.refused)],
    ),
    (
        "adit_service_handshakes_total",
        "TLS handshakes that succeeded, by type.",
        &[
            (&[("type", "full")], |c| c.handshakes_new),
            (&[("type", "resumed")], |c| c.handshakes_resumed),
        ],
    ),
    (
        "adit_service_handshake_failures_total",
        "TLS handshakes, and dialogues before or behind them, that failed, by reason.",
        &[
            (&[("reason", "certificate")], |c| c.failed_certificate),
            (&[("reason", "negotiation")], |c| c.failed_negotiation),
            (&[("reason", "protocol")], |c| c.failed_protocol),
            (&[("reason", "vanished")], |c| c.failed_vanished),
            (&[("reason", "before_tls")], |c| c.failed_before_tls),
            (&[("reason", "within_tls")], |c| c.failed_within_tls),
        ],
    ),
    (
        "adit_service_handshakes_shed_total",
        "Unfinished handshakes that were ended, and connections not taken, for want of memory.",
        &[(&[], |c| c.shed)],
    ),
    (
        "adit_service_connect_failures_total",
        "Connections for which no upstream could be reached.",
        &[(&[], |c| c.connect_failed)],
    ),
    (
        "adit_service_payload_bytes_total",
        "Bytes of payload that were carried, by direction.",
        &[
            (&[("direction", "to_back")], |c| c.bytes_to_back),
            (&[("direction", "to_front")], |c| c.bytes_to_front),
        ],
    ),
];

fn about_services(page: &mut Page, picture: &Picture, boards: &Boards, totals: &Totals) {
    let mut open: BTreeMap<&str, u64> = picture.services.iter().map(|name| (&**name, 0)).collect();
    for generation in &picture.generations {
        for (index, name) in generation.services.iter().enumerate() {
            let active = boards.get(&generation.number).map(|b| b.active(index));
            *open.entry(name).or_default() += active.unwrap_or(0);
        }
    }
    let mut connections = page.gauge(
        "adit_service_connections",
        "Open connections, of all generations.",
    );
    for (name, count) in open {
        connections.value(&[("service", &name)], count);
    }
    for (name, help, cells) in COUNTERS {
        let mut counter = page.counter(name, help);
        for (service, counts) in &totals.0 {
            for (labels, read) in cells {
                let mut all: Vec<(&str, &dyn fmt::Display)> = vec![("service", service)];
                all.extend(labels.iter().map(|(label, text)| {
                    let text: &dyn fmt::Display = text;
                    (*label, text)
                }));
                counter.value(&all, read(counts));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Generation;
    use super::*;

    fn picture(accepted: u64) -> Picture {
        let counts = Counts {
            accepted,
            ..Counts::default()
        };
        Picture {
            generations: vec![Generation {
                number: 1,
                state: "serving".to_owned(),
                serves: true,
                since: 7,
                services: vec!["a\"\\\n".to_owned(), "twice".to_owned(), "twice".to_owned()],
            }],
            carried: vec![("twice".to_owned(), counts), ("gone".to_owned(), counts)],
            ..Picture::default()
        }
    }

    fn said(picture: &Picture, totals: &mut Totals) -> String {
        let boards = Boards::default();
        totals.update(picture, &boards);
        page(picture, &boards, totals, true)
    }

    #[test]
    fn services_of_one_name_are_one_and_names_are_escaped() {
        let text = said(&picture(4), &mut Totals::default());
        let wanted = "adit_service_connections_total{service=\"twice\"} 4\n";
        assert_eq!(text.matches(wanted).count(), 1, "{text}");
        assert!(
            text.contains("{service=\"a\\\"\\\\\\n\",type=\"full\"} 0\n"),
            "{text}"
        );
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn a_service_keeps_its_counts_while_no_generation_has_it() {
        let wanted = "adit_service_connections_total{service=\"twice\"} 4\n";
        let without = Picture {
            services: vec!["twice".to_owned()],
            generations: Vec::new(),
            ..picture(4)
        };
        assert!(said(&without, &mut Totals::default()).contains(wanted));
    }

    #[test]
    fn a_counter_never_goes_back() {
        let mut totals = Totals::default();
        let wanted = "adit_service_connections_total{service=\"twice\"} 4\n";
        assert!(said(&picture(4), &mut totals).contains(wanted));
        assert!(said(&picture(1), &mut totals).contains(wanted));
        let wanted = "adit_service_connections_total{service=\"twice\"} 5\n";
        assert!(said(&picture(5), &mut totals).contains(wanted));
    }
}
