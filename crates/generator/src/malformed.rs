//! Lines that are no rows, each made from a good row: what half-written buffers, old clients and proxies send. None of
//! them is ever a valid row of the schema, and none holds a line end.

use crate::dice::Dice;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Truncated,
    TwoDocuments,
    NotJson,
    Array,
    BadUtf8,
    MissingTime,
    NullTime,
    WordForTime,
    TextForInteger,
    FloatForInteger,
    IntegerOverflow,
    NotANumber,
}

impl Malformed {
    pub(crate) const ALL: [Self; 12] = [
        Self::Truncated,
        Self::TwoDocuments,
        Self::NotJson,
        Self::Array,
        Self::BadUtf8,
        Self::MissingTime,
        Self::NullTime,
        Self::WordForTime,
        Self::TextForInteger,
        Self::FloatForInteger,
        Self::IntegerOverflow,
        Self::NotANumber,
    ];

    /// The good `row` gone wrong.
    pub(crate) fn spoil(self, row: &[u8], dice: &mut Dice) -> Vec<u8> {
        match self {
            Self::Truncated => row[..1 + dice.below(row.len() as u64 - 1) as usize].to_vec(),
            Self::TwoDocuments => [row, row].concat(),
            Self::NotJson => b"<html><body>502 Bad Gateway</body></html>".to_vec(),
            Self::Array => [b"[", row, b"]"].concat(),
            Self::BadUtf8 => with(row, "country", |_| b"\"\xc3\x28\"".to_vec()),
            Self::MissingTime => rename(row, "ts", "time"),
            Self::NullTime => with(row, "ts", |_| b"null".to_vec()),
            Self::WordForTime => with(row, "ts", |_| b"\"yesterday\"".to_vec()),
            Self::TextForInteger => with(row, "profile_id", |id| [b"\"p", id, b"\""].concat()),
            Self::FloatForInteger => with(row, "video_id", |id| [id, b".5"].concat()),
            Self::IntegerOverflow => with(row, "profile_id", |id| [id, &[b'0'; 19]].concat()),
            Self::NotANumber => {
                with(row, if has(row, "propensity") { "propensity" } else { "duration_s" }, |_| b"NaN".to_vec())
            }
        }
    }
}

/// The row with another value for one key. No text in a row holds a comma or a brace.
fn with(row: &[u8], key: &str, value: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(start) = find(row, key).map(|at| at + key.len() + 3) else { return vec![] };
    let end =
        row[start..].iter().position(|byte| matches!(byte, b',' | b'}')).map_or(row.len(), |length| start + length);
    [&row[..start], &value(&row[start..end]), &row[end..]].concat()
}

fn rename(row: &[u8], key: &str, other: &str) -> Vec<u8> {
    let Some(at) = find(row, key).map(|at| at + 1) else { return vec![] };
    [&row[..at], other.as_bytes(), &row[at + key.len()..]].concat()
}

fn has(row: &[u8], key: &str) -> bool {
    find(row, key).is_some()
}

/// Where `"key":` begins.
fn find(row: &[u8], key: &str) -> Option<usize> {
    let quoted = format!("\"{key}\":");
    row.windows(quoted.len()).position(|window| window == quoted.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::dice::Stream;
    use crate::event::{Detail, Event};

    /// The columns that every row must have, in their types.
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only whether it can be read matters")]
    struct Row {
        event_id: String,
        ts: i64,
        request_id: String,
        profile_id: i64,
        video_id: i64,
        country: String,
        device: String,
        region: String,
        rank: Option<i32>,
        propensity: Option<f64>,
        duration_s: Option<f64>,
    }

    fn rows() -> [Vec<u8>; 2] {
        let details = [Detail::Impression { row: 3, rank: 9, propensity: 37_400 }, Detail::Play { duration: 61_500 }];
        details.map(|detail| {
            let (country, device, region) = (1, 2, 0);
            let event = Event {
                id: 1,
                request: 2,
                ts: 1_795_132_800_000,
                profile: 3,
                video: 4,
                country,
                device,
                region,
                detail,
            };
            let mut row = vec![];
            event.write_json(&mut row);
            row
        })
    }

    #[test]
    fn good_rows_are_read() {
        let [impression, play] = rows().map(|row| serde_json::from_slice::<Row>(&row).unwrap());
        assert_eq!((impression.rank, impression.propensity, play.duration_s), (Some(9), Some(0.0374), Some(61.5)));
    }

    #[test]
    fn no_malformed_line_is_a_row() {
        let mut dice = Dice::new(7, Stream::Malformed);
        for row in rows() {
            for kind in Malformed::ALL {
                for _ in 0..200 {
                    let line = kind.spoil(&row, &mut dice);
                    let shown = String::from_utf8_lossy(&line);
                    assert!(!line.is_empty() && !line.contains(&b'\n'), "{kind:?}: {shown}");
                    assert!(serde_json::from_slice::<Row>(&line).is_err(), "{kind:?}: {shown}");
                }
            }
        }
    }

    #[test]
    fn each_kind_goes_wrong_in_its_own_way() {
        let mut dice = Dice::new(7, Stream::Malformed);
        let [row, _] = rows();
        let reasons = Malformed::ALL
            .map(|kind| serde_json::from_slice::<Row>(&kind.spoil(&row, &mut dice)).err().unwrap().to_string());
        let words = [
            "EOF",
            "trailing characters",
            "expected",
            "invalid type",
            "invalid unicode",
            "missing field `ts`",
            "invalid type: null",
            "invalid type: string \"yesterday\"",
            "invalid type: string \"p3\"",
            "invalid type: floating point `4.5`",
            "floating point `3e+19`",
            "expected",
        ];
        for (reason, word) in reasons.iter().zip(words) {
            assert!(reason.contains(word), "{reason}, not {word}");
        }
    }
}
