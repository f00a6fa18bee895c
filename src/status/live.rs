//! What `adit status --watch` shows: counts and rates, in as many lines as the terminal has. Never in here: a terminal,
//! or the time.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::fit::{Column, cut, lines};
use super::services::{bytes, count, first_end};
use super::{ServiceStatus, Status, Utc};

/// Sums of a service over all generations, since those that drain still count.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    open: u64,
    accepted: u64,
    handshakes: u64,
    failed: u64,
    to_back: u64,
    to_front: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        let sum = |ours: &mut u64, theirs| *ours = ours.saturating_add(theirs);
        sum(&mut self.open, other.open);
        sum(&mut self.accepted, other.accepted);
        sum(&mut self.handshakes, other.handshakes);
        sum(&mut self.failed, other.failed);
        sum(&mut self.to_back, other.to_back);
        sum(&mut self.to_front, other.to_front);
    }
}

impl From<&ServiceStatus> for Sums {
    fn from(service: &ServiceStatus) -> Sums {
        let new = service.handshakes_new;
        Sums {
            open: service.active,
            accepted: service.accepted,
            handshakes: new.saturating_add(service.handshakes_resumed),
            failed: service.failed().saturating_add(service.connect_failed),
            to_back: service.bytes_to_back,
            to_front: service.bytes_to_front,
        }
    }
}

/// A line: a service, or all of them.
struct Row {
    name: String,
    now: Sums,
    before: Option<Sums>,
}

/// The lines for a terminal of that size. `before`: an earlier status, and how long ago it was.
pub(crate) fn live(
    now: &Status,
    before: Option<(&Status, Duration)>,
    columns: usize,
    height: usize,
) -> Vec<String> {
    let mut shown = head(now, columns);
    shown.push(String::new());
    let before_sums = before.map(|(status, _)| sums(status));
    let mut rows: Vec<Row> = sums(now)
        .into_iter()
        .map(|(name, now)| {
            let find = |all: &Vec<(String, Sums)>| all.iter().find(|(n, _)| *n == name)?.1.into();
            let before = before_sums.as_ref().and_then(find);
            Row { name, now, before }
        })
        .collect();
    // The head of the table, the sum and the last line.
    let room = height.saturating_sub(shown.len() + 3).max(1);
    let hidden = rows.len().saturating_sub(room);
    let mut all = Row {
        name: "all".to_owned(),
        now: Sums::default(),
        before: before_sums.as_ref().map(|_| Sums::default()),
    };
    for row in &rows {
        all.now.add(row.now);
        if let (Some(sum), Some(before)) = (&mut all.before, row.before) {
            sum.add(before);
        }
    }
    if hidden > 0 {
        // The others would be below the edge: those with connections come first.
        rows.sort_by_key(|row| std::cmp::Reverse((row.now.open, row.now.accepted)));
        rows.truncate(room);
    }
    rows.insert(0, all);
    let elapsed = before.map(|(_, elapsed)| elapsed);
    shown.extend(table(&rows, elapsed, columns));
    let more = match hidden {
        0 => String::new(),
        more => format!("; {more} more service(s)"),
    };
    shown.truncate(height.saturating_sub(1));
    shown.push(format!("q ends this{more}"));
    shown.iter().map(|line| cut(line, columns)).collect()
}

fn head(now: &Status, columns: usize) -> Vec<String> {
    let file = now.file.as_ref().map_or_else(String::new, |file| {
        format!(", {}", file.display().to_string().escape_debug())
    });
    let generations = now.generations.iter().map(|generation| {
        let (number, state) = (generation.number, generation.state.escape_debug());
        format!("generation {number} {state}, {} open", generation.active())
    });
    let generations: Vec<String> = generations.collect();
    let reloads = now.reloads;
    let mut lines = vec![
        format!(
            "adit {}, supervisor {}{file}",
            now.version.escape_debug(),
            now.pid
        ),
        format!(
            "{}; {} reload(s), {} refused{}",
            Utc(now.at),
            reloads.succeeded,
            reloads.failed,
            match reloads.under_way {
                true => ", one under way",
                false => "",
            }
        ),
        generations.join("; "),
    ];
    let serving = now.generations.iter().find(|g| g.state == "serving");
    let end = serving.and_then(|g| first_end(&g.services, now.at, Some(columns)));
    lines.extend(end.filter(|end| end.starts_with("Warning")));
    lines
}

