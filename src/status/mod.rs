//! What adit reports about itself: one document, for `adit status` and every other reader of the
//! scoreboard. Never in here: a socket, or where a document is sent.
#![forbid(unsafe_code)]

mod connections;
mod failures;
mod fit;
mod live;
mod ocsp;
mod services;
mod table;
mod utc;

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::helper::KnownNames;
pub(crate) use crate::ipc::addresses::now;
use crate::ipc::scoreboard::{Counts, Scoreboard};
use crate::sandbox::Strength;
use crate::tls::{CipherOrder, Seen};
pub(crate) use connections::Listed;
pub(crate) use failures::{FailureStatus, IncidentStatus};
pub(crate) use live::live;
pub(crate) use ocsp::OcspStatus;
pub(crate) use services::bytes;
pub(crate) use table::table;
pub(crate) use utc::Utc;

/// A supervisor's report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Its process.
    pub pid: u32,
    /// adit's version.
    pub version: String,
    /// When it answered, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
    /// The configuration file that it was started with; `None` if there was no file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Sockets that systemd passed to it (`LISTEN_FDS`).
    #[serde(default)]
    pub passed: usize,
    /// The sandbox's strength; an older supervisor does not report it.
    #[serde(default)]
    pub sandbox: Option<Strength>,
    /// The cipher order where a service names no cipher; as `sandbox`.
    #[serde(default)]
    pub ciphers: Option<CipherOrder>,
    /// The names of the configuration and their addresses.
    #[serde(default)]
    pub names: KnownNames,
    /// How the reloads went.
    pub reloads: ReloadStatus,
    /// The running generation and those that are draining, oldest first.
    pub generations: Vec<GenerationStatus>,
    /// The processes that others ask.
    #[serde(default)]
    pub helpers: Vec<HelperStatus>,
    /// What went wrong with adit itself, as a reload that failed; the latest first.
    #[serde(default)]
    pub failures: Vec<FailureStatus>,
}

/// A helper that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HelperStatus {
    /// `resolver` and the like.
    pub kind: String,
    /// Its process.
    pub pid: u32,
}

/// Reloads since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadStatus {
    /// Reloads after which another configuration was in force.
    pub succeeded: u64,
    /// Reloads after which the running configuration stayed in force.
    pub failed: u64,
    /// A generation is being started, for a reload or for another reason.
    pub under_way: bool,
}

/// A master and its workers, with the configuration they were started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GenerationStatus {
    /// Counted from 1 over reloads.
    pub number: u64,
    /// `serving`, `draining` and the like.
    pub state: String,
    /// The master's process.
    pub pid: u32,
    /// The process that stands ready to replace the master; 0 while there is none and should be one.
    #[serde(default)]
    pub spare: Option<u32>,
    /// When it was started, in seconds since 1970 in UTC.
    pub since: u64,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Its services, in the order of the file.
    pub services: Vec<ServiceStatus>,
    /// What is dangerous for as long as it runs.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// Its number in the generation, from 0.
    pub index: usize,
    /// Its process; 0 while there is none.
    pub pid: u32,
    /// Open connections.
    pub active: u64,
    /// Number of the last socket it claimed.
    pub claimed: u64,
    /// Times it was started.
    pub starts: u64,
    /// It is there for services with old TLS.
    #[serde(default)]
    pub old: bool,
}

/// A service's counts over all workers of the generation. The serving generation also shows the totals
/// of the generations before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    /// The section's name.
    pub name: String,
    /// Addresses that it accepts on, with their ports; none in a generation that does not serve.
    #[serde(default)]
    pub accept: Vec<String>,
    /// An administrator has drained it: nothing more is accepted for it.
    #[serde(default)]
    pub drained: bool,
    /// What it connects to, as the configuration has it: its entries of `connect`, or its program.
    #[serde(default)]
    pub connect: Vec<String>,
    /// The upstream that answered last.
    #[serde(default)]
    pub upstream: Option<UpstreamStatus>,
    /// Its own certificates, as they were loaded.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Full TLS handshakes.
    pub handshakes_new: u64,
    /// Resumed TLS handshakes.
    pub handshakes_resumed: u64,
    /// Failures because of the peer's certificate, or for lack of one. These four count failed
    /// handshakes, and fatal alerts after the handshake.
    pub failed_certificate: u64,
    /// Handshakes without a common version, suite or group.
    pub failed_negotiation: u64,
    /// Handshakes that were garbage, or violated the protocol.
    pub failed_protocol: u64,
    /// Handshakes whose peer disconnected, or was silent for too long.
    pub failed_vanished: u64,
    /// Dialogues before TLS (`protocol`) that failed.
    #[serde(default)]
    pub failed_before_tls: u64,
    /// Dialogues within TLS (a login, a request) that failed.
    #[serde(default)]
    pub failed_within_tls: u64,
    /// Clients that were refused by their address, of those accepted.
    #[serde(default)]
    pub refused: u64,
    /// Clients that came and went without a word, of those accepted.
    #[serde(default)]
    pub checks: u64,
    /// Unfinished handshakes that were ended, and connections not taken, for want of memory.
    #[serde(default)]
    pub shed: u64,
    /// Clients that were not relayed in time (`TIMEOUThandshake`), and so were ended.
    #[serde(default)]
    pub late: u64,
    /// Clients that were refused, and are not among those accepted: their address connects too often (`connectRate`).
    #[serde(default)]
    pub over_rate: u64,
    /// The same: their address has as many connections as it may (`maxConnectionsPerAddress`).
    #[serde(default)]
    pub over_address: u64,
    /// Times that clients had to wait, since there were as many connections as there may be (`maxConnections`).
    #[serde(default)]
    pub full: u64,
    /// Servers that `probe` looks at; 0: it does not, or has not yet.
    #[serde(default)]
    pub probed: u32,
    /// Those of them that do not answer, and come last.
    #[serde(default)]
    pub ejected: u32,
    /// Connections for which no upstream could be reached.
    pub connect_failed: u64,
    /// Bytes of payload carried from front to back.
    pub bytes_to_back: u64,
    /// Bytes of payload carried from back to front.
    pub bytes_to_front: u64,
    /// What is stapled to its certificate; `None`: nothing ever is.
    #[serde(default)]
    pub ocsp: Option<OcspStatus>,
    /// What went wrong, by cause, the latest first.
    #[serde(default)]
    pub failures: Vec<FailureStatus>,
    /// The last failures, whatever their cause, the latest first.
    #[serde(default)]
    pub recent_failures: Vec<IncidentStatus>,
}

