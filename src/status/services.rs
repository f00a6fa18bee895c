//! The services of a generation: a row of counts for each, and sentences on what the row has no room for.

use super::fit::{Column, Width, cut, lines, say};
use super::{CertificateStatus, GenerationStatus, OcspStatus, ServiceStatus, Utc};

/// Sentences stand behind so many blanks.
const INDENT: usize = 4;
/// A certificate that ends sooner is warned of, in seconds.
const SOON: u64 = 14 * DAY;
const DAY: u64 = 86_400;

impl ServiceStatus {
    /// Failures of every kind, but for upstreams that could not be reached.
    pub(super) fn failed(&self) -> u64 {
        [
            self.failed_certificate,
            self.failed_negotiation,
            self.failed_protocol,
            self.failed_vanished,
            self.failed_before_tls,
            self.failed_within_tls,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

/// Rows of counts, each with its sentences below it. `now`: in seconds since 1970.
pub(super) fn services(generation: &GenerationStatus, now: u64, width: Width) -> String {
    let services = &generation.services;
    let names = services.iter().map(|s| s.name.escape_debug().to_string());
    let names: Vec<String> = names.collect();
    let mut rows = lines("service", &names, counts(services), width).into_iter();
    let mut text = rows.next().unwrap_or_default();
    text.push('\n');
    for (row, service) in rows.zip(services) {
        text.push_str(&row);
        text.push('\n');
        // What drains has no new client, who would be shown a certificate.
        let sentences = match generation.is_draining() {
            true => rarities(service).into_iter().collect(),
            false => sentences(service, now),
        };
        for sentence in sentences {
            say(&mut text, INDENT, &sentence, width);
        }
    }
    text
}

fn counts(services: &[ServiceStatus]) -> Vec<Column> {
    let column = |head, weight, cell: &dyn Fn(&ServiceStatus) -> String| Column {
        head,
        weight,
        cells: services.iter().map(cell).collect(),
    };
    vec![
        column("open", 9, &|s| count(s.active)),
        column("accepted", 8, &|s| count(s.accepted)),
        column("new", 5, &|s| count(s.handshakes_new)),
        column("resumed", 4, &|s| count(s.handshakes_resumed)),
        column("failed", 7, &|s| count(s.failed())),
        column("to back", 3, &|s| bytes(s.bytes_to_back)),
        column("to front", 3, &|s| bytes(s.bytes_to_front)),
    ]
}

fn sentences(service: &ServiceStatus, now: u64) -> Vec<String> {
    let mut all: Vec<String> = addresses(service, now).into_iter().collect();
    if service.drained {
        let name = service.name.escape_debug();
        all.push(format!(
            "drained: nothing more is accepted (`adit drain --undo {name}` takes that back)"
        ));
    }
    all.extend(probes(service));
    let certificates = service.certificates.iter();
    all.extend(certificates.map(|one| {
        let to = one.shown_to.escape_debug();
        let text = format!("certificate for {to}: {}", left(one, now));
        warned_of(one, now, text)
    }));
    all.extend(rarities(service));
    all.extend(service.last_failure(now));
    all.extend(service.ocsp.as_ref().map(stapled));
    all
}

/// Where it accepts, where it connects to, and what answered there.
fn addresses(service: &ServiceStatus, now: u64) -> Option<String> {
    let mut text = Vec::new();
    if !service.accept.is_empty() {
        text.push(format!("from {}", service.accept.join(", ")));
    }
    if !service.connect.is_empty() {
        text.push(format!("to {}", service.connect.join(", ")));
    }
    let mut text = text.join(" ");
    if let Some(upstream) = &service.upstream {
        let ago = ago(now.saturating_sub(upstream.at));
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&format!("{} answered {ago}", upstream.address));
    }
    (!text.is_empty()).then(|| text.escape_debug().to_string())
}

/// Servers that do not answer.
fn probes(service: &ServiceStatus) -> Option<String> {
    let (probed, ejected) = (service.probed, service.ejected);
    (ejected > 0).then(|| {
        format!("Warning: {ejected} of {probed} server(s) do not answer probes, and come last")
    })
}

/// Counts that are 0 as a rule.
fn rarities(service: &ServiceStatus) -> Option<String> {
    let all = [
        (service.refused, "refused by address"),
        (service.over_address, "over maxConnectionsPerAddress"),
        (service.over_rate, "over connectRate"),
        (service.full, "time(s) full by maxConnections"),
        (service.connect_failed, "without an upstream"),
        (service.late, "ended by TIMEOUThandshake"),
        (service.checks, "check(s) without a word"),
        (
            service.shed,
            "handshake(s) ended or connection(s) not taken for want of memory",
        ),
    ];
    let there = all.into_iter().filter(|(count, _)| *count > 0);
    let there: Vec<String> = there
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!there.is_empty()).then(|| there.join(", "))
}

/// What is left of a certificate's life.
fn left(certificate: &CertificateStatus, now: u64) -> String {
    let (ends, until) = (certificate.ends, Utc(certificate.ends));
    match ends.checked_sub(now) {
        None => format!("ended {}, at {until}", ago(now - ends)),
        Some(left) => format!("{} day(s) left, until {until}", left / DAY),
    }
}

fn warned_of(certificate: &CertificateStatus, now: u64, text: String) -> String {
    if certificate.ends.saturating_sub(now) >= SOON {
        return text;
    }
    let file = certificate
        .file
        .as_deref()
        .map_or_else(String::new, |file| {
            format!(" ({})", file.display().to_string().escape_debug())
        });
    format!("Warning: {text}: renew it{file}")
}

/// Which certificate of all ends first.
pub(super) fn first_end(services: &[ServiceStatus], now: u64, width: Width) -> Option<String> {
    let each = services.iter().flat_map(|service| {
        let certificates = service.certificates.iter();
        certificates.map(move |certificate| (service, certificate))
    });
    let (service, first) = each.min_by_key(|(_, certificate)| certificate.ends)?;
    let mut name = service.name.escape_debug().to_string();
    if let Some(width) = width {
        name = cut(&name, width / 3);
    }
    let text = format!(
        "The certificate of [{name}] ends first: {}",
        left(first, now)
    );
    Some(warned_of(first, now, text))
}

/// What is stapled to a service's certificate.
fn stapled(ocsp: &OcspStatus) -> String {
    let until = Utc(ocsp.until);
    let tries = match ocsp.failures {
        0 => String::new(),
        failures => format!("; {failures} vain attempt(s) since"),
    };
    match ocsp.status.as_str() {
        "revoked" => format!(
            "Warning: the certificate is REVOKED, OCSP says until {until}{tries}: replace it"
        ),
        "expired" => format!(
            "Warning: nothing is stapled to the certificate: OCSP's last answer counted until {until}{tries}"
        ),
        "waiting" => format!("OCSP: no response to staple yet{tries}"),
        status => format!("OCSP: {} until {until}{tries}", status.escape_debug()),
    }
}

/// How long ago, in the unit that suits.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / DAY),
    }
}

