//! The document as tables.

use std::fmt::Write as _;

use super::fit::{Column, GAP, Width, lines, say};
use super::services::{first_end, services};
use super::{FailureStatus, GenerationStatus, Status, Utc, WorkerStatus, now};
use crate::incidents::Cause;

impl Status {
    /// For people, in lines of that width.
    pub(crate) fn text(&self, width: Width) -> String {
        // A supervisor of an older version does not tell the time.
        let now = match self.at {
            0 => now(),
            at => at,
        };
        let mut text = String::new();
        self.head(&mut text, now, width);
        for generation in &self.generations {
            text.push('\n');
            say(&mut text, 0, &title(generation), width);
            text.push('\n');
            text.push_str(&workers(generation, width));
            text.push('\n');
            text.push_str(&services(generation, now, width));
            for warning in &generation.warnings {
                let warning = format!("Warning: {}", warning.escape_debug());
                say(&mut text, GAP, &warning, width);
            }
        }
        text
    }

    /// What concerns all generations.
    fn head(&self, text: &mut String, now: u64, width: Width) {
        let mut line = |sentence: &str| say(text, 0, sentence, width);
        let version = self.version.escape_debug();
        line(&format!("adit {version}, supervisor {}", self.pid));
        if let Some(file) = &self.file {
            let file = file.display().to_string();
            line(&format!("Configuration: {}", file.escape_debug()));
        }
        if let Some(strength) = &self.sandbox {
            line(&format!("Sandbox: {strength}"));
        }
        if let Some(order) = &self.ciphers {
            line(&format!("Ciphers: {order}"));
        }
        for name in self.names.kept() {
            let name = name.escape_debug();
            line(&format!(
                "Warning: {name}: DNS did not answer when it was asked last: the addresses that it had are kept"
            ));
        }
        let serving = self.generations.iter().find(|g| g.state == "serving");
        let since = serving.map_or(0, |generation| generation.since);
        let refused = |failure: &&FailureStatus| failure.cause == Cause::Reload;
        if let Some(reload) = self.failures.iter().find(refused)
            && reload.last >= since
        {
            let reason = reload.reason.escape_debug();
            line(&format!(
                "Warning: the reload of {} failed, and the configuration before is in force: {reason}",
                Utc(reload.last)
            ));
        }
        if let Some(end) = serving.and_then(|g| first_end(&g.services, now, width)) {
            line(&end);
        }
    }
}

fn title(generation: &GenerationStatus) -> String {
    format!(
        "Generation {}: {}, {}{}{}, since {}",
        generation.number,
        generation.state.escape_debug(),
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
    )
}

fn workers(generation: &GenerationStatus, width: Width) -> String {
    // Those that have nothing more to do have ended.
    let ended = |worker: &&WorkerStatus| generation.is_draining() && worker.pid == 0;
    let there = generation.workers.iter().filter(|worker| !ended(worker));
    let there: Vec<&WorkerStatus> = there.collect();
    let names = there.iter().map(|worker| match worker.old {
        true => format!("{} (old TLS)", worker.index),
        false => worker.index.to_string(),
    });
    let column = |head, weight, cell: fn(&WorkerStatus) -> String| Column {
        head,
        weight,
        cells: there.iter().map(|worker| cell(worker)).collect(),
    };
    let columns = vec![
        column("pid", 4, |worker| match worker.pid {
            0 => "-".to_owned(),
            pid => pid.to_string(),
        }),
        column("active", 3, |worker| worker.active.to_string()),
        column("claimed", 1, |worker| worker.claimed.to_string()),
        column("starts", 2, |worker| worker.starts.to_string()),
    ];
    let names: Vec<String> = names.collect();
    lines("worker", &names, columns, width).join("\n") + "\n"
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    const EXPECTED: &str = "\
adit 0.1.0, supervisor 100
Configuration: /etc/adit/adit.conf
Sandbox: seccomp, landlock (version 2 of 6)
Ciphers: ChaCha20 first: this processor has no AES instructions
Warning: mail.example: DNS did not answer when it was asked last: the addresses
  that it had are kept
Warning: The certificate of [smtp] ends first: 13 day(s) left, until 2026-12-07
  09:48:10 UTC: renew it (/etc/adit/mail.pem)

Generation 2: serving, master 102, spare 105, since 2026-11-24 09:46:10 UTC

  worker       pid  active  claimed  starts
  0            103      12     4711       1
  1 (old TLS)    -       0        0       3

  service  open  accepted   new  resumed  failed  to back  to front
  smtp       12      4711  1000     3700      15   1023 B   3.0 GiB
    from 127.0.0.1:25 to mail.example:465; 192.0.2.1:465 answered 2 min ago
    drained: nothing more is accepted (`adit drain --undo smtp` takes that back)
    Warning: 1 of 2 server(s) do not answer probes, and come last
    Warning: certificate for servers: 13 day(s) left, until 2026-12-07 09:48:10
      UTC: renew it (/etc/adit/mail.pem)
    6 refused by address, 9 over connectRate, 1 without an upstream, 8 ended by
      TIMEOUThandshake, 7 handshake(s) ended or connection(s) not taken for want
      of memory
    Warning: the certificate is REVOKED, OCSP says until 2026-11-24 09:46:10
      UTC; 2 vain attempt(s) since: replace it
  Warning: Service [smtp]: TLSv1 is served to every client
";

    /// Failures are told in local time, which is not that of the example.
    fn without_failures() -> Status {
        let mut status = example();
        status.generations[0].services[0].failures.clear();
        status
    }

    #[test]
    fn people_get_tables() {
        assert_eq!(without_failures().text(Some(80)), EXPECTED);
        // To a file or a pipe each sentence is a line.
        let unbroken = EXPECTED
            .replace("\n      ", " ")
            .replace("addresses\n  that", "addresses that");
        let unbroken = unbroken.replace("07\n  09", "07 09");
        assert_eq!(without_failures().text(None), unbroken);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_however_long_names_are() {
        let mut status = example();
        let service = &mut status.generations[0].services[0];
        service.name = "a-very-long-name-of-a-service".repeat(3);
        // What is to be typed is told whole.
        service.drained = false;
        for width in [40, 60, 80, 100, 200] {
            let text = status.text(Some(width));
            let widest = text.lines().max_by_key(|line| line.chars().count());
            let widest = widest.unwrap();
            assert!(widest.chars().count() <= width, "{width}: {widest}");
        }
    }

    #[test]
    fn of_a_generation_that_drains_what_is_left_is_shown() {
        let mut status = example();
        let generation = &mut status.generations[0];
        generation.state = "draining".to_owned();
        generation.spare = None;
        let text = status.text(None);
        let head = "Generation 2: draining, master 102, 12 connection(s) left, since 2026-11-24";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("  0       103      12"), "{text}");
        assert!(!text.contains("old TLS"), "{text}");
    }
}
