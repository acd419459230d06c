//! Times as text: RFC 3339, with a blank for the `T` and an offset without colon allowed, to microseconds UTC. Times as
//! numbers, in the unit that the user says.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use arrow::array::timezone::Tz;
use chrono::{DateTime, LocalResult, TimeZone as _};
use thiserror::Error;

/// The microseconds of the years 1900 to 2261: what a timestamp in nanoseconds can hold too.
pub(crate) const RANGE: Range<i64> = -2_208_988_800_000_000..9_214_646_400_000_000;

const DAY: i64 = 86_400;

/// How the times of an input are written, where the user says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// The unit of event times that are numbers; milliseconds where it is not said.
    pub unit: Option<Unit>,
    /// The zone of times that name none; without one such a row is rejected.
    pub zone: Option<Tz>,
}

/// A unit of time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Unit {
    const ALL: [(Unit, &str, &str); 4] = [
        (Unit::Seconds, "s", "seconds"),
        (Unit::Millis, "ms", "milliseconds"),
        (Unit::Micros, "us", "microseconds"),
        (Unit::Nanos, "ns", "nanoseconds"),
    ];

    /// The microseconds of so many of it, floored; none where that is more than 64 bits.
    pub(crate) fn micros(self, count: i64) -> Option<i64> {
        match self {
            Unit::Seconds => count.checked_mul(1_000_000),
            Unit::Millis => count.checked_mul(1000),
            Unit::Micros => Some(count),
            Unit::Nanos => Some(count.div_euclid(1000)),
        }
    }

    /// The microseconds of a number with a fraction, to the nearest one.
    pub(crate) fn micros_of(self, count: f64) -> Option<i64> {
        let micros = match self {
            Unit::Seconds => count * 1e6,
            Unit::Millis => count * 1e3,
            Unit::Micros => count,
            Unit::Nanos => count / 1e3,
        };
        // Far inside of what i64 holds: the range of years is.
        (micros.abs() < 1e18).then(|| micros.round() as i64)
    }

    /// The unit in which a number is a time from 1973 to 2100, where one is.
    pub(crate) fn guess(count: f64) -> Option<(&'static str, &'static str)> {
        const YEARS: Range<f64> = 100_000_000e6..4_102_444_800e6;
        let scales = [1e6, 1e3, 1.0, 1e-3];
        let of = |((_, short, long), scale)| YEARS.contains(&(count * scale)).then_some((short, long));
        Self::ALL.into_iter().zip(scales).find_map(of)
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = Self::ALL.into_iter().find(|(_, short, _)| *short == text).map(|(unit, ..)| unit);
        unit.ok_or_else(|| format!("{text} is no unit of time: s, ms, us and ns are"))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = Self::ALL.into_iter().find(|(unit, ..)| unit == self).map_or("", |(_, short, _)| short);
        f.write_str(short)
    }
}

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadTime {
    /// A time of some place, but nothing says which.
    #[error("no zone")]
    NoZone,
    /// The clocks of its zone showed it twice, or left it out.
    #[error("not one time in its zone")]
    Ambiguous,
    /// Anything else.
    #[error("no time in RFC 3339")]
    Malformed,
}

/// Microseconds since 1970, UTC, of `2026-11-20T05:06:07.891+01:00`, or of a time without an offset in `zone`. Digits
/// behind the microsecond are cut off, and a leap second is the last microsecond before it, so that a day has no hour 24.
///
/// # Errors
/// The text is no time, or has no zone, or is not one time in its zone.
pub(crate) fn parse(text: &str, zone: Option<Tz>) -> Result<i64, BadTime> {
    let b = text.as_bytes();
    if b.len() < 19
        || b[4] != b'-'
        || b[7] != b'-'
        || !matches!(b[10], b'T' | b't' | b' ')
        || b[13] != b':'
        || b[16] != b':'
    {
        return Err(BadTime::Malformed);
    }
    let (year, month, day) = (number(&b[0..4])?, number(&b[5..7])?, number(&b[8..10])?);
    let (hour, minute, second) = (number(&b[11..13])?, number(&b[14..16])?, number(&b[17..19])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return Err(BadTime::Malformed);
    }
    let (fraction, named) = fraction(&b[19..])?;
    let (second, fraction) = if second == 60 { (59, 999_999) } else { (second, fraction) };
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let ahead = match (named, zone) {
        ([], Some(zone)) => ahead_of_utc(local, zone)?,
        (named, _) => offset(named)?,
    };
    Ok((local - ahead) * 1_000_000 + fraction)
}

/// The seconds that a zone is ahead of UTC at a local time, seconds.
fn ahead_of_utc(local: i64, zone: Tz) -> Result<i64, BadTime> {
    let shown = DateTime::from_timestamp(local, 0).ok_or(BadTime::Malformed)?.naive_utc();
    match zone.from_local_datetime(&shown) {
        LocalResult::Single(time) => Ok(local - time.timestamp()),
        LocalResult::Ambiguous(..) | LocalResult::None => Err(BadTime::Ambiguous),
    }
}

fn number(digits: &[u8]) -> Result<i64, BadTime> {
    digits.iter().try_fold(0, |n, &d| {
        if d.is_ascii_digit() { Ok(n * 10 + i64::from(d - b'0')) } else { Err(BadTime::Malformed) }
    })
}

/// The microseconds of `.123456789`, if there, and what follows.
fn fraction(rest: &[u8]) -> Result<(i64, &[u8]), BadTime> {
    let [b'.' | b',', rest @ ..] = rest else { return Ok((0, rest)) };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return Err(BadTime::Malformed);
    }
    let kept = digits.min(6);
    Ok((number(&rest[..kept])? * 10_i64.pow(6 - kept as u32), &rest[digits..]))
}

