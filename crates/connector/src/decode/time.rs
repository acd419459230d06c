//! Times as text: RFC 3339, with a blank for the `T` and an offset without colon allowed, to microseconds UTC.

use std::ops::Range;

use thiserror::Error;

/// The microseconds of the years 1900 to 2261: what a timestamp in nanoseconds can hold too.
pub(crate) const RANGE: Range<i64> = -2_208_988_800_000_000..9_214_646_400_000_000;

const DAY: i64 = 86_400;

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadTime {
    /// A time of some place, but nothing says which.
    #[error("no zone")]
    NoZone,
    /// Anything else.
    #[error("no time in RFC 3339")]
    Malformed,
}

/// Microseconds since 1970, UTC, of `2026-11-20T05:06:07.891+01:00`. Digits behind the microsecond are cut off, and a
/// leap second is the last microsecond before it, so that a day has no hour 24.
///
/// # Errors
/// The text is no time, or has no zone.
pub(crate) fn parse(text: &str) -> Result<i64, BadTime> {
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
    let (fraction, zone) = fraction(&b[19..])?;
    let (second, fraction) = if second == 60 { (59, 999_999) } else { (second, fraction) };
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Ok((local - offset(zone)?) * 1_000_000 + fraction)
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

/// The seconds that a zone is ahead of UTC: `Z`, `+01:00`, `+0100` or `+01`.
fn offset(zone: &[u8]) -> Result<i64, BadTime> {
    let (sign, hour, minute) = match zone {
        [] => return Err(BadTime::NoZone),
        [b'Z' | b'z'] => return Ok(0),
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
            assert_eq!(parse(&t.to_rfc3339()), Ok(t.timestamp_micros()), "{t}");
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
            assert_eq!(parse(way), Ok(1_574_553_604_101_095), "{way}");
        }
        assert_eq!(parse("2019-11-24T00:00:04.1Z"), Ok(1_574_553_604_100_000));
    }

    #[test]
    fn leap_seconds_stay_in_their_day_and_old_times_are_negative() {
        assert_eq!(parse("2016-12-31T23:59:60Z"), Ok(1_483_228_799_999_999));
        assert_eq!(parse("1969-12-31T23:59:59.5Z"), Ok(-500_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        assert_eq!(parse("2019-11-24T00:00:04"), Err(BadTime::NoZone));
        assert_eq!(parse("2019-11-24 00:00:04.5"), Err(BadTime::NoZone));
        let bad = ["", "2019-11-24", "2019-02-29T00:00:00Z", "2019-13-01T00:00:00Z", "2019-00-01T00:00:00Z"];
        let worse = ["2019-11-24T24:00:00Z", "2019-11-24T00:00:04.Z", "2019-11-24T00:00:04+1", "2019-11-24T00:00:61Z"];
        let odd = [
            "+019-11-24T00:00:04Z",
            "2019-11-24T00:00:04Zulu",
            "2019-11-24T00:00:04*01:00",
            "2019-11-24T00:00:04+24:00",
        ];
        for text in bad.iter().chain(&worse).chain(&odd) {
            assert_eq!(parse(text), Err(BadTime::Malformed), "{text}");
        }
    }
}
