//! The metrics in Prometheus' text format 0.0.4. docs/metrics.md tells what each one means.

mod format;
mod servers;

use std::collections::{BTreeMap, HashMap};

use format::{Page, labelled};

use super::failures;
use super::picture::{Generation, Picture};
use crate::incidents::Cause;
use crate::ipc::durations::{BOUNDS, Histogram, SESSION_MILLIS, STEP_MILLIS};
use crate::ipc::scoreboard::{Counts, ReadOnlyBoard};
use crate::sys::queues::Queues;

/// What is said of the format in an answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The boards that there are, by generation.
pub(super) type Boards = HashMap<u64, ReadOnlyBoard>;

/// The highest totals of each service so far. While the supervisor moves counts from a board to the
/// picture they are on neither, and a counter must never go back.
#[derive(Debug, Default)]
pub(super) struct Totals(
    BTreeMap<String, Counts>,
    BTreeMap<(String, Cause), u64>,
    /// Those of adit itself.
    BTreeMap<Cause, u64>,
);

impl Totals {
    /// Each service and what was counted for it.
    pub(super) fn services(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.0.iter().map(|(name, counts)| (&**name, counts))
    }

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
        let services = &self.0;
        self.1.retain(|(name, _), _| services.contains_key(name));
        for (name, ledger) in failures::by_service(picture, boards) {
            for tally in ledger.tallies {
                let total = self.1.entry((name.clone(), tally.cause)).or_default();
                *total = tally.count.max(*total);
            }
        }
        for tally in failures::of_adit(picture, boards).tallies {
            let total = self.2.entry(tally.cause).or_default();
            *total = tally.count.max(*total);
        }
    }
}

/// The page. `queues`: where the kernel tells them, by the inode of the listener.
pub(super) fn page(known: &Seen<'_>, queues: Option<&Queues>) -> String {
    let mut page = Page(String::new());
    about_adit(&mut page, known);
    about_workers(&mut page, known);
    about_services(&mut page, known);
    if let Some(queues) = queues {
        about_queues(&mut page, known.picture, queues);
    }
    page.0
}

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub picture: &'a Picture,
    pub boards: &'a Boards,
    pub totals: &'a Totals,
    pub healthy: bool,
}

impl<'a> Seen<'a> {
    /// The generation that serves, and its board.
    pub(super) fn serving(&self) -> Option<(&'a Generation, &'a ReadOnlyBoard)> {
        let serving = self.picture.generations.iter().find(|g| g.serves)?;
        Some((serving, self.boards.get(&serving.number)?))
    }
}

fn about_adit(page: &mut Page, seen: &Seen<'_>) {
    let picture = seen.picture;
    page.gauge(
        "adit_build_info",
        "The version of adit that runs; always 1.",
    )
    .of("version", &picture.version, 1);
    page.gauge(
        "adit_healthy",
        "Whether every service can be reached, as /health says.",
    )
    .value(seen.healthy.into());
    let mut reloads = page.counter("adit_reloads_total", "Reloads that are over, by result.");
    reloads.of("result", &"success", picture.reloads_succeeded);
    reloads.of("result", &"failure", picture.reloads_failed);
    let mut states: BTreeMap<&str, u64> = BTreeMap::from([("serving", 0), ("draining", 0)]);
    for generation in &picture.generations {
        *states.entry(&generation.state).or_default() += 1;
    }
    let mut generations = page.gauge(
        "adit_generations",
        "Generations that have a process, by state; a reload makes another.",
    );
    for (state, count) in states {
        generations.of("state", &state, count);
    }
    if let Some(serving) = picture.generations.iter().find(|g| g.serves) {
        page.gauge(
            "adit_generation",
            "The number of the generation that serves.",
        )
        .value(serving.number);
        page.gauge(
            "adit_generation_start_time_seconds",
            "When the master that serves was started, in seconds since 1970.",
        )
        .value(serving.since);
    }
    let draining = picture.generations.iter().filter(|g| !g.serves);
    let boards = draining.filter_map(|generation| seen.boards.get(&generation.number));
    // What workers write may be any number.
    let left = boards
        .map(ReadOnlyBoard::connections)
        .fold(0, u64::saturating_add);
    page.gauge(
        "adit_draining_connections",
        "Open connections of generations that serve no more.",
    )
    .value(left);
    let mut restarts = page.counter(
        "adit_helper_restarts_total",
        "Times that a helper died and was replaced, by what it does.",
    );
    for (helper, count) in &picture.helpers {
        restarts.of("helper", helper, *count);
    }
}

