//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use super::crowd::SHAKERS;
use super::peers::{self, LOG_LEVEL, Peer};
use super::rows::{NO_AES_ROWS, ROWS, Row};

/// A thread each, and a service each for some; peers are set up for so many connections.
const MOST_AT_ONCE: usize = 1000;

/// What `--help` prints.
pub const HELP: &str = "\
usage: benches/run [--peer NAMES] [--rows WORDS] [--rounds N] [--work FACTOR] [--at-once N]
                   [--json FILE] [--chart FILE] [--limit SECONDS] [--no-adit] [--no-aes] [--list]
                   [--debug LEVEL]
       benches/run --check | --baseline [--rows WORDS]
       benches/run --scale | --latency | --first-byte | --start [--rounds N] [--work FACTOR]
                   [--json FILE]
       benches/run --old-tls | --oauth2 [--rounds N] [--work FACTOR] [--peer NAMES] [--rows WORDS]
       benches/run --from FILE --chart FILE

What a unit of work costs adit and its peers, side by side; or
  --check          instructions and system calls of adit's for each unit of work, compared with
                   benches/counts.baseline: fails where one is more than 2 % dearer
                   (bulk, where chance has a part: 6 %)
  --baseline       the same, and writes that file anew
  --scale          how adit's cost grows with connections, services and workers
  --latency        how long an echo takes through adit and the peers
  --first-byte     how long a new connection takes to its first byte, directly, through adit and the
                   peers, with Nagle's algorithm and without (of --rows, those that it has)
  --old-tls        TLS 1.0 beside stunnel and nginx at OpenSSL's level 0, its first byte among
                   the rows (benches/old_tls.py)
  --oauth2         logins by OAuth2 beside email-oauth2-proxy, and logins that are translated beside
                   those that pass (benches/oauth2.py)
  --start          adit's size, its time to start, its memory at rest
  --from FILE      draws the --chart of an earlier run's --json

  --peer NAMES     who adit is compared with: stunnel, hitch, haproxy, nginx, and the floors:
                   sockets, which relays plain TCP, and rustls, which shakes hands from memory
                   to memory (default: all), by commas; may be given again
  --rows WORDS     only rows whose id contains one of these words, by commas (see --list)
  --rounds N       rounds, each in the reverse order of the one before (default: 3)
  --work FACTOR    less or more work per measurement; 0.1 is quick and noisy (default: 1)
  --at-once N      handshakes under way at once (default: 32, which keep two workers busy; with few
                   a worker sleeps and wakes for each, and everybody's cost is higher)
  --debug LEVEL    adit's and stunnel's log level (default: 5, as theirs)
  --json FILE      every sample and ratio, for programs
  --chart FILE     the ratios as a picture, SVG
  --limit SECONDS  gives up, and stops all it started, after this long (default: 3600)
  --no-adit        the peers alone; ratios are to the first of them
  --no-aes         as on a processor without AES instructions: they are hidden from AWS-LC and from
                   OpenSSL, adit prefers ChaCha20, and the load generator takes both it and AES-256,
                   which it names first; bulk rows alone
  --list           the rows' ids, then stop

The binary measured as adit is this tree's release build, or ADIT_BIN.
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Say this and stop.
    Print(String),
    /// Be the floor: relay plain TCP from one port of loopback to another.
    Relay(u16, u16),
    /// Be an echo server, see [`super::echo`].
    Echo,
    /// Measure the rows.
    Measure(Plan),
    /// Measure how adit's cost grows.
    Scale(Plan),
    /// Measure how long an echo takes.
    Latency(Plan),
    /// Measure how long a new connection takes to its first byte.
    FirstByte(Plan),
    /// Draw the ratios of this JSON into that file.
    Draw(PathBuf, PathBuf),
    /// Measure size, start and rest.
    Start(Plan),
    /// Count instructions and system calls, and compare them with the baseline.
    Check(Plan),
    /// Count them, and make them the baseline.
    Baseline(Plan),
}

