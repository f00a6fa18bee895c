//! What is below the verdict: services, certificates, processes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::html::Html;
use super::verdict::{Count, End, shown, with_commands};
use super::{View, carried, failed};
use crate::helper::teller::exposition::open_connections;
use crate::ipc::scoreboard::Counts;
use crate::status::{Utc, bytes};

/// Failures that are listed.
const LAST: usize = 12;

/// Writes all of them.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    services(html, view);
    failures(html, view);
    certificates(html, view);
    processes(html, view);
    html.markup("<footer>adit ")
        .text(&view.seen.picture.version)
        .markup(", as of ");
    time(html, view.now);
    html.markup(". This page only shows; <code>adit status</code> tells more.</footer>");
}

/// A moment, in seconds since 1970. The script puts it into the reader's own time zone.
fn time(html: &mut Html, at: u64) {
    let utc = Utc(at).to_string();
    let machine = utc.replace(" UTC", "Z").replace(' ', "T");
    html.markup("<time datetime=\"")
        .text(machine)
        .markup("\">")
        .text(utc)
        .markup("</time>");
}

fn services(html: &mut Html, view: &View<'_>) {
    html.markup("<section><h2>Services</h2>");
    let open = open_connections(&view.seen);
    let addresses = addresses(view);
    html.markup(
        "<table><thead><tr><th>Service<th class=\"n\">Open now<th class=\"n\">Bytes a second\
         <th class=\"n\">Connections<th class=\"n\">Handshakes<th class=\"n\">Failures</tr></thead><tbody>",
    );
    for (name, counts) in view.seen.totals.services() {
        html.markup("<tr><td class=\"w\"><b>")
            .text(name)
            .markup("</b><small>");
        if let Some(way) = addresses.get(name) {
            html.text(way);
        }
        html.markup("</small><td class=\"n\" data-is=\"Open now\">");
        html.text(open.get(name).copied().unwrap_or(0));
        line(html, &view.history.open(name));
        html.markup("<td class=\"n\" data-is=\"Bytes a second\">");
        let rates = view.history.rates(name);
        html.text(
            rates
                .last()
                .map_or_else(|| "–".to_owned(), |rate| bytes(*rate)),
        );
        line(html, &rates);
        html.markup("<small>")
            .text(bytes(carried(counts)))
            .markup(" in all</small>");
        html.markup("<td class=\"n t\" data-is=\"Connections\">")
            .text(counts.accepted);
        if counts.refused > 0 {
            html.markup("<small>")
                .text(counts.refused)
                .markup(" refused</small>");
        }
        html.markup("<td class=\"n t\" data-is=\"Handshakes\">");
        handshakes(html, counts);
        html.markup("<td class=\"n t\" data-is=\"Failures\">")
            .text(failed(counts));
        html.markup("</tr>");
    }
    html.markup("</tbody></table></section>");
}

fn handshakes(html: &mut Html, counts: &Counts) {
    html.text(
        counts
            .handshakes_new
            .saturating_add(counts.handshakes_resumed),
    );
    if counts.handshakes_resumed > 0 {
        html.markup("<small>")
            .text(counts.handshakes_resumed)
            .markup(" resumed</small>");
    }
}

/// Where each service accepts and connects.
fn addresses(view: &View<'_>) -> BTreeMap<String, String> {
    let picture = view.seen.picture;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for one in &picture.listening {
        let way = all.entry(one.service.clone()).or_default();
        if !way.is_empty() {
            way.push_str(", ");
        }
        way.push_str(&one.address);
    }
    for (service, to) in picture.services.iter().zip(&picture.leads_to) {
        let way = all.entry(service.clone()).or_default();
        if !to.is_empty() {
            way.push_str(" → ");
            way.push_str(to);
        }
    }
    all
}

/// What went wrong last, the latest first.
fn failures(html: &mut Html, view: &View<'_>) {
    let own = &view.own_failures;
    let of_services = view.failures.iter().map(|(name, ledger)| (&**name, ledger));
    let all = of_services.chain([("adit", own)]);
    let mut all: Vec<_> = all
        .flat_map(|(name, ledger)| ledger.recent.iter().map(move |one| (name, one)))
        .collect();
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|(_, one)| Reverse(one.at));
    html.markup(
        "<section><h2>What failed last</h2><table><thead><tr><th>When<th>Service<th>What, and what to do\
         </tr></thead><tbody>",
    );
    for (service, one) in all.into_iter().take(LAST) {
        html.markup("<tr><td data-is=\"When\">");
        time(html, one.at / 1000);
        html.markup("<td data-is=\"Service\"><b>")
            .text(service)
            .markup("</b>");
        if let Some(peer) = one.peer {
            html.markup("<small>").text(peer).markup("</small>");
        }
        html.markup("<td class=\"w\" data-is=\"What, and what to do\">")
            .text(one.cause.title())
            .markup(": ")
            .text(&one.reason)
            .markup("<small>");
        with_commands(html, &one.remedy);
        html.markup("</small></tr>");
    }
    html.markup("</tbody></table><p><code>adit status --failures</code> counts them by cause.</p></section>");
}

