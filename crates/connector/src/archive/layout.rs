//! Which hour is a file of? As rescan and other engines name directories of hours, and what they hide.

use event_time::Hour;
use object_store::ObjectMeta;
use object_store::path::{Path, PathPart};

use crate::archive::location::Location;

/// The file that seals a partition.
pub const SUCCESS: &str = "_SUCCESS";

/// The first parts of a path, as far as they name an hour, and how many they are: `dt=2026-11-20/hr=05`,
/// `date=20261120/hour=5`, `year=2026/month=11/day=20/hour=5`, each number padded or not.
pub(crate) fn hour_of(parts: &[&str]) -> Option<(Hour, usize)> {
    let value = |at: usize, names: &[&str]| {
        let (name, value) = parts.get(at)?.split_once('=')?;
        names.contains(&name).then_some(value)
    };
    if let Some(date) = value(0, &["dt", "date"]) {
        return Some((hour(&day(date)?, value(1, &["hr", "hour"])?)?, 2));
    }
    let day = [value(0, &["year"])?, value(1, &["month"])?, value(2, &["day"])?];
    Some((hour(&day, value(3, &["hour", "hr"])?)?, 4))
}

/// The hours of the day that a directory of a day holds, the first and the one after the last; none where its name is
/// none of a day.
pub(crate) fn hours_of_day(part: &str) -> Option<(Hour, Hour)> {
    let (first, _) = hour_of(&[part, "hr=00"])?;
    Some((first, first.plus(24)))
}

/// Year, month and day of `2026-11-20` or `20261120`.
fn day(date: &str) -> Option<[&str; 3]> {
    let mut parts = date.split('-');
    match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (year, Some(month), Some(day), None) if year.len() == 4 && month.len() == 2 && day.len() == 2 => {
            Some([year, month, day])
        }
        (date, None, None, None) if date.len() == 8 && date.is_ascii() => Some([&date[..4], &date[4..6], &date[6..]]),
        _ => None,
    }
}

fn hour(day: &[&str; 3], hour: &str) -> Option<Hour> {
    let is_number = |text: &&str| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let [year, month, day] = day;
    let numbers = [year, month, day, &hour];
    numbers
        .iter()
        .all(|text| is_number(text))
        .then(|| format!("{year:0>4}-{month:0>2}-{day:0>2}T{hour:0>2}").parse().ok())?
}

/// Where rescan keeps what belongs to an output, beside its hours.
pub const OWN: &str = "_rescan";

/// What a file is, by where it lies.
#[derive(Debug, PartialEq)]
pub(crate) enum Place {
    /// Data of an hour, by its path from the hour's directory.
    Data(Hour, String),
    /// What seals an hour.
    Seal(Hour),
    /// Something else in an hour.
    Unread(Hour),
    /// In no hour.
    Other,
    /// The bookkeeping of some engine.
    Hidden,
    /// Nothing: an object that stands for a directory.
    Directory,
}

impl Place {
    pub(crate) fn of(root: &Location, object: &ObjectMeta) -> Place {
        let parts = parts(root, &object.location);
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        if object.size == 0 && is_directory(&parts) {
            return Place::Directory;
        }
        let Some((hour, levels)) = hour_of(&parts) else {
            let hidden = parts.iter().any(|part| is_hidden(part));
            return if hidden { Place::Hidden } else { Place::Other };
        };
        match &parts[levels..] {
            [SUCCESS] => Place::Seal(hour),
            inside if inside.iter().any(|part| is_hidden(part)) => Place::Hidden,
            inside @ [.., name] if name.ends_with(".parquet") => Place::Data(hour, inside.join("/")),
            _ => Place::Unread(hour),
        }
    }
}