/// What to measure.
#[derive(Debug)]
pub struct Plan {
    /// The first is the one that ratios are of.
    pub peers: Vec<Peer>,
    /// In the table's order.
    pub rows: Vec<&'static Row>,
    /// At least one.
    pub rounds: usize,
    /// Scales the work of a measurement.
    pub work: f64,
    /// Handshakes under way at once.
    pub at_once: usize,
    /// What adit and stunnel log.
    pub log_level: u8,
    /// Where the machine-readable results go.
    pub json: Option<PathBuf>,
    /// Where a picture of the ratios goes.
    pub chart: Option<PathBuf>,
    /// How long all may take.
    pub limit: Duration,
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it, in words for the user.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut peers = Vec::new();
    let mut words = Vec::new();
    let mut with_adit = true;
    let mut no_aes = false;
    let mut from = None;
    let mut command: fn(Plan) -> Command = Command::Measure;
    let mut plan = Plan {
        peers: Vec::new(),
        rows: Vec::new(),
        rounds: 3,
        work: 1.0,
        at_once: SHAKERS,
        log_level: LOG_LEVEL,
        json: None,
        chart: None,
        limit: Duration::from_hours(1),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            // Cargo says it to every bench target.
            Long("bench") => {}
            Long("peer" | "peers") => {
                for name in list(&parser.value()?.string()?) {
                    peers.push(Peer::named(&name).ok_or(format!("no such peer: {name}"))?);
                }
            }
            Long("row" | "rows") => words.extend(list(&parser.value()?.string()?)),
            Long("rounds") => plan.rounds = parser.value()?.parse()?,
            Long("work") => plan.work = parser.value()?.parse()?,
            Long("at-once") => plan.at_once = parser.value()?.parse()?,
            Long("debug") => plan.log_level = parser.value()?.parse()?,
            Long("json") => plan.json = Some(parser.value()?.into()),
            Long("chart") => plan.chart = Some(parser.value()?.into()),
            Long("from") => from = Some(PathBuf::from(parser.value()?)),
            Long("limit") => plan.limit = Duration::from_secs(parser.value()?.parse()?),
            Long("no-adit") => with_adit = false,
            Long("no-aes") => no_aes = true,
            Long("relay") => {
                let (accept, connect) = (parser.value()?.parse()?, parser.value()?.parse()?);
                return Ok(Command::Relay(accept, connect));
            }
            Long("echo") => return Ok(Command::Echo),
            Long("scale") => command = Command::Scale,
            Long("latency") => command = Command::Latency,
            Long("first-byte") => command = Command::FirstByte,
            Long("start") => command = Command::Start,
            Long("check") => command = Command::Check,
            Long("baseline") => command = Command::Baseline,
            Long("list") => return Ok(Command::Print(listing())),
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            other => return Err(other.unexpected()),
        }
    }
    if plan.at_once > MOST_AT_ONCE {
        return Err(format!("--at-once takes {MOST_AT_ONCE} at most").into());
    }
    if plan.log_level > 7 {
        return Err("--debug takes 0 to 7".into());
    }
    if plan.rounds == 0 || plan.at_once == 0 || !plan.work.is_finite() || plan.work <= 0.0 {
        return Err("--rounds, --work and --at-once must be above 0".into());
    }
    if let Some(json) = from {
        let chart = plan.chart.ok_or("--from needs --chart")?;
        return Ok(Command::Draw(json, chart));
    }
    plan.peers = choose_peers(peers, with_adit);
    plan.rows = match no_aes {
        true => {
            peers::hide_aes();
            choose_rows(NO_AES_ROWS, &words)?
        }
        false => choose_rows(ROWS, &words)?,
    };
    Ok(command(plan))
}

fn list(value: &str) -> Vec<String> {
    let names = value.split(',').map(str::trim);
    names.filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

fn listing() -> String {
    ROWS.iter()
        .map(|row| format!("{:26} {}\n", row.id, row.label))
        .collect()
}

fn choose_peers(asked: Vec<Peer>, with_adit: bool) -> Vec<Peer> {
    let mut peers = if with_adit { vec![Peer::Adit] } else { vec![] };
    let wanted = if asked.is_empty() {
        Peer::ALL.to_vec()
    } else {
        asked
    };
    for peer in wanted {
        if !peers.contains(&peer) && (with_adit || peer != Peer::Adit) {
            peers.push(peer);
        }
    }
    peers
}

fn choose_rows(rows: &'static [Row], words: &[String]) -> Result<Vec<&'static Row>, String> {
    for word in words {
        if !rows.iter().any(|row| row.id.contains(word.as_str())) {
            return Err(format!("no row's id contains `{word}`; --list shows them"));
        }
    }
    let chosen = |row: &&Row| words.is_empty() || words.iter().any(|w| row.id.contains(w.as_str()));
    Ok(rows.iter().filter(chosen).collect())
}