/// A number in at most seven characters.
pub(super) fn count(number: u64) -> String {
    match number {
        0..10_000_000 => number.to_string(),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// A number of bytes for people, in powers of 1024.
pub(crate) fn bytes(amount: u64) -> String {
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
    fn bytes_never_round_up_to_a_thousand_of_a_unit() {
        for (amount, text) in [
            (0, "0 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        assert_eq!(count(9_999_999), "9999999");
        assert_eq!(count(u64::MAX), "18446744073G");
    }

    #[test]
    fn a_certificate_is_warned_of_from_fourteen_days_before_its_end() {
        let mut service = example().generations.remove(0).services.remove(0);
        let mut said = |left: i64| {
            let now = service.certificates[0].ends.wrapping_add_signed(-left);
            service.certificates.truncate(1);
            first_end(std::slice::from_ref(&service), now, None).unwrap()
        };
        let day = 86_400;
        let soon = said(14 * day - 1);
        assert!(
            soon.starts_with("Warning: ") && soon.contains("13 day(s) left"),
            "{soon}"
        );
        assert!(soon.ends_with(": renew it (/etc/adit/mail.pem)"), "{soon}");
        assert!(said(14 * day).starts_with("The certificate of [smtp] ends first: 14 day(s) left"));
        assert!(
            said(-3 * day).contains("ended 3 days ago, at 2026-12-07"),
            "{}",
            said(-3 * day)
        );
        assert_eq!(first_end(&[], 0, None), None);
    }
}
