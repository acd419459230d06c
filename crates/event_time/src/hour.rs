//! One hour of event time, which is one partition of every input and output: `dt=2026-11-20/hr=05`, UTC.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;

/// An hour, by its number since 1970-01-01T00 UTC; earlier ones are negative. As text `2026-11-20T05`, which is also
/// its form in JSON; years 0 to 9999 can be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hour(i64);

impl Hour {
    /// The hour that holds a moment, in microseconds since 1970 UTC.
    pub fn of(us: i64) -> Self {
        Self(us.div_euclid(HOUR_US))
    }

    /// The first microsecond of the hour.
    pub fn start_us(self) -> i64 {
        self.0.saturating_mul(HOUR_US)
    }

    /// The hour this many hours later, or earlier where negative.
    pub fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// The directory of the hour below an input or output: `dt=2026-11-20/hr=05`.
    pub fn path(self) -> String {
        let (year, month, day, hour) = self.civil();
        format!("dt={year:04}-{month:02}-{day:02}/hr={hour:02}")
    }

    /// The hour of a directory `dt=2026-11-20/hr=05`; none where it is anything else, be it by one digit.
    pub fn from_path(path: &str) -> Option<Self> {
        let (date, hour) = path.split_once('/')?;
        Self::from_parts(date.strip_prefix("dt=")?, hour.strip_prefix("hr=")?)
    }

    /// The hours of a half-open range, in order.
    pub fn range(hours: Range<Self>) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (hours.start.0..hours.end.0).map(Self)
    }

    fn from_parts(date: &str, hour: &str) -> Option<Self> {
        let (year, month_and_day) = date.split_once('-')?;
        let (month, day) = month_and_day.split_once('-')?;
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        let hour = digits(hour, 2).filter(|h| *h < 24)?;
        let midnight = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?.and_hms_opt(hour, 0, 0)?;
        Some(Self(midnight.and_utc().timestamp() / 3600))
    }

    /// Year, month, day and hour of day in the proleptic Gregorian calendar. Years start in March here, so that the
    /// leap day is the last of its year and needs no case of its own.
    fn civil(self) -> (i64, i64, i64, i64) {
        let days = self.0.div_euclid(24) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day, self.0.rem_euclid(24))
    }
}

/// Exactly this many digits, and nothing that `parse` lets pass besides them, such as a sign.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}")
    }
}

impl FromStr for Hour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hour = text.split_once('T').and_then(|(date, hour)| Self::from_parts(date, hour));
        hour.with_context(|| format!("{text:?} is no hour: write it as 2026-11-20T05, UTC"))
    }
}

impl TryFrom<String> for Hour {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Hour> for String {
    fn from(hour: Hour) -> Self {
        hour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Datelike, Timelike};

    #[test]
    fn agrees_with_chrono_on_every_hour_that_starts_or_ends_a_day() {
        for day in -800_000_i64..3_000_000 {
            for hour in [Hour(day * 24), Hour(day * 24 + 23)] {
                let t = DateTime::from_timestamp(hour.0 * 3600, 0).unwrap();
                let (year, month, day) = (i64::from(t.year()), i64::from(t.month()), i64::from(t.day()));
                assert_eq!(hour.civil(), (year, month, day, i64::from(t.hour())), "{t}");
            }
        }
    }

    #[test]
    fn moments_fall_into_their_hour_on_both_sides_of_1970() {
        let cases = [
            (0, "1970-01-01T00"),
            (-1, "1969-12-31T23"),
            (-HOUR_US, "1969-12-31T23"),
            (-HOUR_US - 1, "1969-12-31T22"),
            (1_795_150_799_999_999, "2026-11-20T04"),
            (1_795_150_800_000_000, "2026-11-20T05"),
        ];
        for (us, text) in cases {
            let hour = Hour::of(us);
            assert_eq!(hour.to_string(), text);
            assert!(hour.start_us() <= us && us < hour.plus(1).start_us(), "{text}");
            assert_eq!(text.parse::<Hour>().unwrap(), hour);
        }
    }

    #[test]
    fn paths_and_texts_are_read_back() {
        for text in ["0000-01-01T00", "1969-12-31T23", "2024-02-29T12", "9999-12-31T23"] {
            let hour: Hour = text.parse().unwrap();
            assert_eq!(hour.to_string(), text);
            assert_eq!(Hour::from_path(&hour.path()), Some(hour));
            assert_eq!(serde_json::to_string(&hour).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Hour>(&format!("{text:?}")).unwrap(), hour);
        }
        assert_eq!("2026-11-20T05".parse::<Hour>().unwrap().path(), "dt=2026-11-20/hr=05");
    }

    #[test]
    fn anything_else_is_no_hour() {
        let texts =
            ["", "2026-11-20", "2026-11-20 05", "2026-11-20T5", "2026-11-20T24", "2026-02-29T00", "2026-13-01T00"];
        for text in
            texts.iter().chain(&["+026-11-20T05", "2026-11-20T+5", "2026-1-20T05", "2026-11-20T05Z", "２026-11-20T05"])
        {
            let error = text.parse::<Hour>().unwrap_err().to_string();
            assert!(error.contains("write it as 2026-11-20T05"), "{error}");
        }
        let paths = [
            "dt=2026-11-20",
            "dt=2026-11-20/hr=5",
            "dt=2026-11-31/hr=05",
            "DT=2026-11-20/hr=05",
            "hr=05/dt=2026-11-20",
        ];
        for path in paths.iter().chain(&["dt=2026-11-20/hr=05/", "dt=2026-11-20/hr=05/x", "x/dt=2026-11-20/hr=05"]) {
            assert_eq!(Hour::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_range_is_half_open() {
        let (from, to) = (Hour(-1), Hour(2));
        assert_eq!(Hour::range(from..to).collect::<Vec<_>>(), [Hour(-1), Hour(0), Hour(1)]);
        assert_eq!(Hour::range(to..from).count(), 0);
        assert_eq!(Hour::of(i64::MIN).start_us(), i64::MIN);
        assert_eq!(Hour::of(i64::MAX).plus(1).start_us(), i64::MAX);
    }
}