fn about_workers(page: &mut Page, seen: &Seen<'_>) {
    let Some((_, board)) = seen.serving() else {
        return;
    };
    let workers: Vec<_> = (0..board.workers()).map(|i| board.worker(i)).collect();
    let mut up = page.gauge(
        "adit_worker_up",
        "Whether a worker of the serving generation is alive.",
    );
    for (index, worker) in workers.iter().enumerate() {
        up.of("worker", &index, (worker.pid != 0).into());
    }
    let mut open = page.gauge(
        "adit_worker_connections",
        "Open connections of a worker of the serving generation.",
    );
    for (index, worker) in workers.iter().enumerate() {
        open.of("worker", &index, worker.active);
    }
    let mut restarts = page.counter(
        "adit_worker_restarts_total",
        "Times that a worker of the serving generation died and was replaced.",
    );
    for (index, worker) in workers.iter().enumerate() {
        restarts.of("worker", &index, worker.starts.saturating_sub(1));
    }
}

/// Labels, and where the value stands among the counts.
type Cell = (&'static str, fn(&Counts) -> u64);

/// The counters of a service: name, help, cells.
const COUNTERS: [(&str, &str, &[Cell]); 9] = [
    (
        "adit_service_connections_total",
        "Connections that were accepted.",
        &[("", |c| c.accepted)],
    ),
    (
        "adit_service_refusals_total",
        "Clients that were refused by their address.",
        &[("", |c| c.refused)],
    ),
    (
        "adit_service_probes_total",
        "Connections that said nothing and went, as those of a load balancer's health check.",
        &[("", |c| c.probes)],
    ),
    (
        "adit_service_handshakes_total",
        "TLS handshakes that succeeded, by version and type.",
        &[
            ("version=\"TLSv1\",type=\"full\"", |c| c.full_tls10),
            ("version=\"TLSv1\",type=\"resumed\"", |c| c.resumed_tls10),
            ("version=\"TLSv1.1\",type=\"full\"", |c| c.full_tls11),
            ("version=\"TLSv1.1\",type=\"resumed\"", |c| c.resumed_tls11),
            ("version=\"TLSv1.2\",type=\"full\"", |c| c.full_tls12),
            ("version=\"TLSv1.2\",type=\"resumed\"", |c| c.resumed_tls12),
            ("version=\"TLSv1.3\",type=\"full\"", |c| c.full_tls13),
            ("version=\"TLSv1.3\",type=\"resumed\"", |c| c.resumed_tls13),
        ],
    ),
    (
        "adit_service_handshake_failures_total",
        "TLS handshakes, and dialogues before or behind them, that failed, by reason.",
        &[
            ("reason=\"certificate\"", |c| c.failed_certificate),
            ("reason=\"negotiation\"", |c| c.failed_negotiation),
            ("reason=\"protocol\"", |c| c.failed_protocol),
            ("reason=\"vanished\"", |c| c.failed_vanished),
            ("reason=\"before_tls\"", |c| c.failed_before_tls),
            ("reason=\"within_tls\"", |c| c.failed_within_tls),
        ],
    ),
    (
        "adit_service_handshakes_shed_total",
        "Unfinished handshakes that were ended, and connections not taken, for want of memory.",
        &[("", |c| c.shed)],
    ),
    (
        "adit_service_limits_total",
        "Times that a limit of the service was met, by limit.",
        &[
            ("limit=\"connections\"", |c| c.full),
            ("limit=\"address_connections\"", |c| c.over_address),
            ("limit=\"address_rate\"", |c| c.over_rate),
            ("limit=\"handshake_time\"", |c| c.late),
        ],
    ),
    (
        "adit_service_connect_failures_total",
        "Connections for which no upstream could be reached.",
        &[("", |c| c.connect_failed)],
    ),
    (
        "adit_service_payload_bytes_total",
        "Bytes of payload that were carried, by direction.",
        &[
            ("direction=\"to_back\"", |c| c.bytes_to_back),
            ("direction=\"to_front\"", |c| c.bytes_to_front),
        ],
    ),
];

fn about_services(page: &mut Page, seen: &Seen<'_>) {
    let mut connections = page.gauge(
        "adit_service_connections",
        "Open connections, of all generations.",
    );
    for (name, count) in open_connections(seen) {
        connections.of("service", &name, count);
    }
    let mut ends = page.gauge(
        "adit_service_certificate_expiry_timestamp_seconds",
        "When the certificate ends that is shown to clients (front) or servers (back), in seconds since 1970.",
    );
    if let Some((serving, board)) = seen.serving() {
        for (index, name) in serving.services.iter().enumerate() {
            let service = labelled("service", name);
            let sides = ["side=\"front\"", "side=\"back\""];
            for (side, at) in sides.into_iter().zip(board.ends(index)) {
                if let Some(at) = at {
                    ends.line("", &service, side, at);
                }
            }
        }
    }
    servers::about_servers(page, seen);
    let services = seen.totals.0.iter();
    let services: Vec<(String, &Counts)> = services
        .map(|(service, counts)| (labelled("service", service), counts))
        .collect();
    for (name, help, cells) in COUNTERS {
        let mut counter = page.counter(name, help);
        for (service, counts) in &services {
            for (labels, read) in cells {
                counter.line("", service, labels, read(counts));
            }
        }
    }
    about_failures(page, seen);
    for (name, help, bounds, read) in HISTOGRAMS {
        let mut histogram = page.metric(name, "histogram", help);
        let bounds = bounds.map(|millis| format!("le=\"{}\"", millis as f64 / 1000.0));
        for (service, counts) in &services {
            histogram.durations(service, &bounds, read(counts));
        }
    }
}

/// A cause that was never met has no line: there are forty.
fn about_failures(page: &mut Page, seen: &Seen<'_>) {
    let mut failures = page.counter(
        "adit_service_failures_total",
        "What went wrong with connections, by cause.",
    );
    for ((service, cause), count) in &seen.totals.1 {
        let service = labelled("service", service);
        failures.line("", &service, &labelled("cause", &cause.name()), *count);
    }
    let mut own = page.counter(
        "adit_failures_total",
        "What went wrong with adit itself, by cause.",
    );
    for (cause, count) in &seen.totals.2 {
        own.of("cause", &cause.name(), *count);
    }
}

/// A histogram of a service: name, help, bounds in milliseconds, where it stands among the counts.
type Row = (
    &'static str,
    &'static str,
    [u64; BOUNDS],
    fn(&Counts) -> &Histogram,
);

const HISTOGRAMS: [Row; 3] = [
    (
        "adit_service_handshake_duration_seconds",
        "How long TLS handshakes that succeeded took, at either end.",
        STEP_MILLIS,
        |c| &c.handshake,
    ),
    (
        "adit_service_connect_duration_seconds",
        "How long it took to reach the upstream.",
        STEP_MILLIS,
        |c| &c.connect,
    ),
    (
        "adit_service_session_duration_seconds",
        "How long connections lasted that are over.",
        SESSION_MILLIS,
        |c| &c.session,
    ),
];

/// The open connections of each service, over all generations.
pub(super) fn open_connections<'a>(seen: &Seen<'a>) -> BTreeMap<&'a str, u64> {
    let picture = seen.picture;
    let mut open: BTreeMap<&str, u64> = picture.services.iter().map(|name| (&**name, 0)).collect();
    for generation in &picture.generations {
        for (index, name) in generation.services.iter().enumerate() {
            let board = seen.boards.get(&generation.number);
            let active = board.map_or(0, |board| board.active(index));
            let sum = open.entry(name).or_default();
            *sum = sum.saturating_add(active);
        }
    }
    open
}

