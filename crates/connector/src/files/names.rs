//! What names of files say: the order in which files are read, and which file a rotated one was.

use std::cmp::Ordering;

/// What names of compressed files end in: by gzip, by Zstandard.
const PACKED: [&str; 2] = [".gz", ".zst"];

/// Endings of names that rotation puts its own behind.
const ENDINGS: [&str; 6] = ["jsonl", "ndjson", "json", "csv", "parquet", "log"];

/// Whether the name says that the file is compressed.
pub(crate) fn is_packed(name: &str) -> bool {
    PACKED.iter().any(|ending| name.ends_with(ending))
}

/// The name without what compression put behind it.
pub(crate) fn unpacked(name: &str) -> &str {
    PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The name without what compression and rotation put behind it: `app.jsonl` for `app.jsonl.3`, `app.jsonl-20261120` and
/// `app.jsonl.3.gz`.
pub(crate) fn plain(name: &str) -> &str {
    rotated(name).0
}

/// Whether rotation has given a name to the file, beside compressing it.
pub(crate) fn is_rotated(name: &str) -> bool {
    rotated(name).1 != i64::MAX
}

/// Reading order: numbers within names by their value (`9` before `10`), and of one name rotated files before the file
/// itself, the oldest first.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let ((plain_a, age_a), (plain_b, age_b)) = (rotated(a), rotated(b));
    natural(plain_a, plain_b).then(age_a.cmp(&age_b)).then_with(|| natural(a, b)).then_with(|| a.cmp(b))
}

/// The plain name, and a number that grows with time: `.3` is older than `.2`, and `-20261120` older than `-20261121`.
fn rotated(name: &str) -> (&str, i64) {
    let name = unpacked(name);
    let Some((head, tail)) = name.rsplit_once(['.', '-']) else { return (name, i64::MAX) };
    let is_log = ENDINGS.iter().any(|ending| head.strip_suffix(ending).is_some_and(|stem| stem.ends_with('.')));
    match tail.parse::<i64>() {
        Ok(number) if is_log && tail.len() >= 8 => (head, number),
        Ok(number) if is_log && tail.len() <= 5 => (head, -number),
        _ => (name, i64::MAX),
    }
}

fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (part_a, part_b) = (part(a), part(b));
        let digits = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(part_a) && digits(part_b) {
            let [a, b] = [part_a, part_b].map(|part| part.trim_start_matches('0'));
            a.len().cmp(&b.len()).then(a.cmp(b))
        } else {
            part_a.cmp(part_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[part_a.len()..], &b[part_b.len()..]);
    }
    a.len().cmp(&b.len())
}

/// The digits that a text starts with, or one character that is none.
fn part(text: &str) -> &str {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let end = if digits > 0 { digits } else { text.chars().next().map_or(0, char::len_utf8) };
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_natural_order_and_rotated_ones_from_the_oldest() {
        let ordered = [
            "2.jsonl",
            "10.jsonl",
            "a-9.csv",
            "a-10.csv",
            "app.jsonl.10.gz",
            "app.jsonl.2",
            "app.jsonl.1",
            "app.jsonl-20261119.gz",
            "app.jsonl-20261120",
            "app.jsonl",
            "b-20261120.jsonl",
            "b-20261121.jsonl",
            "é1",
            "é01",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                // The same number, spelled otherwise: any order, as long as it is one.
                if i.abs_diff(j) == 0 || !(a.contains('é') && b.contains('é')) {
                    assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
                }
            }
        }
        assert_eq!(compare("é1", "é01"), compare("é01", "é1").reverse());
    }

    #[test]
    fn rotation_is_told_from_names_that_end_in_a_number() {
        for (name, was) in [
            ("app.jsonl.1", "app.jsonl"),
            ("app.log.12.gz", "app.log"),
            ("app.csv-20261120", "app.csv"),
            ("app.csv.gz", "app.csv"),
            ("app.csv.1.zst", "app.csv"),
            ("2026/app.jsonl.1", "2026/app.jsonl"),
            ("part.0001", "part.0001"),
            ("b-20261120.jsonl", "b-20261120.jsonl"),
            ("jsonl.1", "jsonl.1"),
            ("plain", "plain"),
        ] {
            assert_eq!(plain(name), was);
            assert_eq!(is_rotated(name), was != name && name != "app.csv.gz", "{name}");
        }
    }
}
