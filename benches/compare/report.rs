//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::load::Sample;
use super::peers::{Peer, is_aes_hidden};
use super::rows::{Goal, Row};

/// What a peer did in a row.
#[derive(Debug)]
pub enum Cell {
    /// It has no such mode.
    Cannot,
    /// It did not do what was asked, for this reason.
    Failed(String),
    /// One sample a round.
    Measured(Vec<Sample>),
}

impl Cell {
    fn values(&self) -> Vec<f64> {
        match self {
            Cell::Measured(samples) => samples.iter().map(|sample| sample.value).collect(),
            Cell::Cannot | Cell::Failed(_) => Vec::new(),
        }
    }
}

/// A row's cells, in the order of the report's peers.
#[derive(Debug)]
pub struct Line {
    /// Which row.
    pub row: &'static Row,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// With what each says of its version; ratios are of the first.
    pub peers: Vec<(Peer, String)>,
    /// Rounds of each row.
    pub rounds: usize,
    /// The work factor.
    pub work: f64,
    /// Handshakes under way at once.
    pub at_once: usize,
    /// What adit and stunnel logged.
    pub log_level: u8,
    /// What was measured.
    pub lines: Vec<Line>,
}

/// The middle, or the mean of the two in the middle; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[upper]),
        _ => Some(f64::midpoint(sorted[upper - 1], sorted[upper])),
    }
}

/// What the first cost of what the other did, round by round; nothing where either is missing.
pub fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

impl Line {
    fn ratios(&self, peer: usize) -> Vec<f64> {
        ratios(&self.cells[0].values(), &self.cells[peer].values())
    }

    /// Each distinct thing that was negotiated, with who did.
    fn negotiated(&self, peers: &[(Peer, String)]) -> Vec<(String, Vec<&'static str>)> {
        let mut found: Vec<(String, Vec<&'static str>)> = Vec::new();
        for (cell, (peer, _)) in self.cells.iter().zip(peers) {
            let Cell::Measured(samples) = cell else {
                continue;
            };
            for negotiated in samples.iter().filter_map(|s| s.negotiated.as_ref()) {
                let told = negotiated.to_string();
                match found.iter_mut().find(|(known, _)| *known == told) {
                    Some((_, who)) if who.contains(&peer.name()) => {}
                    Some((_, who)) => who.push(peer.name()),
                    None => found.push((told, vec![peer.name()])),
                }
            }
        }
        found
    }
}

impl Report {
    /// Whether every peer did every row it can, all with the same parameters; where AES instructions
    /// are hidden, the choice of the cipher is what is measured.
    pub fn is_sound(&self) -> bool {
        self.lines.iter().all(|line| {
            let failed = |cell: &Cell| matches!(cell, Cell::Failed(_));
            let alike = is_aes_hidden() || line.negotiated(&self.peers).len() <= 1;
            !line.cells.iter().any(failed) && alike
        })
    }

    /// For people, as Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", machine());
        for (peer, version) in &self.peers {
            let _ = writeln!(text, "- {}: {version}", peer.name());
        }
        let _ = write!(
            text,
            "\nCPU time of the proxy's whole process tree, per unit of work; two workers each; \
             medians of {} round(s), work factor {}, {} handshakes at once, log level {}.\n\n{}",
            self.rounds,
            self.work,
            self.at_once,
            self.log_level,
            table(&self.costs())
        );
        let first = self.peers[0].0.name();
        if self.peers.len() > 1 {
            let _ = write!(
                text,
                "\nRatios, medians of each round's {first} / peer; below 1 {first} is cheaper.\n\n{}",
                table(&self.comparison())
            );
        }
        text += "\nNegotiated:\n\n";
        text += &self.parameters();
        for line in &self.lines {
            for (cell, (peer, _)) in line.cells.iter().zip(&self.peers) {
                if let Cell::Failed(why) = cell {
                    let (row, peer) = (line.row.label, peer.name());
                    let _ = writeln!(text, "\nFAILED: {row}: {peer}: {why}");
                }
            }
        }
        text
    }

    /// What was negotiated, and in which rows; a row where it was not the same for all says so.
    fn parameters(&self) -> String {
        let mut agreed: Vec<(String, Vec<&str>)> = Vec::new();
        let mut text = String::new();
        for line in &self.lines {
            let mut found = line.negotiated(&self.peers);
            if found.len() > 1 {
                for (parameters, who) in found {
                    let (label, who) = (line.row.label, who.join(", "));
                    let _ = writeln!(text, "- DIFFERENT: {label}: {who}: {parameters}");
                }
            } else if let Some((parameters, _)) = found.pop() {
                match agreed.iter_mut().find(|(known, _)| *known == parameters) {
                    Some((_, labels)) => labels.push(line.row.label),
                    None => agreed.push((parameters, vec![line.row.label])),
                }
            }
        }
        for (parameters, labels) in agreed {
            let _ = writeln!(text, "- {parameters}: {}", labels.join("; "));
        }
        text
    }

