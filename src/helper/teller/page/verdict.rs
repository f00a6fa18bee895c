//! Whether all is well, in a sentence, and what to do where it is not. Never in here: a number that says nothing to those
//! who have a mail program that does not work.

use std::fmt;

use super::View;
use super::html::Html;
use crate::helper::teller::health::Ill;
use crate::incidents::{Cause, Group, Incident};
use crate::ipc::scoreboard::ReadOnlyBoard;
use crate::status::Utc;

/// How long before its end a certificate is told of.
const SOON: u64 = 14 * DAY;
const DAY: u64 = 24 * 3600;
/// How long something that went wrong is told of first, in seconds.
const LATELY: u64 = 15 * 60;
/// What was met so often in that time is no accident.
const OFTEN: usize = 3;
/// So much is told of first; the rest is in the list.
const MOST: usize = 5;

/// What is to be done about something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// Something does not work because of it.
    pub bad: bool,
    pub what: String,
    pub remedy: String,
}

/// Whether all is well.
#[derive(Debug)]
pub(super) struct Verdict {
    advice: Vec<Advice>,
    services: usize,
    open: u64,
}

impl Verdict {
    pub(super) fn of(view: &View<'_>) -> Verdict {
        let mut advice = Vec::new();
        advice.extend(view.health.as_ref().err().map(ill));
        advice.extend(failures(view));
        advice.extend(refused_reload(view));
        advice.extend(certificates(view));
        advice.extend(queues(view));
        // What does not work first.
        advice.sort_by_key(|one| !one.bad);
        let boards = view.seen.boards.values();
        Verdict {
            advice,
            services: view.seen.picture.services.len(),
            open: boards
                .map(ReadOnlyBoard::connections)
                .fold(0, u64::saturating_add),
        }
    }

    /// The plain sentence.
    pub(super) fn headline(&self) -> String {
        let bad = self.advice.iter().filter(|one| one.bad).count();
        match (bad, self.advice.len()) {
            (0, 0) => "All is well".to_owned(),
            (0, 1) => "adit works; one thing needs a look".to_owned(),
            (0, some) => format!("adit works; {some} things need a look"),
            (1, _) => "Something does not work".to_owned(),
            (some, _) => format!("{some} things do not work"),
        }
    }

    pub(super) fn write(&self, html: &mut Html) {
        let class = match (
            self.advice.is_empty(),
            self.advice.iter().any(|one| one.bad),
        ) {
            (true, _) => "<section class=\"verdict good\" aria-live=\"polite\"><h1>✓ ",
            (false, false) => "<section class=\"verdict look\" aria-live=\"polite\"><h1>! ",
            (false, true) => "<section class=\"verdict bad\" aria-live=\"polite\"><h1>✗ ",
        };
        html.markup(class).text(self.headline()).markup(".</h1><p>");
        html.text(Count(self.services as u64, "service"))
            .text(", ")
            .text(Count(self.open, "open connection"))
            .markup(".</p>");
        if !self.advice.is_empty() {
            html.markup("<ul>");
            for one in &self.advice {
                html.markup("<li><em>").text(&one.what).markup("</em>");
                if !one.remedy.is_empty() {
                    html.markup("<small>");
                    with_commands(html, &one.remedy);
                    html.markup("</small>");
                }
                html.markup("</li>");
            }
            html.markup("</ul>");
        }
        html.markup("</section>");
    }
}

/// A text in which what is to be typed stands between backticks.
pub(super) fn with_commands(html: &mut Html, text: &str) {
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            1 => html.markup("<code>").text(part).markup("</code>"),
            _ => html.text(part),
        };
    }
}

/// What /health complains of.
fn ill(ill: &Ill) -> Advice {
    let (what, remedy) = match ill {
        Ill::NotServing(why) => (
            format!("adit takes no connections now: {why}."),
            "If it has just been started, wait a moment. If this stays, adit's log says why: \
             `journalctl -u adit`, or the file that `output` names.",
        ),
        Ill::CutOff(why) => (
            format!("adit takes connections, and some lead nowhere: {why}."),
            "See whether the servers run, and whether this machine reaches them; adit's log says why each \
             probe failed.",
        ),
    };
    Advice {
        bad: true,
        what,
        remedy: remedy.to_owned(),
    }
}

/// Words of the log as a sentence: with a capital letter and a full stop, where it has words at all.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let stop = match text.is_empty() || text.ends_with(['.', '!', '?']) {
        true => "",
        false => ".",
    };
    first
        .chain(letters.as_str().chars())
        .chain(stop.chars())
        .collect()
}

/// The day of a moment, in UTC.
fn day(at: u64) -> String {
    let text = Utc(at).to_string();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A number of things.
pub(super) struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{s}", self.0, self.1)
    }
}

/// A certificate that a service shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    pub service: &'a str,
    /// To clients, or to servers.
    pub to: &'static str,
    /// In seconds since 1970.
    pub ends: u64,
}

