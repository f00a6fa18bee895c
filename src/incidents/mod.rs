//! What goes wrong with sessions, and with adit itself: causes by stable names, and what is kept of each for `adit
//! status`, the metrics and the page. Never in here: a secret, payload, or the memory that processes share.
#![forbid(unsafe_code)]

mod cause;
mod ledger;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub(crate) use cause::{Cause, Group};
pub(crate) use ledger::{Ledger, RECENT, Tally};

/// The longest reason that is kept, in bytes.
pub(crate) const MAX_REASON: usize = 200;
/// The longest remedy that is kept, in bytes.
pub(crate) const MAX_REMEDY: usize = 264;

/// What was found wrong: said in the log, and kept as an [`Incident`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub cause: Cause,
    /// What happened, in a line.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: Cow<'static, str>,
}

impl Diagnosis {
    pub(crate) fn new(
        cause: Cause,
        reason: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Diagnosis {
        Diagnosis {
            cause,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// With its time, which is now, and the address of the client whose session it ended.
    pub(crate) fn met_by(&self, peer: Option<SocketAddr>) -> Incident {
        Incident {
            cause: self.cause,
            at: now(),
            peer,
            reason: shown(&self.reason, MAX_REASON),
            remedy: shown(&self.remedy, MAX_REMEDY),
        }
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incident {
    pub cause: Cause,
    /// Milliseconds since 1970, in UTC.
    pub at: u64,
    /// The client, if it has an address.
    pub peer: Option<SocketAddr>,
    /// What happened, in a line.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// Milliseconds since 1970, in UTC.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A text as one line of so many bytes at most, whatever a peer has put into it.
pub(crate) fn shown(text: &str, most: usize) -> String {
    const CUT: &str = "...";
    let moves =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line: String = text
        .chars()
        .map(|c| if moves(c) { '?' } else { c })
        .take(most + 1)
        .collect();
    if line.len() > most {
        line.truncate(line.floor_char_boundary(most.saturating_sub(CUT.len())));
        line += CUT;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_one_line_of_bounded_length() {
        assert_eq!(shown("a\r\nb\u{1b}[2J\u{202e}", 20), "a??b?[2J?");
        for most in [3, 4, 19, 20] {
            let long = shown(&"é".repeat(3000), most);
            assert!(long.len() <= most && long.ends_with("..."), "{long}");
        }
        assert_eq!(shown("abc", 3), "abc");
    }
}
