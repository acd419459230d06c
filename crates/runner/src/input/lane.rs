//! Where the rows of a stream come from: its inputs, their source partitions, and what an epoch records of each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use connector::{Chunk, FileMark, Offset, Poll, Source, SourceError};
use journal::{Epoch, SourceFacts};
use scan::Door;

use crate::input::gate::Clock;
use crate::input::idle::{Idle, LONG};
use crate::input::lateness::Lateness;
use crate::input::offsets::{Place, Recorded};

/// How long to wait where no source partition has anything.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// An input of a stream.
pub struct Feed {
    /// As in `batch.NAME`.
    pub input: String,
    /// Its event time column, after the door.
    pub time: String,
    /// Where its rows come from.
    pub source: Box<dyn Source>,
    /// `--where` and `--select`.
    pub door: Option<Door>,
    /// When the others do not wait for one of its partitions.
    pub idle: Idle,
}

/// One source partition.
pub(crate) struct Lane {
    pub feed: usize,
    pub partition: usize,
    pub name: String,
    pub clock: Clock,
    pub offset: Option<Offset>,
    /// What the last epoch recorded of its files.
    pub recorded: Recorded,
    /// Where an earlier run over the same files had read all of it.
    pub end: Option<Offset>,
    pub watermark_before: Option<i64>,
    /// Since when it has had nothing to give.
    pub waiting: Option<Instant>,
    pub lateness: Lateness,
    /// Whether that was said.
    pub said: bool,
}

impl Lane {
    pub(crate) fn new(feed: usize, partition: usize, name: String, clock: Clock, delay: i64) -> Lane {
        let watermark_before = clock.watermark(delay);
        let (offset, end, waiting, said, lateness) = (None, None, None, false, Lateness::default());
        let recorded = Recorded::default();
        Lane { feed, partition, name, clock, offset, recorded, end, watermark_before, waiting, said, lateness }
    }

    /// Where it goes on.
    pub(crate) fn place(&self, source: &dyn Source) -> Option<Offset> {
        source.place(self.partition).or_else(|| self.offset.clone())
    }

    /// Whether it is silent for long, holds the watermark behind others that have more to give, and that was not said.
    pub(crate) fn is_holding(&self, lanes: &[Lane], since: Instant, delay: i64) -> bool {
        let own = self.clock.watermark(delay);
        let ahead = |lane: &Lane| !lane.clock.finished && lane.clock.watermark(delay) > own;
        !self.said && !self.clock.idle && since.elapsed() >= LONG && lanes.iter().any(ahead)
    }

    /// The next row, where it had ended and something has come since.
    pub(crate) async fn grown(&self, source: &mut dyn Source) -> Result<Option<String>> {
        loop {
            match source.read(self.partition, 1).await? {
                Poll::Finished => return Ok(None),
                Poll::Waiting => tokio::time::sleep(PAUSE).await,
                Poll::Chunk(chunk) => return Ok(Some(first(&chunk)?)),
            }
        }
    }

    /// What an epoch records of it; the next epoch's begins here.
    pub(crate) fn facts(&mut self, source: &mut dyn Source, delay: i64, place: &Place) -> Result<SourceFacts> {
        let watermark = self.clock.watermark(delay);
        let watermark_before = std::mem::replace(&mut self.watermark_before, watermark);
        let files = self.recorded.next(source, self.partition, place)?;
        let offset = serde_json::to_value(files.or_else(|| self.offset.clone()).unwrap_or_default())?;
        let (idle, finished) = (self.clock.idle, self.clock.finished);
        let own = self.clock.own(delay);
        let own = (own < watermark).then(|| own.unwrap_or(i64::MIN));
        Ok(SourceFacts { offset, watermark_before, watermark, own, idle, finished })
    }
}

/// The clock of a source partition after an epoch.
pub(crate) fn resumed(facts: &SourceFacts) -> Clock {
    let clock = Clock::resumed(facts.watermark, facts.idle, facts.finished);
    match facts.own {
        Some(own) => clock.overslept(Some(own).filter(|own| *own > i64::MIN)),
        None => clock,
    }
}

/// That files which have one place in the journal, as an earlier version wrote it, hold the rows that were read: it says
/// of none before that place how far it was read.
pub(crate) fn same_rows(
    input: &str,
    source: &dyn Source,
    offsets: &BTreeMap<String, Offset>,
    last: &Epoch,
) -> Result<()> {
    for (partition, name) in source.partitions().iter().enumerate() {
        let is_old = offsets.get(name).is_some_and(|offset| !offset.file.is_empty() && offset.files.is_empty());
        let Some(place) = source.place(partition).filter(|_| is_old) else { continue };
        let held: u64 = place.files.values().map(FileMark::rows).sum();
        let read = last.ledger.get(input).map_or(0, |ledger| ledger.read);
        ensure!(
            held == read,
            SourceError::BadData(format!(
                "{read} rows were read of {input}/{name}, and its files up to that place hold {held}: some changed, or \
                 came too late to be read, which this journal of an earlier version cannot tell: start anew with \
                 another --out"
            ))
        );
    }
    Ok(())
}

/// Where the first row of a chunk stands.
fn first(chunk: &Chunk) -> Result<String> {
    let mut at = chunk.rejected.first().map(|row| (row.offset, row.topic.clone()));
    if chunk.rows.num_rows() > 0 {
        let offsets = chunk.rows.column_by_name("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let topics = chunk.rows.column_by_name("_topic").and_then(|column| column.as_string_view_opt());
        let (offsets, topics) = offsets.zip(topics).context("rows that do not say where they come from")?;
        let row = (offsets.value(0), topics.value(0).to_owned());
        at = at.map_or(Some(row.clone()), |at| Some(at.min(row)));
    }
    let (offset, topic) = at.unwrap_or_default();
    Ok(format!("row {offset} of {topic}"))
}
