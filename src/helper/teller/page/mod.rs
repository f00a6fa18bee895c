//! The page at `/`: what adit does, for people, and first whether all is well. It shows and changes nothing. Whatever is
//! not part of the program goes through [`html`]. Never in here: a socket, or a clock.

mod access;
mod history;
mod html;
mod sections;
mod verdict;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use super::exposition::{Seen, open_connections};
use super::health::Ill;
use crate::base64;
use crate::incidents::Ledger;
use crate::ipc::scoreboard::Counts;
use crate::sys::queues::Queues;
pub(super) use access::{Refusal, Whence, may_ask, may_look, may_name};
pub(super) use history::History;
use html::Html;
use verdict::Verdict;

/// What is said of the format in an answer.
pub(super) const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// The page around what is shown; its style and its script are the only ones that a browser may use.
const FRAME: &str = include_str!("page.html");

/// What a browser may do with the page.
pub(super) static HEADERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "Content-Security-Policy: default-src 'none'; style-src '{}'; script-src '{}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nCross-Origin-Opener-Policy: same-origin\r\n",
        hash("style"),
        hash("script"),
    )
});

/// The hash of an element of the frame, as a Content-Security-Policy names it.
fn hash(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = FRAME.split_once(&open).map_or("", |(_, rest)| rest);
    let inside = inside.split_once(&close).map_or("", |(inside, _)| inside);
    let hash = digest(&SHA256, inside.as_bytes());
    format!("sha256-{}", base64::encode(hash.as_ref()))
}

/// What there is to show.
pub(super) struct View<'a> {
    pub seen: Seen<'a>,
    /// What /health says.
    pub health: Result<(), Ill>,
    /// What went wrong, by service.
    pub failures: BTreeMap<String, Ledger>,
    /// What went wrong with adit itself.
    pub own_failures: Ledger,
    /// Where the kernel tells them.
    pub queues: Option<&'a Queues>,
    pub history: &'a History,
    /// Seconds since 1970.
    pub now: u64,
}

/// Notes what services do, for the lines that the page draws.
pub(super) fn note(history: &mut History, seen: &Seen<'_>, at: Instant) {
    let open = open_connections(seen);
    let services = seen.totals.services().map(|(name, counts)| {
        let open = open.get(name).copied().unwrap_or(0);
        (name, open, carried(counts))
    });
    history.note(at, &services.collect::<Vec<_>>());
}

/// The page.
pub(super) fn page(view: &View<'_>) -> String {
    let verdict = Verdict::of(view);
    let mut main = Html::default();
    // The more there is to write and to draw, the more seldom.
    let every = 2 + view.seen.picture.services.len() / 50;
    main.markup("<main data-every=\"").text(every).markup("\">");
    verdict.write(&mut main);
    sections::write(&mut main, view);
    main.markup("</main>");
    let mut title = Html::default();
    title.text(verdict.headline()).markup(" · adit");
    filled(&title.into_string(), &main.into_string())
}

fn filled(title: &str, main: &str) -> String {
    let (head, rest) = FRAME.split_once("@TITLE@").unwrap_or((FRAME, ""));
    let (middle, end) = rest.split_once("@MAIN@").unwrap_or((rest, ""));
    [head, title, middle, main, end].concat()
}

/// Bytes in both directions.
fn carried(counts: &Counts) -> u64 {
    counts.bytes_to_back.wrapping_add(counts.bytes_to_front)
}

/// What failed of what clients wanted.
fn failed(counts: &Counts) -> u64 {
    [
        counts.failed_certificate,
        counts.failed_negotiation,
        counts.failed_protocol,
        counts.failed_vanished,
        counts.failed_before_tls,
        counts.failed_within_tls,
        counts.connect_failed,
        counts.shed,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
