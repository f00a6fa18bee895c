//! Failures as people read them. Times are local ones in the form of the log, so that its lines can be found. Never in
//! here: what is shown where.

use super::{CauseStatus, FailureStatus};
use crate::incidents::Cause;
use crate::log::Local;
use crate::status::fit::{GAP, Width, say};
use crate::status::services::ago;
use crate::status::{ServiceStatus, Status};

impl ServiceStatus {
    /// Its last failure, with the remedy. `now`: in seconds since 1970. When its certificate ends is told beside that, and
    /// would hide what fails.
    pub(in crate::status) fn last_failure(&self, now: u64) -> Option<String> {
        let failures = self.failures.iter();
        let failures = failures.filter(|failure| failure.cause != Cause::CertificateEnds);
        let last = failures.clone().next()?;
        let all = failures.map(|failure| failure.count);
        let all = all.fold(0, u64::saturating_add);
        let (when, title) = (when(last.last, now), &last.title);
        let mut text = format!("last failure of {all}, {when}: {title}");
        if let Some(details) = details(last) {
            text.push_str(": ");
            text.push_str(&details);
        }
        if !last.remedy.is_empty() {
            text.push_str("; what to do: ");
            text.push_str(&last.remedy);
        }
        Some(text.replace(char::is_control, "?"))
    }
}

impl Status {
    /// Everything that went wrong, by cause, in lines of that width.
    pub(crate) fn failures_text(&self, width: Width) -> String {
        let causes = self.by_cause();
        if causes.is_empty() {
            return "Nothing has gone wrong.\n".to_owned();
        }
        let each = causes.iter().map(|cause| told(cause, self.at, width));
        each.collect::<Vec<String>>().join("\n")
    }
}

fn told(cause: &CauseStatus, now: u64, width: Width) -> String {
    let failure = &cause.failure;
    let (title, name) = (&failure.title, failure.cause.name());
    let mut text = String::new();
    let mut line = |indent: usize, sentence: &str| {
        let sentence = sentence.replace(char::is_control, "?");
        say(&mut text, indent, &sentence, width);
    };
    line(0, &format!("{title} ({name})"));
    let first = match failure.first {
        0 => String::new(),
        _ if failure.count < 2 => String::new(),
        first => format!(", first {}", when(first, now)),
    };
    let (count, last) = (failure.count, when(failure.last, now));
    line(GAP, &format!("{count} time(s), last {last}{first}"));
    let names: Vec<String> = cause.services.iter().map(|n| format!("[{n}]")).collect();
    if !names.is_empty() {
        let last = cause.service.as_ref().filter(|_| names.len() > 1);
        let last = last.map_or_else(String::new, |name| format!("; last [{name}]"));
        line(GAP, &format!("of {}{last}", names.join(", ")));
    }
    if let Some(details) = details(failure) {
        line(GAP, &details);
    }
    if !failure.remedy.is_empty() {
        line(GAP, &format!("What to do: {}", failure.remedy));
    }
    text
}

/// The last example, and whose it was.
fn details(failure: &FailureStatus) -> Option<String> {
    let reason = Some(&failure.reason).filter(|reason| !reason.is_empty())?;
    Some(match &failure.peer {
        Some(peer) => format!("{reason} (client {peer})"),
        None => reason.clone(),
    })
}

fn when(seconds: u64, now: u64) -> String {
    format!("{} ({})", Local(seconds), ago(now.saturating_sub(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn a_certificate_that_ends_hides_no_failure() {
        let mut service = ServiceStatus::default();
        let mut ends = FailureStatus::example();
        ends.cause = Cause::CertificateEnds;
        service.failures = vec![ends];
        assert_eq!(service.last_failure(1_795_513_600), None);
        service.failures.push(FailureStatus::example());
        let told = service.last_failure(1_795_513_600).unwrap();
        assert!(told.starts_with("last failure of 3, "), "{told}");
        assert!(told.contains("Connection refused"), "{told}");
    }

    #[test]
    fn causes_are_told_within_the_width() {
        let mut status = example();
        let mut own = status.failures[0].clone();
        own.cause = Cause::Reload;
        (own.count, own.last, own.peer) = (1, own.last - 5, None);
        own.remedy.clear();
        status.failures = vec![own];
        status.at = 1_795_513_570 + 180;
        let text = status.failures_text(Some(60));
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        let whole = status.failures_text(None);
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(
            lines[0],
            "The server refuses the connection (upstream_refused)"
        );
        // The rest is local time.
        assert!(
            lines[1].starts_with("  3 time(s), last 2026.11.2"),
            "{whole}"
        );
        assert!(lines[1].contains(" (3 min ago), first "), "{whole}");
        assert_eq!(
            lines[2..6],
            [
                "  of [smtp]",
                "  s_connect: connect 192.0.2.1:587: Connection refused (111) (client 192.0.2.7:1042)",
                "  What to do: start the server",
                "",
            ]
        );
        assert!(lines[7].starts_with("  1 time(s), last "), "{whole}");
        assert_eq!(lines.len(), 9);
        let nothing = Status::default().failures_text(None);
        assert_eq!(nothing, "Nothing has gone wrong.\n");
    }
}
