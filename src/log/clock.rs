//! Local time. The zone is loaded once, by [`load_zone`], since a jail has no /etc/localtime; unlike
//! localtime(3), localtime_r(3) never reads the file again.
#![expect(
    unsafe_code,
    reason = "localtime_r(3) and tzset(3) have no safe wrapper"
)]

use std::fmt;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

unsafe extern "C" {
    // POSIX; the libc crate leaves it out.
    fn tzset();
}

/// Reads the time zone (`TZ`, or /etc/localtime), before the jail makes that impossible.
pub(super) fn load_zone() {
    // SAFETY: takes nothing; glibc locks its own state. Reads TZ, which adit never changes.
    unsafe { tzset() };
}

/// A moment in local time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    year: i32,
    month: usize,
    day: i32,
    hour: i32,
    minute: i32,
    second: i32,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self::at(libc::time_t::try_from(seconds).unwrap_or(0))
    }

    /// This many seconds after the start of 1970 in UTC.
    fn at(seconds: libc::time_t) -> Self {
        Self::by(seconds, libc::localtime_r)
    }

    fn by(
        seconds: libc::time_t,
        split: unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm,
    ) -> Self {
        let mut parts = MaybeUninit::<libc::tm>::zeroed();
        // SAFETY: it is localtime_r or gmtime_r; both pointers are valid for the call. On failure (a year that fits no int) `parts`
        // stays zeroed, and all zeroes is a valid `tm`.
        let parts = unsafe {
            split(&seconds, parts.as_mut_ptr());
            parts.assume_init()
        };
        Self {
            year: parts.tm_year + 1900,
            month: usize::try_from(parts.tm_mon).unwrap_or(0) % 12,
            day: parts.tm_mday,
            hour: parts.tm_hour,
            minute: parts.tm_min,
            second: parts.tm_sec,
        }
    }

    /// In stunnel's form: `2026.11.24 09:46:10`. By hand, since each line of the log begins with it, and
    /// `write!` takes twenty times as long.
    pub(super) fn text(self) -> [u8; 19] {
        let mut text = *b"0000.00.00 00:00:00";
        let pairs = [
            (0, self.year / 100),
            (2, self.year),
            (5, self.month as i32 + 1),
            (8, self.day),
            (11, self.hour),
            (14, self.minute),
            (17, self.second),
        ];
        for (at, number) in pairs {
            let number = number.unsigned_abs();
            text[at] += (number / 10 % 10) as u8;
            text[at + 1] += (number % 10) as u8;
        }
        text
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// Seconds since 1970 as local time, in stunnel's form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local(pub u64);

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Moment::at(libc::time_t::try_from(self.0).unwrap_or(0)).fmt(f)
    }
}

/// A time in UTC, in the form of RFC 3339: `2026-11-24T08:46:10.123456Z`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rfc3339(pub SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH);
        let since = since.unwrap_or(Duration::ZERO);
        let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
        let moment = Moment::by(seconds, libc::gmtime_r);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            moment.year,
            moment.month + 1,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            since.subsec_micros()
        )
    }
}

/// A moment in the form of RFC 3164, section 4.1.2: `Nov  4 09:46:10`.
pub(super) struct Rfc3164(pub Moment);

impl fmt::Display for Rfc3164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        write!(
            f,
            "{} {:2} {:02}:{:02}:{:02}",
            MONTHS[self.0.month], self.0.day, self.0.hour, self.0.minute, self.0.second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_both_shapes() {
        let moment = Moment {
            year: 2026,
            month: 10,
            day: 4,
            hour: 9,
            minute: 6,
            second: 1,
        };
        assert_eq!(moment.to_string(), "2026.11.04 09:06:01");
        assert_eq!(Rfc3164(moment).to_string(), "Nov  4 09:06:01");
    }

    #[test]
    fn a_time_in_utc_has_its_microseconds() {
        let time = UNIX_EPOCH + Duration::from_micros(951_782_400_000_042);
        assert_eq!(Rfc3339(time).to_string(), "2000-02-29T00:00:00.000042Z");
    }

    #[test]
    fn localtime_counts_months_from_nought_and_years_from_1900() {
        // Noon in UTC on 2026-06-15: the same day in every zone except those beyond +12 and -12.
        let moment = Moment::at(1_781_524_800);
        assert_eq!((moment.year, moment.month), (2026, 5));
        assert!((14..=16).contains(&moment.day));
    }
}
