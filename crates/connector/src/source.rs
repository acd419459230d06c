//! What a stream reads from: source partitions, their offsets, and the one trait that every stream source implements.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use event_time::TIME;
use serde::{Deserialize, Serialize};

use crate::files::known::mark::FileMark;

/// The *next* position to read in a source partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// The file that holds the position; empty for Kafka.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The next byte of a text file, row of a Parquet file, or offset of a Kafka partition.
    pub position: u64,
    /// Rows of the file before the position: the `_offset` of the next row. For Kafka equal to `position`.
    pub row: u64,
    /// How far each file was read, by name; empty where one place says it all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileMark>,
    /// Where `files` are those that have changed since an older offset: the files of that one which are no more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<String>,
    /// The last Kafka message before the position, by its offset and a hash of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

impl Offset {
    /// The whole of an offset that says what has changed since `older`.
    #[must_use]
    pub fn since(mut self, mut older: Offset) -> Offset {
        older.files.retain(|name, _| !self.without.contains(name));
        older.files.append(&mut self.files);
        self.without.clear();
        Offset { files: older.files, ..self }
    }

    /// Whether both follow the same rows, whatever became meanwhile of the times and places of their files.
    #[must_use]
    pub fn is_same_rows(&self, other: &Offset) -> bool {
        let place = |offset: &Offset| (offset.file.clone(), offset.position, offset.row, offset.files.len());
        let mut marks = self.files.iter().zip(&other.files);
        place(self) == place(other) && marks.all(|(a, b)| a.0 == b.0 && a.1.is_same_rows(b.1))
    }
}

/// A row that could not become columns, kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Kafka topic, or file.
    pub topic: String,
    /// Kafka partition, or 0.
    pub partition: i32,
    /// Kafka offset, or row of the file, counted from 0.
    pub offset: i64,
    /// When the source received the row, microseconds UTC, where it says.
    pub arrived_at: Option<i64>,
    /// A code in snake case, then what was wrong: `lossy_number: rank: 1.9 is no int32`.
    pub reason: String,
    /// The row as it came.
    pub raw: Vec<u8>,
}

/// Consecutive rows of one source partition.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The decoded rows in order; schema as [`Source::schema`].
    pub rows: RecordBatch,
    /// The rows between them that could not be decoded.
    pub rejected: Vec<Rejected>,
    /// Rows read, counted where bytes become rows and not from the two fields above: the ledger compares.
    pub read: u64,
    /// Where the next chunk starts.
    pub next: Offset,
}

/// What a source partition has to give.
#[derive(Debug)]
pub enum Poll {
    /// Rows, at most as many as asked for.
    Chunk(Chunk),
    /// Nothing now; more may come.
    Waiting,
    /// Nothing any more: the end of a bounded source.
    Finished,
}

/// A stream of rows in source partitions, each ordered and repeatable from any offset it has shown.
#[async_trait]
pub trait Source: Send {
    /// The decoded columns, then [`position_fields`].
    fn schema(&self) -> SchemaRef;

    /// The names of the source partitions, unique and in a fixed order.
    fn partitions(&self) -> &[String];

    /// Goes to these offsets; a partition without one starts at its beginning. Call it before the first `read`.
    ///
    /// # Errors
    /// An offset that the source no longer has.
    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()>;

    /// The next rows of one partition (an index into [`Source::partitions`]), at most `rows_max`. Does not block for
    /// long: answers [`Poll::Waiting`] where nothing has come.
    ///
    /// # Errors
    /// The source is out of reach, or what it holds cannot be read on from here.
    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll>;

    /// How far each file was read by the chunks that were given out, by name; `None` where the `next` of the last chunk
    /// says it all.
    fn files(&self, _partition: usize) -> Option<&BTreeMap<String, FileMark>> {
        None
    }

    /// The names of the files for which `files` says something else than when this was asked last, or than the offset
    /// that was gone to.
    fn changed(&mut self, _partition: usize) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Where to go on after all chunks that were given out; `None` where the `next` of the last one says it all.
    fn place(&self, partition: usize) -> Option<Offset> {
        self.files(partition).map(|files| Offset { files: files.clone(), ..Offset::default() })
    }

    /// Leaves out files that none of these offsets names: they came after the run that recorded the offsets had begun.
    /// Before the first read.
    fn keep_to(&mut self, _offsets: &BTreeMap<String, Offset>) {}

    /// How many files were passed over, for their names are those of bookkeeping; a directory is one.
    fn skipped(&self) -> u64 {
        0
    }

    /// What the user should know and has not been told yet.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Where a row came from, kept with it: `_topic`, `_partition`, `_offset`, `_arrived_at`.
pub fn position_fields() -> [Field; 4] {
    [
        Field::new("_topic", DataType::Utf8View, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_arrived_at", TIME, true),
    ]
}
