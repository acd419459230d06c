//! Why rows came late to a source partition: which row was the furthest behind, and which had moved the watermark.

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;

use crate::aside::excess::place;

/// Of the late rows of a chunk the one that is furthest behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Furthest {
    /// Its number in the chunk.
    pub row: usize,
    /// The least `--watermark-delay` that would have kept it, microseconds.
    pub delay: i64,
    /// What had moved the watermark beyond it.
    pub mover: Mover,
}

/// What moves a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// A row of the same chunk.
    Row(usize),
    /// A row of an earlier chunk.
    Earlier,
    /// No row of this run: it began with that watermark.
    Before,
    /// No row of this partition: the others, while this one was idle.
    Others,
}

/// What came late to a source partition in this run.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    rows: u64,
    furthest: Option<Told>,
    /// The newest row so far.
    newest: Option<String>,
}

/// The row that is furthest behind, in words.
#[derive(Debug)]
struct Told {
    delay: i64,
    row: String,
    /// What had moved the watermark.
    mover: String,
}

impl Lateness {
    /// Adds a chunk: how many of its rows are late, the furthest behind of them, and the newest of all that moved on.
    pub(crate) fn add(
        &mut self,
        rows: &RecordBatch,
        time: &str,
        late: u64,
        furthest: Option<Furthest>,
        newest: Option<usize>,
    ) -> Result<()> {
        self.rows += late;
        if let Some(Furthest { row, delay, mover }) = furthest
            && self.furthest.as_ref().is_none_or(|told| told.delay < delay)
        {
            let mover = match mover {
                Mover::Row(row) => format!("{}, which", said(rows, row, time)?),
                Mover::Earlier => format!("{}, which", self.newest.as_deref().unwrap_or("an earlier row")),
                Mover::Before => "an earlier run".to_owned(),
                Mover::Others => "the other sources, while it was idle (--idle-timeout),".to_owned(),
            };
            self.furthest = Some(Told { delay, row: said(rows, row, time)?, mover });
        }
        if let Some(row) = newest {
            self.newest = Some(said(rows, row, time)?);
        }
        Ok(())
    }

    /// Why the rows of an input are late, by what came late to its source partitions, each with its name.
    pub(crate) fn cause<'a>(lanes: impl Iterator<Item = (&'a str, &'a Lateness)>) -> String {
        let lanes: Vec<(&str, &Lateness)> = lanes.collect();
        let delay = lanes.iter().filter_map(|(_, lane)| Some(lane.furthest.as_ref()?.delay)).max().unwrap_or(0);
        let most = lanes.iter().filter(|(_, lane)| lane.furthest.is_some()).max_by_key(|(_, lane)| lane.rows);
        let Some((name, Lateness { furthest: Some(Told { row, mover, .. }), .. })) = most else { return String::new() };
        let why = format!("{row} came after {mover} had moved the watermark of {name}");
        format!("{why}; --watermark-delay {} would have kept them all", lasting(delay))
    }
}

/// Where a row came from, and its time.
fn said(rows: &RecordBatch, row: usize, time: &str) -> Result<String> {
    let of = rows.column_by_name(time).map(|times| array_value_to_string(times, row)).transpose()?;
    Ok(format!("{} of {}", place(rows, row), of.unwrap_or_default()))
}

/// A time as flags take it, rounded up.
fn lasting(us: i64) -> String {
    let seconds = (us.max(0) as u64).div_ceil(1_000_000);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds.div_ceil(60)),
        _ => format!("{}h", seconds.div_ceil(3_600)),
    }
}
