//! When a responder is asked about our own certificate: at half of an answer's time, once a day at least, and after a
//! failure with pauses that grow. In seconds since 1970. Never in here: a clock.

use super::super::Told;

/// The longest time without a question.
const DAY: u64 = 24 * 3600;
/// The shortest between an answer and the next question: a responder may give an old answer again and again.
const SHORTEST: u64 = 4;
/// How long an answer counts that does not say so; its responder may know more at any time.
const UNTOLD: u64 = 3600;
/// The first pause after a failure, and the longest.
const PAUSE: u64 = 2;
const LONGEST_PAUSE: u64 = 3600;

/// Until when an answer that came at `now` may be stapled.
pub(super) fn end(told: &Told, now: u64) -> u64 {
    match told.next_update {
        Some(next) => u64::try_from(next).unwrap_or(0),
        None => now + UNTOLD,
    }
}

/// When to ask again, after an answer that came at `now`.
pub(super) fn renewal(told: &Told, now: u64) -> u64 {
    let until = end(told, now);
    let since = u64::try_from(told.this_update).unwrap_or(0).min(until);
    let half = match since + (until - since) / 2 {
        half if half > now => half,
        // It is an old one.
        _ => now + until.saturating_sub(now) / 2,
    };
    half.clamp(now + SHORTEST, now + DAY)
}

/// How long to wait until `due`. A time that is farther away than any is of a clock that was wrong.
pub(super) fn wait(due: u64, now: u64) -> u64 {
    match due.saturating_sub(now) {
        wait if wait > DAY => 0,
        wait => wait,
    }
}

/// How long to wait after so many failures in a row, with an answer that counts until `until`.
pub(super) fn pause(failures: u64, until: u64, now: u64) -> u64 {
    let doublings = failures.saturating_sub(1).min(20);
    let pause = (PAUSE << doublings).min(LONGEST_PAUSE);
    match until.saturating_sub(now) / 2 {
        0 => pause,
        half => pause.min(half.max(PAUSE)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Status;
    use super::*;

    fn told(this_update: i64, next_update: Option<i64>) -> Told {
        Told {
            status: Status::Good,
            this_update,
            next_update,
        }
    }

    #[test]
    fn an_answer_is_renewed_at_half_its_time() {
        const NOW: u64 = 1_000_000;
        let now = NOW as i64;
        for (this, next, renewed) in [
            (now, Some(now + 3600), NOW + 1800),
            (now - 1000, Some(now + 3000), NOW + 1000),
            // An old one: at half of what is left.
            (now - 3000, Some(now + 1000), NOW + 500),
            (now - 3000, Some(now + 4), NOW + SHORTEST),
            // Of a week.
            (now, Some(now + 7 * 86_400), NOW + DAY),
            (now, None, NOW + UNTOLD / 2),
            (-5, Some(-1), NOW + SHORTEST),
        ] {
            assert_eq!(renewal(&told(this, next), NOW), renewed, "{this} {next:?}");
        }
    }

    #[test]
    fn pauses_grow_and_come_before_the_end_of_an_answer() {
        let pauses: Vec<u64> = (1..=13).map(|failures| pause(failures, 0, 10)).collect();
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses[10..], [2048, 3600, 3600]);
        assert_eq!(pause(u64::MAX, 0, 10), 3600);
        assert_eq!(pause(20, 110, 10), 50);
        assert_eq!(pause(20, 11, 10), 3600);
        assert_eq!(pause(1, 1010, 10), 2);
    }

    #[test]
    fn a_time_of_a_wrong_clock_has_come() {
        assert_eq!(wait(100, 40), 60);
        assert_eq!(wait(40, 100), 0);
        assert_eq!(wait(u64::MAX, 100), 0);
    }
}