/// A service has as many queues as addresses.
fn about_queues(page: &mut Page, picture: &Picture, queues: &Queues) {
    let mut sums: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for listening in &picture.listening {
        if let Some(queue) = queues.get(&listening.inode) {
            let [waiting, most] = sums.entry(&listening.service).or_default();
            *waiting += u64::from(queue.waiting);
            *most += u64::from(queue.most);
        }
    }
    let metrics = [
        (
            "adit_service_accept_queue_connections",
            "Connections that wait to be accepted, at all addresses of the service.",
        ),
        (
            "adit_service_accept_queue_limit_connections",
            "Connections that may wait to be accepted.",
        ),
    ];
    for (at, (name, help)) in metrics.into_iter().enumerate() {
        let mut metric = page.gauge(name, help);
        for (service, sums) in &sums {
            metric.of("service", service, sums[at]);
        }
    }
}

#[cfg(test)]
mod tests {
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
        let seen = Seen {
            picture,
            boards: &boards,
            totals,
            healthy: true,
        };
        page(&seen, None)
    }

    #[test]
    fn services_of_one_name_are_one_and_names_are_escaped() {
        let text = said(&picture(4), &mut Totals::default());
        let wanted = "adit_service_connections_total{service=\"twice\"} 4\n";
        assert_eq!(text.matches(wanted).count(), 1, "{text}");
        assert!(
            text.contains("{service=\"a\\\"\\\\\\n\",version=\"TLSv1.2\",type=\"full\"} 0\n"),
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