/// The upstream that answered last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    /// Its address, or the path of its socket.
    pub address: String,
    /// When it was connected, in seconds since 1970.
    pub at: u64,
}

/// A service's own certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CertificateStatus {
    /// `clients` or `servers`.
    pub shown_to: String,
    /// The file that it came from.
    pub file: Option<PathBuf>,
    /// When it ends, in seconds since 1970.
    pub ends: u64,
}

impl GenerationStatus {
    /// Whether it accepts nothing more.
    fn is_draining(&self) -> bool {
        self.state == "draining"
    }

    /// Open connections.
    fn active(&self) -> u64 {
        let active = self.workers.iter().map(|worker| worker.active);
        active.fold(0, u64::saturating_add)
    }
}

impl WorkerStatus {
    /// Reads worker `index` of this board.
    pub(crate) fn of(board: &Scoreboard, index: usize) -> WorkerStatus {
        let row = board.worker(index);
        WorkerStatus {
            index,
            pid: row.pid().load(Relaxed) as u32,
            active: row.active().load(Relaxed),
            claimed: row.last_claimed(),
            starts: row.starts().load(Relaxed),
            old: row.old().load(Relaxed) == 1,
        }
    }
}

impl ServiceStatus {
    /// Reads service `index` of this board, over all workers, and adds `carried`: the counts of earlier
    /// generations.
    pub(crate) fn of(
        board: &Scoreboard,
        index: usize,
        name: &str,
        carried: &Counts,
        stapled: impl Fn(usize) -> Option<Seen>,
    ) -> ServiceStatus {
        let slot = board.shared(index).staple().load(Relaxed);
        let slot = slot
            .checked_sub(1)
            .and_then(|slot| usize::try_from(slot).ok());
        let mut counts = board.counts(index);
        counts.add(*carried);
        ServiceStatus {
            name: name.to_owned(),
            accept: Vec::new(),
            drained: false,
            connect: Vec::new(),
            upstream: None,
            certificates: Vec::new(),
            active: board.active(index),
            accepted: counts.accepted,
            handshakes_new: counts.handshakes_new,
            handshakes_resumed: counts.handshakes_resumed,
            failed_certificate: counts.failed_certificate,
            failed_negotiation: counts.failed_negotiation,
            failed_protocol: counts.failed_protocol,
            failed_vanished: counts.failed_vanished,
            failed_before_tls: counts.failed_before_tls,
            failed_within_tls: counts.failed_within_tls,
            refused: counts.refused,
            checks: counts.probes,
            shed: counts.shed,
            late: counts.late,
            over_rate: counts.over_rate,
            over_address: counts.over_address,
            full: counts.full,
            probed: board.probes(index).tally().probed,
            ejected: board.probes(index).tally().ejected,
            connect_failed: counts.connect_failed,
            bytes_to_back: counts.bytes_to_back,
            bytes_to_front: counts.bytes_to_front,
            ocsp: slot
                .and_then(stapled)
                .map(|seen| OcspStatus::at(now(), seen)),
            failures: Vec::new(),
            recent_failures: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A status with a value in every field.
    pub(crate) fn example() -> Status {
        Status {
            pid: 100,
            version: "0.1.0".into(),
            at: 1_795_513_690,
            file: Some("/etc/adit/adit.conf".into()),
            passed: 0,
            sandbox: Some(Strength {
                seccomp: true,
                landlock: 2,
            }),
            ciphers: Some(CipherOrder {
                aes_instructions: false,
                chacha20_first: true,
            }),
            names: KnownNames::example(),
            reloads: ReloadStatus {
                succeeded: 3,
                failed: 1,
                under_way: false,
            },
            generations: vec![GenerationStatus {
                number: 2,
                state: "serving".into(),
                pid: 102,
                spare: Some(105),
                since: 1_795_513_570,
                workers: vec![
                    WorkerStatus {
                        index: 0,
                        pid: 103,
                        active: 12,
                        claimed: 4711,
                        starts: 1,
                        old: false,
                    },
                    WorkerStatus {
                        index: 1,
                        starts: 3,
                        old: true,
                        ..WorkerStatus::default()
                    },
                ],
                services: vec![ServiceStatus {
                    name: "smtp".into(),
                    accept: vec!["127.0.0.1:25".into()],
                    drained: true,
                    connect: vec!["mail.example:465".into()],
                    upstream: Some(UpstreamStatus {
                        address: "192.0.2.1:465".into(),
                        at: 1_795_513_570,
                    }),
                    certificates: vec![CertificateStatus {
                        shown_to: "servers".into(),
                        file: Some("/etc/adit/mail.pem".into()),
                        ends: 1_796_636_890,
                    }],
                    accepted: 4711,
                    active: 12,
                    handshakes_new: 1000,
                    handshakes_resumed: 3700,
                    failed_certificate: 1,
                    failed_negotiation: 2,
                    failed_protocol: 3,
                    failed_vanished: 4,
                    failed_before_tls: 5,
                    failed_within_tls: 0,
                    refused: 6,
                    checks: 0,
                    shed: 7,
                    late: 8,
                    over_rate: 9,
                    over_address: 0,
                    full: 0,
                    probed: 2,
                    ejected: 1,
                    connect_failed: 1,
                    bytes_to_back: 1023,
                    bytes_to_front: 3 << 30,
                    ocsp: Some(OcspStatus {
                        status: "revoked".into(),
                        until: 1_795_513_570,
                        failures: 2,
                    }),
                    failures: vec![FailureStatus::example()],
                    recent_failures: vec![IncidentStatus::example()],
                }],
                warnings: vec!["Service [smtp]: TLSv1 is served to every client".into()],
            }],
            helpers: vec![HelperStatus {
                kind: "resolver".into(),
                pid: 101,
            }],
            failures: vec![FailureStatus::example()],
        }
    }

    /// The names of all values in a document: `[]` for each of a list, `*` for each name of an address book.
    fn fields(value: &serde_json::Value, name: &str, into: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Array(all) => {
                assert!(!all.is_empty(), "{name}: the example has none");
                for one in all {
                    fields(one, &format!("{name}[]"), into);
                }
            }
            serde_json::Value::Object(all) => {
                for (key, one) in all {
                    let key = if name == "names" { "*" } else { key };
                    let dot = if name.is_empty() { "" } else { "." };
                    fields(one, &format!("{name}{dot}{key}"), into);
                }
            }
            _ => drop(into.insert(name.to_owned())),
        }
    }

    #[test]
    fn each_field_stands_in_the_documentation_and_no_other() {
        let mut there = BTreeSet::new();
        fields(&serde_json::to_value(example()).unwrap(), "", &mut there);
        let (status, connections) = include_str!("../../docs/status.md")
            .split_once("## The list of connections")
            .unwrap();
        let told = |section: &str| -> BTreeSet<String> {
            let rows = section.lines();
            let rows = rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` |"));
            rows.map(|(field, _)| field.to_owned()).collect()
        };
        assert_eq!(there, told(status));
        let mut there = BTreeSet::new();
        let list = connections::tests::example();
        fields(&serde_json::to_value(list).unwrap(), "", &mut there);
        assert_eq!(there, told(connections));
    }

    #[test]
    fn programs_get_a_document_with_these_names() {
        let value = serde_json::to_value(example()).unwrap();
        assert_eq!(value["pid"], 100);
        assert_eq!(value["reloads"]["succeeded"], 3);
        assert_eq!(value["sandbox"]["seccomp"], true);
        assert_eq!(value["sandbox"]["landlock"], 2);
        assert_eq!(value["ciphers"]["chacha20_first"], true);
        assert_eq!(
            value["names"]["mail.example"]["addresses"][0],
            "192.0.2.1:0"
        );
        assert_eq!(value["names"]["mail.example"]["kept"], true);
        let generation = &value["generations"][0];
        assert_eq!(generation["pid"], 102);
        assert_eq!(generation["spare"], 105);
        assert_eq!(generation["state"], "serving");
        assert_eq!(generation["workers"][0]["claimed"], 4711);
        assert_eq!(generation["services"][0]["handshakes_resumed"], 3700);
        let back: Status = serde_json::from_value(value).unwrap();
        assert_eq!(back, example());
    }
}
