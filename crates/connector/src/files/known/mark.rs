//! How far a file was read, and what it is known by again.

use serde::{Deserialize, Serialize};

use crate::fault::SourceError;
use crate::files::input::{InputFile, Stat};
use crate::files::known::sum::RowSum;

/// How far a file was read, and what it is known by again under whatever name. Written down as one line of text, since
/// an epoch records one of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMark {
    /// The next byte, of what gzip has packed too; the next row of Parquet.
    pub(crate) position: u64,
    /// Rows before it: the `_offset` of the next row.
    pub(crate) row: u64,
    /// Of the rows before it; of a Parquet file of all its bytes.
    pub(crate) sum: RowSum,
    /// The same after two rows, or one where there is no second: what is another file differs here already.
    pub(crate) head: u64,
    /// What the file looked like when it was read last.
    pub(crate) stat: Stat,
    /// Whether there may be more in it than was read.
    pub(crate) rest: bool,
    /// Whether it is not there any more.
    pub(crate) gone: bool,
    /// Whether rotation has made it of another file, and its rows up to here were read of that one.
    pub(crate) copy: bool,
    /// The `_topic` of its rows: the name that it had at first.
    pub(crate) topic: String,
    /// Their `_partition`: how many other files had that name before it.
    pub(crate) partition: i32,
}

impl FileMark {
    /// How many rows were read of it.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row
    }

    /// Whether as much was read of the same rows, under the same name: a file that was copied or touched is the same.
    pub(crate) fn is_same_rows(&self, other: &FileMark) -> bool {
        let rows = |mark: &FileMark| (mark.position, mark.row, mark.sum, mark.partition);
        rows(self) == rows(other) && self.topic == other.topic
    }

    /// Of a file that is not begun, under a name that so many files had before.
    pub(crate) fn beginning(name: &str, partition: i32, stat: Stat) -> Self {
        Self { topic: name.to_owned(), partition, stat, rest: true, ..Self::default() }
    }
}

/// Marks that are set or taken away, by name.
pub(crate) type Changes = Vec<(String, Option<FileMark>)>;

/// That a file does not hold what was read of it.
pub(crate) fn changed(file: &InputFile, mark: &FileMark) -> SourceError {
    let (path, bytes, row) = (file.path.display(), file.stat.bytes, mark.row);
    let what = match file.is_plain_text() && bytes < mark.position {
        true => format!("was truncated: it has {bytes} bytes, and was read up to byte {}", mark.position),
        false => {
            format!(
                "was replaced or rewritten, or its last row has grown: it holds other rows than the {row} that were read"
            )
        }
    };
    SourceError::BadData(format!("{path} {what}: put it back as it was, or start anew with another --out"))
}

/// What stands in a mark's text in place of what was and is to be read.
const COPY: &str = "copy";

impl From<FileMark> for String {
    fn from(mark: FileMark) -> Self {
        let FileMark { position, row, sum, head, stat, rest, gone, copy, topic, partition } = mark;
        let Stat { bytes, modified, device, inode } = stat;
        let is = if copy { COPY.to_owned() } else { format!("{}{}", u8::from(rest), u8::from(gone)) };
        format!(
            "{position} {row} {:032x} {head:016x} {bytes} {modified} {device} {inode} {is} {partition} {topic}",
            sum.0
        )
    }
}

impl TryFrom<String> for FileMark {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let mut parts = text.splitn(11, ' ');
            let mut part = || parts.next();
            let position = part()?.parse().ok()?;
            let row = part()?.parse().ok()?;
            let sum = RowSum(u128::from_str_radix(part()?, 16).ok()?);
            let head = u64::from_str_radix(part()?, 16).ok()?;
            let (bytes, modified) = (part()?.parse().ok()?, part()?.parse().ok()?);
            let stat = Stat { bytes, modified, device: part()?.parse().ok()?, inode: part()?.parse().ok()? };
            let (rest, gone, copy) = match part()? {
                "00" => (false, false, false),
                "01" => (false, true, false),
                "10" => (true, false, false),
                "11" => (true, true, false),
                COPY => (false, false, true),
                _ => return None,
            };
            let partition = part()?.parse().ok()?;
            Some(Self { position, row, sum, head, stat, rest, gone, copy, partition, topic: part()?.to_owned() })
        };
        read().ok_or_else(|| format!("{text:?} does not say how far a file was read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let stat = Stat { bytes: 7, modified: -3, device: 1, inode: u64::MAX };
        let mut mark = FileMark::beginning("a name, é", 3, stat);
        (mark.position, mark.row, mark.sum, mark.head, mark.gone) = (u64::MAX, 5, RowSum(u128::MAX), 9, true);
        let copy = FileMark { rest: false, gone: false, copy: true, ..mark.clone() };
        for mark in [mark, copy, FileMark::default()] {
            let text = serde_json::to_string(&mark).unwrap();
            assert_eq!(serde_json::from_str::<FileMark>(&text).unwrap(), mark);
            assert!(serde_json::from_str::<FileMark>(&text.replacen(' ', "", 4)).is_err());
        }
    }
}