/// The certificates of the configuration in force, by their end.
pub(super) fn shown<'a>(view: &View<'a>) -> Vec<Shown<'a>> {
    let Some((serving, board)) = view.seen.serving() else {
        return Vec::new();
    };
    let of_one = |(index, name): (usize, &'a String)| {
        let sides = ["clients", "servers"].into_iter().zip(board.ends(index));
        sides.filter_map(move |(to, ends)| {
            Some(Shown {
                service: name,
                to,
                ends: ends?,
            })
        })
    };
    let mut shown: Vec<Shown<'_>> = serving
        .services
        .iter()
        .enumerate()
        .flat_map(of_one)
        .collect();
    shown.sort_by_key(|one| one.ends);
    shown
}

/// When a certificate ends, seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Past,
    /// In so many days.
    Soon(u64),
    Far(u64),
}

impl End {
    pub(super) fn of(ends: u64, now: u64) -> End {
        match ends.checked_sub(now) {
            None | Some(0) => End::Past,
            Some(left) if left < SOON => End::Soon(left / DAY),
            Some(left) => End::Far(left / DAY),
        }
    }
}

/// Whether a cause is worth a look where it was met once: strangers that say nothing of sense are none, nor those that
/// are kept out.
fn matters(cause: Cause) -> bool {
    !matches!(
        cause.group(),
        Group::ClientCertificate | Group::Tls | Group::Access
    )
}

/// What went wrong of late, by service and cause, the latest first.
fn failures(view: &View<'_>) -> Vec<Advice> {
    let mut all: Vec<(u64, Advice)> = Vec::new();
    let services = view.failures.iter();
    let services = services.map(|(name, ledger)| (format!("[{name}] "), ledger));
    for (whose, ledger) in services.chain([(String::new(), &view.own_failures)]) {
        let is_late = |one: &&Incident| one.at / 1000 + LATELY > view.now;
        let late: Vec<&Incident> = ledger.recent.iter().filter(is_late).collect();
        let mut told: Vec<Cause> = Vec::new();
        for incident in &late {
            let cause = incident.cause;
            // How long a certificate lasts is told from what is shown now, and a refused reload as long as it is.
            let elsewhere = matches!(cause, Cause::CertificateEnds | Cause::Reload);
            if !matters(cause) || elsewhere || told.contains(&cause) {
                continue;
            }
            told.push(cause);
            let same = late.iter().filter(|other| other.cause == cause).count();
            let advice = Advice {
                // A limit does what it is for, and a process is replaced.
                bad: same >= OFTEN && !matches!(cause, Cause::Limit | Cause::Process),
                what: sentence(&format!("{whose}{}: {}", cause.title(), incident.reason)),
                remedy: sentence(&incident.remedy),
            };
            all.push((incident.at, advice));
        }
    }
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    all.truncate(MOST);
    all.into_iter().map(|(_, advice)| advice).collect()
}

/// The file has another configuration than the one in force.
fn refused_reload(view: &View<'_>) -> Option<Advice> {
    let (serving, _) = view.seen.serving()?;
    let own = view.own_failures.recent.iter();
    let mut refused = own.filter(|one| one.cause == Cause::Reload);
    let last = refused.next()?;
    (last.at / 1000 >= serving.since).then(|| Advice {
        bad: false,
        what: sentence(&format!(
            "The configuration was changed and is not in force: {}",
            last.reason
        )),
        remedy: sentence(&last.remedy),
    })
}

/// Services with one certificate get one piece of advice.
fn certificates(view: &View<'_>) -> Vec<Advice> {
    let mut all: Vec<(u64, &str, Vec<&str>)> = Vec::new();
    for one in shown(view) {
        if matches!(End::of(one.ends, view.now), End::Far(_)) {
            continue;
        }
        match all
            .iter_mut()
            .find(|(ends, to, _)| (*ends, *to) == (one.ends, one.to))
        {
            Some((_, _, services)) => services.push(one.service),
            None => all.push((one.ends, one.to, vec![one.service])),
        }
    }
    let advice = all.into_iter().map(|(ends, to, services)| {
        let services = services.join("], [");
        let whose = format!("The certificate that [{services}] shows to {to}");
        let (bad, what) = match End::of(ends, view.now) {
            End::Past => (
                true,
                format!("{whose} ended on {}: they refuse it.", day(ends)),
            ),
            End::Soon(days) | End::Far(days) => (
                false,
                format!("{whose} ends in {}, on {}.", Count(days, "day"), day(ends)),
            ),
        };
        Advice {
            bad,
            what,
            remedy: "Renew it: `adit ca renew` if adit made it, else the program that fetched it \
                     (`certbot renew`, say). Then `adit reload`."
                .to_owned(),
        }
    });
    advice.collect()
}

/// Clients that wait at a full queue are turned away by the kernel.
fn queues(view: &View<'_>) -> Vec<Advice> {
    let Some(queues) = view.queues else {
        return Vec::new();
    };
    let listening = view.seen.picture.listening.iter();
    let full = listening.filter(|one| {
        let queue = queues.get(&one.inode);
        queue.is_some_and(|queue| queue.waiting > queue.most && queue.most > 0)
    });
    let advice = full.map(|one| Advice {
        bad: true,
        what: format!(
            "[{}] has more clients waiting at {} than the system lets wait.",
            one.service, one.address
        ),
        remedy:
            "Either adit stands still, which the table of processes below shows, or there are more \
                 connections than it can take: raise `workers`."
                .to_owned(),
    });
    advice.collect()
}
