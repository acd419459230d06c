//! Words of the command line to values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::timezone::Tz;
use arrow::datatypes::Schema;
use clap::Command;
use connector::{Location, Unit};
use scan::Literal;

use crate::exit::Usage;

/// The longest time that a flag takes: no sum of it with a time that events have leaves what the engine can hold.
const LONGEST: Duration = Duration::from_hours(36_500 * 24);

/// `30m`, `2h`, `0`: microseconds.
pub fn microseconds(text: &str) -> Result<i64, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("{e}: write 90s, 30m, 2h or 1day"))?;
    if duration > LONGEST {
        return Err("too long: at most 36500days, a hundred years".to_owned());
    }
    i64::try_from(duration.as_micros()).map_err(|e| e.to_string())
}

/// The event time: `ts`, or `ts:s` where the numbers in it are seconds; `a:b:` is the column `a:b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    pub name: String,
    /// What its numbers count, where that is said.
    pub unit: Option<Unit>,
}

impl TimeColumn {
    /// A column of this name, of whose unit nothing is said.
    pub fn of(name: &str) -> TimeColumn {
        TimeColumn { name: name.to_owned(), unit: None }
    }
}

impl FromStr for TimeColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeColumn, String> {
        let (name, unit) = match text.rsplit_once(':') {
            None => (text, None),
            Some((name, "")) => (name, None),
            Some((name, unit)) => {
                let unit = unit.parse().map_err(|e| format!("{e}; of a column that is called {text} say {text}:"))?;
                (name, Some(unit))
            }
        };
        Ok(TimeColumn { name: name.to_owned(), unit })
    }
}

/// The zone of times that name none.
#[derive(Clone, Debug)]
pub struct Zone {
    pub zone: Tz,
    /// As the user called it.
    pub said: String,
}

/// `UTC`, `Europe/Berlin`, `+05:30`.
pub fn zone(text: &str) -> Result<Zone, String> {
    let zone = text.parse().map_err(|_| "no zone: write UTC, Europe/Berlin or +05:30".to_owned())?;
    Ok(Zone { zone, said: text.to_owned() })
}

/// The columns of `--on`, by which events of two inputs meet.
///
/// # Errors
/// [`Usage`]: a column that says which event it is, or when it happened.
pub fn shared(on: &str, time: &str) -> Result<Vec<String>> {
    let columns = columns(on)?;
    let own = |column: &&String| ["event_id", time].contains(&column.as_str());
    if let Some(column) = columns.iter().find(own) {
        let what = if column == time { "when an event happened" } else { "which event a row is" };
        let said = "and not what it shares with others: name a column that both inputs have";
        let way = format!("or give {column} another name beside it, with ingest --select '*, {column} as shared'");
        return Err(Usage(format!("--on {column} says {what}, {said}, {way}")).into());
    }
    Ok(columns)
}

/// `URI`, or `NAME=URI`: a name has no slash.
pub fn named(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, uri)) if !name.contains('/') => (Some(name), uri),
        _ => (None, text),
    }
}

/// A place for files.
pub fn location(uri: &str, options: &BTreeMap<String, String>) -> Result<Location> {
    Location::parse(uri, options).map_err(|e| Usage(format!("{e:#}")).into())
}

/// `512M`, `2GiB`, `1000000`: bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("write bytes as 500M or 2G".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "write bytes as 500M or 2G".to_owned())?;
    Ok(number.checked_shl(shift).filter(|bytes| bytes >> shift == number).ok_or("too large")?)
}

/// A directory on this machine.
pub fn directory(text: &str) -> Result<PathBuf, String> {
    match text.split_once("://") {
        Some(("file", path)) => Ok(path.into()),
        None if text != "-" => Ok(text.into()),
        _ => Err("nothing is written there yet: give a local directory".to_owned()),
    }
}

/// `NAME=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The columns of a schema, each as its name and type.
pub fn typed(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

/// A path that does not change its meaning with the working directory.
pub fn absolute(place: &Path) -> PathBuf {
    std::path::absolute(place).unwrap_or_else(|_| place.to_owned())
}

/// A count of something that there must be.
pub fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

/// `a,b`: columns.
pub fn columns(text: &str) -> Result<Vec<String>> {
    columns_given(text, text.split(',').map(str::to_owned).collect())
}

fn columns_given(text: &str, parts: Vec<String>) -> Result<Vec<String>> {
    let columns: Vec<String> = parts.iter().map(|column| column.trim().to_owned()).collect();
    if columns.iter().any(String::is_empty) {
        return Err(Usage(format!("{text:?} names no columns: write a,b")).into());
    }
    Ok(columns)
}

/// `a, coalesce(b, 'x')`: SQL expressions, parted by the commas that are in no parentheses and no quotes.
pub fn expressions(text: &str) -> Result<Vec<String>> {
    let (mut depth, mut quoted, mut parts) = (0i32, None, vec![String::new()]);
    for c in text.chars() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (None, '\'' | '"') => quoted = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 && quoted.is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    columns_given(text, parts)
}

/// A script's parameter, by what it looks like: a number, true or false, a duration, else text.
pub fn literal(text: &str) -> Literal {
    if let Ok(integer) = text.parse() {
        return Literal::Integer(integer);
    }
    if let Ok(bool) = text.parse() {
        return Literal::Bool(bool);
    }
    microseconds(text).map_or_else(|_| Literal::Text(text.to_owned()), Literal::Interval)
}

/// Prints a manual page.
pub fn man(command: Command, name: Option<&str>) -> Result<ExitCode> {
    let command = match name {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).with_context(|| Usage(format!("there is no command {name}")))?;
            found.clone()
        }
    };
    clap_mangen::Man::new(command).render(&mut std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(microseconds("30m"), Ok(1_800_000_000));
        assert_eq!(microseconds("0"), Ok(0));
        assert!(microseconds("soon").is_err());
        assert_eq!(microseconds("36500d"), Ok(36_500 * 86_400_000_000));
        assert!(microseconds("36501d").unwrap_err().contains("36500days"));
        assert!(microseconds("99999999999999y").is_err());
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("0"), Ok(0));
        assert!(bytes("many").is_err());
        assert!(bytes("99999999999G").is_err());
    }

    #[test]
    fn the_event_time_has_a_unit() {
        let column = |name: &str, unit: Option<&str>| {
            Ok(TimeColumn { name: name.to_owned(), unit: unit.map(|unit| unit.parse().unwrap()) })
        };
        for (text, parsed) in [
            ("ts", column("ts", None)),
            ("ts:ns", column("ts", Some("ns"))),
            ("dc:date:", column("dc:date", None)),
            ("dc:date:us", column("dc:date", Some("us"))),
        ] {
            assert_eq!(text.parse(), parsed);
        }
        let said = "ts:xx".parse::<TimeColumn>().unwrap_err();
        assert!(
            said.starts_with("xx is no unit of time: s, ms, us and ns are") && said.ends_with("say ts:xx:"),
            "{said}"
        );
    }

    #[test]
    fn expressions_may_have_commas_of_their_own() {
        let parts = expressions("country, coalesce(device, 'a,b'), x[1]").unwrap();
        assert_eq!(parts, ["country", "coalesce(device, 'a,b')", "x[1]"]);
        assert!(expressions("a,,b").is_err());
    }

    #[test]
    fn parameters_are_what_they_look_like() {
        assert_eq!(literal("7"), Literal::Integer(7));
        assert_eq!(literal("true"), Literal::Bool(true));
        assert_eq!(literal("90s"), Literal::Interval(90_000_000));
        assert_eq!(literal("left"), Literal::Text("left".to_owned()));
    }
}
