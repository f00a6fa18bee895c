//! The document as tables.

use std::fmt::{self, Write as _};

use super::{GenerationStatus, OcspStatus, ServiceStatus, Status, Utc, WorkerStatus};

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "adit {}, supervisor {}", self.version, self.pid)?;
        if let Some(file) = &self.file {
            writeln!(f, "Configuration: {}", file.display())?;
        }
        if let Some(strength) = &self.sandbox {
            writeln!(f, "Sandbox: {strength}")?;
        }
        if let Some(order) = &self.ciphers {
            writeln!(f, "Ciphers: {order}")?;
        }
        for name in self.names.kept() {
            let name = name.escape_debug();
            writeln!(
                f,
                "Warning: {name}: DNS did not answer when the configuration was loaded: the addresses that it had are kept"
            )?;
        }
        for generation in &self.generations {
            writeln!(
                f,
                "\nGeneration {}: {}, {}{}{}, since {}",
                generation.number,
                generation.state,
                match generation.pid {
                    0 => "without a master".to_owned(),
                    pid => format!("master {pid}"),
                },
                match generation.spare {
                    None => String::new(),
                    Some(0) => ", no spare".to_owned(),
                    Some(pid) => format!(", spare {pid}"),
                },
                match generation.is_draining() {
                    true => format!(", {} connection(s) left", generation.active()),
                    false => String::new(),
                },
                Utc(generation.since)
            )?;
            f.write_char('\n')?;
            f.write_str(&workers(generation))?;
            f.write_char('\n')?;
            f.write_str(&services(&generation.services))?;
            for service in &generation.services {
                if service.shed > 0 {
                    let (name, shed) = (service.name.escape_debug(), service.shed);
                    writeln!(
                        f,
                        "  Service [{name}]: {shed} handshake(s) ended or connection(s) not taken for want of memory"
                    )?;
                }
                for line in limits(service) {
                    writeln!(f, "  {line}")?;
                }
                if let Some(ocsp) = &service.ocsp {
                    writeln!(f, "  {}", stapled(&service.name, ocsp))?;
                }
            }
            for warning in &generation.warnings {
                writeln!(f, "  Warning: {}", warning.escape_debug())?;
            }
        }
        Ok(())
    }
}

fn workers(generation: &GenerationStatus) -> String {
    let head = ["worker", "pid", "active", "claimed", "starts"];
    // Those that have nothing more to do have ended.
    let ended = |worker: &&WorkerStatus| generation.is_draining() && worker.pid == 0;
    let there = generation.workers.iter().filter(|worker| !ended(worker));
    let rows = there.map(|worker| {
        let pid = match worker.pid {
            0 => "-".to_owned(),
            pid => pid.to_string(),
        };
        let index = match worker.old {
            true => format!("{} (old TLS)", worker.index),
            false => worker.index.to_string(),
        };
        [
            index,
            pid,
            worker.active.to_string(),
            worker.claimed.to_string(),
            worker.starts.to_string(),
        ]
    });
    table(GAP, head, rows)
}

/// What a service's limits have done.
fn limits(service: &ServiceStatus) -> impl Iterator<Item = String> {
    let name = service.name.escape_debug();
    let met = [(service.late, "client(s) ended by TIMEOUThandshake")];
    let met = met.into_iter().filter(|(count, _)| *count > 0);
    met.map(move |(count, what)| format!("Service [{name}]: {count} {what}"))
}

/// What is stapled to a service's certificate, in a line.
fn stapled(name: &str, ocsp: &OcspStatus) -> String {
    let name = name.escape_debug();
    let until = Utc(ocsp.until);
    let tries = match ocsp.failures {
        0 => String::new(),
        failures => format!("; {failures} vain attempt(s) since"),
    };
    match ocsp.status.as_str() {
        "revoked" => format!(
            "Warning: Service [{name}]: its certificate is REVOKED, OCSP says until {until}{tries}: replace it"
        ),
        "expired" => format!(
            "Warning: Service [{name}]: nothing is stapled to its certificate: OCSP's last answer counted until \
             {until}{tries}"
        ),
        "waiting" => format!("OCSP: Service [{name}]: no response to staple yet{tries}"),
        status => format!(
            "OCSP: Service [{name}]: {} until {until}{tries}",
            status.escape_debug()
        ),
    }
}

fn services(services: &[ServiceStatus]) -> String {
    let head = [
        "service",
        "accepted",
        "refused",
        "active",
        "new",
        "resumed",
        "failed",
        "no upstream",
        "to back",
        "to front",
    ];
    let rows = services.iter().map(|service| {
        let failed = service
            .failed_certificate
            .saturating_add(service.failed_negotiation)
            .saturating_add(service.failed_protocol)
            .saturating_add(service.failed_vanished)
            .saturating_add(service.failed_before_tls)
            .saturating_add(service.failed_within_tls);
        [
            service.name.escape_debug().to_string(),
            service.accepted.to_string(),
            service.refused.to_string(),
            service.active.to_string(),
            service.handshakes_new.to_string(),
            service.handshakes_resumed.to_string(),
            failed.to_string(),
            service.connect_failed.to_string(),
            bytes(service.bytes_to_back),
            bytes(service.bytes_to_front),
        ]
    });
    table(GAP, head, rows)
}

/// Between two columns, and before the first.
const GAP: usize = 2;

/// Lines with the first column aligned left and the others right, as wide as needed, and `gap` blanks between them.
pub(crate) fn table<const N: usize>(
    gap: usize,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{:gap$}{cell:<width$}", ""),
                _ => write!(text, "{:gap$}{cell:>width$}", ""),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// A number of bytes for people, in powers of 1024.
fn bytes(amount: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let (mut unit, mut scaled) = (0, amount as f64 / 1024.0);
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn people_get_tables() {
        let expected = "\
adit 0.1.0, supervisor 100
Configuration: /etc/adit/adit.conf
Sandbox: seccomp, landlock (version 2 of 6)
Ciphers: ChaCha20 first: this processor has no AES instructions
Warning: mail.example: DNS did not answer when the configuration was loaded: the addresses that it had are kept

Generation 2: serving, master 102, spare 105, since 2026-11-24 09:46:10 UTC

  worker       pid  active  claimed  starts
  0            103      12     4711       1
  1 (old TLS)    -       0        0       3

  service  accepted  refused  active   new  resumed  failed  no upstream  to back  to front
  smtp         4711        6      12  1000     3700      15            1   1023 B   3.0 GiB
  Service [smtp]: 7 handshake(s) ended or connection(s) not taken for want of memory
  Service [smtp]: 8 client(s) ended by TIMEOUThandshake
  Warning: Service [smtp]: its certificate is REVOKED, OCSP says until 2026-11-24 09:46:10 UTC; 2 vain attempt(s) since: replace it
  Warning: Service [smtp]: TLSv1 is served to every client
";
        assert_eq!(example().to_string(), expected);
    }

    #[test]
    fn of_a_generation_that_drains_what_is_left_is_shown() {
        let mut status = example();
        let generation = &mut status.generations[0];
        generation.state = "draining".to_owned();
        generation.spare = None;
        let text = status.to_string();
        let head = "Generation 2: draining, master 102, 12 connection(s) left, since 2026-11-24";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("  0       103      12"), "{text}");
        assert!(!text.contains("old TLS"), "{text}");
    }

    #[test]
    fn bytes_never_round_up_to_a_thousand_of_a_unit() {
        for (amount, text) in [
            (0, "0 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }
}