/// Whether an empty object stands for a directory: of the place itself, of a level of it, or as Hadoop marks directories.
/// Consoles of S3 make such objects, with a slash behind the name, which the store leaves out.
fn is_directory(parts: &[&str]) -> bool {
    let Some(name) = parts.last() else { return true };
    name.ends_with("_$folder$") || name.contains('=') && !name.ends_with(".parquet")
}

/// The directory of the hour that a path is in, from the place on.
pub(crate) fn directory_of(root: &Location, path: &Path) -> Option<String> {
    let parts = parts(root, path);
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let (_, levels) = hour_of(&parts)?;
    Some(parts[..levels].join("/"))
}

/// The directories and the name of a path, from the place on.
pub(crate) fn parts<'a>(root: &Location, path: &'a Path) -> Vec<PathPart<'a>> {
    path.prefix_match(&root.prefix).into_iter().flatten().collect()
}

/// Whether a name is one of bookkeeping.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.']) || name.ends_with(".crc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_hours_as_engines_name_them() {
        for (path, said, levels) in [
            ("dt=2026-11-20/hr=05/x", "2026-11-20T05", 2),
            ("dt=2026-11-20/hr=5/x", "2026-11-20T05", 2),
            ("dt=20261120/hr=23/x", "2026-11-20T23", 2),
            ("date=2026-11-20/hour=0/country=US/x", "2026-11-20T00", 2),
            ("year=2026/month=1/day=2/hour=3/x", "2026-01-02T03", 4),
            ("year=2026/month=11/day=20/hour=05", "2026-11-20T05", 4),
        ] {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(hour_of(&parts), Some((said.parse().unwrap(), levels)), "{path}");
        }
    }

    #[test]
    fn empty_objects_may_stand_for_directories() {
        let root = Location::parse("/events", &std::collections::BTreeMap::new()).unwrap();
        let hour: Hour = "2026-11-20T05".parse().unwrap();
        for (path, size, place) in [
            ("", 0, Place::Directory),
            ("dt=2026-11-20", 0, Place::Directory),
            ("dt=2026-11-20/hr=05", 0, Place::Directory),
            ("dt=2026-11-20/hr=05/country=US", 0, Place::Directory),
            ("dt=2026-11-20_$folder$", 0, Place::Directory),
            ("dt=2026-11-20/hr=05_$folder$", 0, Place::Directory),
            ("year=2026/month=11", 0, Place::Directory),
            ("dt=2026-11-20", 1, Place::Other),
            ("dt=2026-11-20/hr=05", 1, Place::Unread(hour)),
            ("dt=2026-11-20/hr=05/x.json", 0, Place::Unread(hour)),
            ("dt=2026-11-20/hr=05/_SUCCESS", 0, Place::Seal(hour)),
            ("dt=2026-11-20/hr=05/a=b.parquet", 0, Place::Data(hour, "a=b.parquet".to_owned())),
            ("dt=2026-11-20/hr=05/hr=7/x.parquet", 1, Place::Data(hour, "hr=7/x.parquet".to_owned())),
        ] {
            let location = Path::parse(format!("events/{path}")).unwrap();
            let object =
                ObjectMeta { location, last_modified: chrono::DateTime::UNIX_EPOCH, size, e_tag: None, version: None };
            assert_eq!(Place::of(&root, &object), place, "{path} of {size} bytes");
        }
    }

    #[test]
    fn what_names_no_hour() {
        for path in [
            "dt=2026-11-20/hr=24",
            "dt=2026-11-20/hr=+5",
            "dt=2026-11-20/hr=",
            "dt=2026-11-20/hr=005",
            "dt=2026-11-20",
            "dt=2026-1-2/hr=05",
            "dt=2026-02-30/hr=05",
            "dt=today/hr=05",
            "dt=é0261120/hr=05",
            "year=2026/month=13/day=1/hour=0",
            "year=2026/month=11/hour=0",
            "hr=05/dt=2026-11-20",
            "2026/11/20/05",
            "x",
        ] {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(hour_of(&parts), None, "{path}");
        }
    }
}