/// The seconds that a written zone is ahead of UTC: `Z`, ` UTC`, `+01:00`, `+0100` or `+01`.
fn offset(zone: &[u8]) -> Result<i64, BadTime> {
    let (sign, hour, minute) = match zone {
        [] => return Err(BadTime::NoZone),
        [b'Z' | b'z'] | b" UTC" => return Ok(0),
        [sign, h1, h2] => (sign, [*h1, *h2], [b'0', b'0']),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (sign, [*h1, *h2], [*m1, *m2]),
        _ => return Err(BadTime::Malformed),
    };
    let (hour, minute) = (number(&hour)?, number(&minute)?);
    match sign {
        _ if hour > 23 || minute > 59 => Err(BadTime::Malformed),
        b'+' => Ok(hour * 3600 + minute * 60),
        b'-' => Ok(-(hour * 3600 + minute * 60)),
        _ => Err(BadTime::Malformed),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years start in March here, so that the leap day is the
/// last of its year and needs no case of its own.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_chrono_on_every_day() {
        let start = chrono::DateTime::parse_from_rfc3339("1899-12-31T23:59:59.000001Z").unwrap();
        for day in 0..132_300 {
            let t = start + chrono::TimeDelta::days(day);
            assert_eq!(parse(&t.to_rfc3339(), None), Ok(t.timestamp_micros()), "{t}");
        }
    }

    #[test]
    fn every_way_to_write_one_moment() {
        let ways = [
            "2019-11-24T00:00:04.101095Z",
            "2019-11-24 00:00:04.101095+00:00",
            "2019-11-24t01:00:04.101095999+0100",
            "2019-11-23 22:30:04,101095-01:30",
            "2019-11-24T02:00:04.101095+02",
        ];
        for way in ways {
            assert_eq!(parse(way, None), Ok(1_574_553_604_101_095), "{way}");
        }
        assert_eq!(parse("2019-11-24T00:00:04.1Z", None), Ok(1_574_553_604_100_000));
    }

    #[test]
    fn leap_seconds_stay_in_their_day_and_old_times_are_negative() {
        assert_eq!(parse("2016-12-31T23:59:60Z", None), Ok(1_483_228_799_999_999));
        assert_eq!(parse("1969-12-31T23:59:59.5Z", None), Ok(-500_000));
    }

    #[test]
    fn times_without_an_offset_are_of_the_zone_that_is_given() {
        let zone = |name: &str| Some(name.parse::<Tz>().unwrap());
        for (text, name, utc) in [
            ("2026-11-20 05:01:00", "UTC", "2026-11-20T05:01:00Z"),
            ("2026-11-20 05:01:00", "+05:30", "2026-11-19T23:31:00Z"),
            ("2026-11-20T05:01:00.25", "Europe/Berlin", "2026-11-20T04:01:00.25Z"),
            ("2026-07-20T05:01:00", "Europe/Berlin", "2026-07-20T03:01:00Z"),
            ("2026-11-20T05:01:00Z", "Europe/Berlin", "2026-11-20T05:01:00Z"),
            ("2026-11-20 05:01:00 UTC", "Europe/Berlin", "2026-11-20T05:01:00Z"),
        ] {
            assert_eq!(parse(text, zone(name)), parse(utc, None), "{text} in {name}");
        }
        for text in ["2026-10-25 02:30:00", "2026-03-29 02:30:00"] {
            assert_eq!(parse(text, zone("Europe/Berlin")), Err(BadTime::Ambiguous), "{text}");
        }
    }

    #[test]
    fn numbers_are_times_in_their_unit() {
        let count = 1_795_150_800_i64;
        for (unit, factor) in [("s", 1), ("ms", 1000), ("us", 1_000_000), ("ns", 1_000_000_000)] {
            let number = count * factor;
            let micros = unit.parse::<Unit>().unwrap().micros(number);
            assert_eq!((micros, Unit::guess(number as f64).unwrap().0), (Some(count * 1_000_000), unit));
        }
        assert_eq!((Unit::Nanos.micros(-1), Unit::Seconds.micros(i64::MAX)), (Some(-1), None));
        assert_eq!(Unit::Seconds.micros_of(1_795_150_800.25), Some(1_795_150_800_250_000));
        assert_eq!((Unit::guess(0.0), Unit::guess(f64::NAN), Unit::Millis.micros_of(f64::MAX)), (None, None, None));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        assert_eq!(parse("2019-11-24T00:00:04", None), Err(BadTime::NoZone));
        assert_eq!(parse("2019-11-24 00:00:04.5", None), Err(BadTime::NoZone));
        let bad = ["", "2019-11-24", "2019-02-29T00:00:00Z", "2019-13-01T00:00:00Z", "2019-00-01T00:00:00Z"];
        let worse = ["2019-11-24T24:00:00Z", "2019-11-24T00:00:04.Z", "2019-11-24T00:00:04+1", "2019-11-24T00:00:61Z"];
        let odd = [
            "+019-11-24T00:00:04Z",
            "2019-11-24T00:00:04Zulu",
            "2019-11-24T00:00:04*01:00",
            "2019-11-24T00:00:04+24:00",
        ];
        for text in bad.iter().chain(&worse).chain(&odd) {
            assert_eq!(parse(text, None), Err(BadTime::Malformed), "{text}");
        }
    }
}