    fn costs(&self) -> Vec<Vec<String>> {
        let mut head = vec!["work".to_owned(), "unit".to_owned()];
        head.extend(self.peers.iter().map(|(peer, _)| peer.name().to_owned()));
        let mut rows = vec![head];
        for line in &self.lines {
            let mut row = vec![line.row.label.to_owned(), line.row.unit().to_owned()];
            row.extend(line.cells.iter().map(|cell| match cell {
                Cell::Cannot => "-".to_owned(),
                Cell::Failed(_) => "FAILED".to_owned(),
                Cell::Measured(_) => median(&cell.values()).map_or("-".to_owned(), cost),
            }));
            rows.push(row);
        }
        rows
    }

    fn comparison(&self) -> Vec<Vec<String>> {
        let others = &self.peers[1..];
        let with_goals = self.peers[0].0 == Peer::Adit;
        let mut head = vec!["work".to_owned()];
        head.extend(others.iter().map(|(peer, _)| peer.name().to_owned()));
        if with_goals {
            head.push("goal".to_owned());
        }
        let mut rows = vec![head];
        for line in &self.lines {
            let mut row = vec![line.row.label.to_owned()];
            row.extend((1..=others.len()).map(|peer| {
                let ratio = median(&line.ratios(peer));
                ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
            }));
            if with_goals {
                row.push(self.goal(line));
            }
            rows.push(row);
        }
        rows
    }

    fn goal(&self, line: &Line) -> String {
        let (words, limit, reached) = match line.row.goal {
            Goal::OfStunnel(limit) => {
                let stunnel = self.peers.iter().position(|(p, _)| *p == Peer::Stunnel);
                let reached = stunnel.and_then(|stunnel| median(&line.ratios(stunnel)));
                (format!("{limit:.2} of stunnel"), limit, reached)
            }
            Goal::AtMost(limit) => {
                let words = format!("{limit:.0} {}", line.row.unit());
                (words, limit, median(&line.cells[0].values()))
            }
        };
        match reached {
            None => words,
            Some(value) if value <= limit => format!("{words}: met"),
            Some(_) => format!("{words}: missed"),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let peers: Vec<Value> = self
            .peers
            .iter()
            .map(|(peer, version)| json!({"name": peer.name(), "version": version}))
            .collect();
        let lines: Vec<Value> = self.lines.iter().map(|line| self.line(line)).collect();
        json!({
            "machine": machine(),
            "rounds": self.rounds,
            "work": self.work,
            "at_once": self.at_once,
            "log_level": self.log_level,
            "peers": peers,
            "rows": lines,
        })
    }

    fn line(&self, line: &Line) -> Value {
        let mut cells = serde_json::Map::new();
        for (place, (peer, _)) in self.peers.iter().enumerate() {
            let cell = match &line.cells[place] {
                Cell::Cannot => Value::Null,
                Cell::Failed(why) => json!({"failed": why}),
                cell @ Cell::Measured(samples) => json!({
                    "samples": cell.values(),
                    "median": median(&cell.values()),
                    "ratios": line.ratios(place),
                    "median_ratio": median(&line.ratios(place)),
                    "negotiated": samples
                        .first()
                        .and_then(|sample| Some(sample.negotiated.as_ref()?.to_string())),
                }),
            };
            cells.insert(peer.name().to_owned(), cell);
        }
        let goal = match line.row.goal {
            Goal::OfStunnel(limit) => json!({"of_stunnel": limit}),
            Goal::AtMost(limit) => json!({"at_most": limit}),
        };
        json!({
            "id": line.row.id,
            "label": line.row.label,
            "unit": line.row.unit(),
            "goal": goal,
            "peers": cells,
        })
    }
}

/// Three significant digits where there are.
pub fn cost(value: f64) -> String {
    if value.abs() < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Markdown that is also straight on a terminal; the first row is its head.
pub fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "| {cell:width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column == 0 { "-" } else { ":" };
                let _ = write!(text, "|{}{end}", "-".repeat(width + 1));
            }
            text += "|\n";
        }
    }
    text
}

/// Processor, cores, kernel and how busy it was.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "{model}, {cores} core(s), Linux {}, load {load}",
        kernel.trim()
    )
}