/// A line of what was, the latest at the right.
fn line(html: &mut Html, values: &[u64]) {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    if values.len() < 2 {
        return;
    }
    html.markup("<svg viewBox=\"0 0 590 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><polyline points=\"");
    let first = 60_usize.saturating_sub(values.len());
    for (at, value) in values.iter().enumerate() {
        // Of 18, so that the line is not cut off at either edge.
        let high = u128::from(*value) * 18 / u128::from(most);
        html.text((first + at) * 10)
            .markup(",")
            .text(19 - high)
            .markup(" ");
    }
    html.markup("\"/></svg>");
}

fn certificates(html: &mut Html, view: &View<'_>) {
    let all = shown(view);
    if all.is_empty() {
        return;
    }
    html.markup(
        "<section><h2>Certificates</h2><table><thead><tr><th>Ends<th>Service<th>Shown to</tr></thead><tbody>",
    );
    for one in all {
        let class = match End::of(one.ends, view.now) {
            End::Past => "<tr><td data-is=\"Ends\"><em class=\"bad\">has ended</em><small>",
            End::Soon(_) => "<tr><td data-is=\"Ends\"><em class=\"look\">",
            End::Far(_) => "<tr><td data-is=\"Ends\"><em class=\"good\">",
        };
        html.markup(class);
        if let End::Soon(days) | End::Far(days) = End::of(one.ends, view.now) {
            html.text("in ")
                .text(Count(days, "day"))
                .markup("</em><small>");
        }
        time(html, one.ends);
        html.markup("</small><td class=\"w\" data-is=\"Service\">")
            .text(one.service)
            .markup("<td data-is=\"Shown to\">")
            .text(one.to)
            .markup("</tr>");
    }
    html.markup("</tbody></table></section>");
}

fn processes(html: &mut Html, view: &View<'_>) {
    let picture = view.seen.picture;
    html.markup(
        "<section><h2>Processes</h2><table><thead><tr><th>Generation<th>Since<th class=\"n\">Workers\
         <th class=\"n\">Connections</tr></thead><tbody>",
    );
    for generation in &picture.generations {
        html.markup("<tr><td class=\"w\"><b>")
            .text(generation.number)
            .markup("</b> ")
            .text(&generation.state)
            .markup("<td class=\"w\" data-is=\"Since\">");
        time(html, generation.since);
        let board = view.seen.boards.get(&generation.number);
        let workers: Vec<_> = board
            .into_iter()
            .flat_map(|board| (0..board.workers()).map(|index| board.worker(index)))
            .collect();
        let alive = workers.iter().filter(|worker| worker.pid != 0).count();
        html.markup("<td class=\"n\" data-is=\"Workers\">")
            .text(alive);
        if alive < workers.len() {
            html.markup(" of ").text(workers.len());
        }
        // What workers write may be any number.
        let died = workers
            .iter()
            .map(|worker| worker.starts.saturating_sub(1))
            .fold(0, u64::saturating_add);
        if died > 0 {
            html.markup("<small>")
                .text(Count(died, "restart"))
                .markup("</small>");
        }
        html.markup("<td class=\"n\" data-is=\"Connections\">");
        let open = workers.iter().map(|worker| worker.active);
        html.text(open.fold(0, u64::saturating_add));
        html.markup("</tr>");
    }
    html.markup("</tbody></table><p>Reloads: ")
        .text(picture.reloads_succeeded)
        .markup(" done, ")
        .text(picture.reloads_failed)
        .markup(" refused. Helpers: ");
    for (at, (helper, restarts)) in picture.helpers.iter().enumerate() {
        html.markup(if at > 0 { ", " } else { "" }).text(helper);
        if *restarts > 0 {
            html.markup(" (")
                .text(Count(*restarts, "restart"))
                .markup(")");
        }
    }
    html.markup(".</p></section>");
}