/// Each service of the status once, those that serve in the order of the file.
fn sums(status: &Status) -> Vec<(String, Sums)> {
    let mut all: Vec<(String, Sums)> = Vec::new();
    let serving = |serves| {
        let generations = status.generations.iter();
        generations.filter(move |g| (g.state == "serving") == serves)
    };
    for generation in serving(true).chain(serving(false)) {
        for service in &generation.services {
            let name = service.name.escape_debug().to_string();
            let sums = Sums::from(service);
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => known.add(sums),
                None => all.push((name, sums)),
            }
        }
    }
    all
}

fn table(rows: &[Row], elapsed: Option<Duration>, width: usize) -> Vec<String> {
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let plain = |head, weight, value: fn(&Sums) -> u64| Column {
        head,
        weight,
        cells: rows.iter().map(|row| count(value(&row.now))).collect(),
    };
    let rate = |head, weight, value: fn(&Sums) -> u64, text: fn(f64) -> String| Column {
        head,
        weight,
        cells: rows
            .iter()
            .map(|row| per_second(row, elapsed, value).map_or_else(|| "-".to_owned(), text))
            .collect(),
    };
    let columns = vec![
        plain("open", 9, |sums| sums.open),
        rate("conn/s", 8, |sums| sums.accepted, number),
        rate("tls/s", 5, |sums| sums.handshakes, number),
        rate("fail/s", 6, |sums| sums.failed, number),
        plain("failed", 7, |sums| sums.failed),
        rate("to back/s", 3, |sums| sums.to_back, amount),
        rate("to front/s", 4, |sums| sums.to_front, amount),
    ];
    lines("service", &names, columns, Some(width))
}

fn per_second(row: &Row, elapsed: Option<Duration>, value: fn(&Sums) -> u64) -> Option<f64> {
    let (before, elapsed) = (row.before?, elapsed?.as_secs_f64());
    // A service that has another name or was started anew counts from 0.
    let more = value(&row.now).saturating_sub(value(&before));
    (elapsed > 0.0).then(|| more as f64 / elapsed)
}

fn number(rate: f64) -> String {
    match rate {
        0.05..9.95 => format!("{rate:.1}"),
        _ => count(rate.round() as u64),
    }
}

fn amount(rate: f64) -> String {
    bytes(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    fn two() -> (Status, Status) {
        let before = example();
        let mut now = before.clone();
        let service = &mut now.generations[0].services[0];
        service.accepted += 25;
        service.handshakes_new += 3;
        service.failed_protocol += 1;
        service.bytes_to_front += 4096;
        (before, now)
    }

    #[test]
    fn rates_are_what_has_come_since_the_last_look() {
        let (before, now) = two();
        let shown = live(&now, Some((&before, Duration::from_secs(2))), 80, 24);
        let expected = [
            "adit 0.1.0, supervisor 100, /etc/adit/adit.conf",
            "2026-11-24 09:48:10 UTC; 3 reload(s), 1 refused",
            "generation 2 serving, 12 open",
            "Warning: The certificate of [smtp] ends first: 13 day(s) left, until 2026-12-07…",
            "",
            "  service  open  conn/s  tls/s  fail/s  failed  to back/s  to front/s",
            "  all        12      13    1.5     0.5      17        0 B     2.0 KiB",
            "  smtp       12      13    1.5     0.5      17        0 B     2.0 KiB",
            "q ends this",
        ];
        assert_eq!(shown, expected);
        let first = live(&now, None, 80, 24);
        assert!(first[7].contains("  -      -"), "{first:#?}");
    }

    #[test]
    fn what_is_shown_fits_whatever_there_is_to_show() {
        let (before, mut now) = two();
        let service = now.generations[0].services[0].clone();
        now.generations[0].services = (0..50)
            .map(|n| ServiceStatus {
                name: format!("{n}-service-with-a-long-name"),
                active: n,
                ..service.clone()
            })
            .collect();
        for (columns, height) in [(80, 24), (40, 10), (132, 60), (20, 5)] {
            let shown = live(
                &now,
                Some((&before, Duration::from_secs(1))),
                columns,
                height,
            );
            assert!(shown.len() <= height, "{columns}x{height}: {shown:#?}");
            let widest = shown.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{columns}x{height}: {shown:#?}");
            assert!(shown.last().is_some_and(|line| line.contains("q ends")));
        }
        let shown = live(&now, None, 80, 24);
        assert!(shown[7].contains("49-service"), "{shown:#?}");
        assert_eq!(
            shown.last().map(String::as_str),
            Some("q ends this; 34 more service(s)")
        );
    }

    #[test]
    fn what_drains_counts_with_what_serves() {
        let (before, mut now) = two();
        let mut old = before.generations[0].clone();
        old.state = "draining".to_owned();
        now.generations.push(old);
        let shown = live(&now, None, 80, 24).join("\n");
        assert!(shown.contains("  smtp       24"), "{shown}");
    }
}
