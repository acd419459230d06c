//! Rows as Parquet, a file an hour of event time: `TOPIC/dt=YYYY-MM-DD/hr=HH/part-0.parquet`, in order of arrival.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::columns::columns;
use crate::delivery::longest_ms;
use crate::event::{Event, Topic};
use crate::generate::Sink;
use crate::hidden::Hidden;
use crate::plan::{HOUR_MS, Plan};

const BATCH_ROWS: usize = 8_192;
const GROUP_ROWS: usize = 262_144;

pub(crate) struct Parts {
    start_ms: u64,
    longest_ms: u64,
    topics: [Hours; 2],
}

/// The files of one topic.
struct Hours {
    directory: PathBuf,
    schema: SchemaRef,
    start_ms: u64,
    /// By hour; `None` before the first row and after the last.
    parts: Vec<Option<Part>>,
    /// The hours before this one are whole.
    closed: usize,
}

struct Part {
    writer: ArrowWriter<Hidden>,
    rows: Vec<Event>,
}

impl Parts {
    pub(crate) fn create(directory: &Path, plan: &Plan) -> Result<Self> {
        let [impressions, plays] = Topic::ALL.map(|topic| Hours::create(directory, topic, plan));
        Ok(Self { start_ms: plan.start_ms, longest_ms: longest_ms(plan), topics: [impressions?, plays?] })
    }

    /// Every hour has a file in the end, one without rows if none came.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.topics.iter_mut().try_for_each(|hours| hours.close_before(hours.parts.len()))
    }
}

impl Sink for Parts {
    fn row(&mut self, event: &Event, _partition: u32) -> Result<()> {
        let hours = &mut self.topics[event.topic() as usize];
        let since = event.ts - self.start_ms;
        // By the time this row arrives, all that happened before `longest_ms` ago has.
        hours.close_before((since.saturating_sub(self.longest_ms) / HOUR_MS) as usize)?;
        hours.write((since / HOUR_MS) as usize, event)
    }

    fn malformed(&mut self, _beside: &Event, _partition: u32, _line: &[u8]) -> Result<()> {
        bail!("there is no malformed row of Parquet")
    }
}

impl Hours {
    fn create(directory: &Path, topic: Topic, plan: &Plan) -> Result<Self> {
        Ok(Self {
            directory: directory.join(topic.name()),
            schema: columns(topic, &[])?.schema(),
            start_ms: plan.start_ms,
            parts: (0..plan.hours).map(|_| None).collect(),
            closed: 0,
        })
    }

    fn write(&mut self, hour: usize, event: &Event) -> Result<()> {
        let part = match &mut self.parts[hour] {
            Some(part) => part,
            none => none.insert(Part::create(&self.directory, self.start_ms, hour, &self.schema)?),
        };
        part.rows.push(*event);
        if part.rows.len() == BATCH_ROWS { part.flush() } else { Ok(()) }
    }

    fn close_before(&mut self, hour: usize) -> Result<()> {
        for hour in self.closed..hour {
            let part = match self.parts[hour].take() {
                Some(part) => part,
                None => Part::create(&self.directory, self.start_ms, hour, &self.schema)?,
            };
            part.finish()?;
            self.closed = hour + 1;
        }
        Ok(())
    }
}

impl Part {
    fn create(directory: &Path, start_ms: u64, hour: usize, schema: &SchemaRef) -> Result<Self> {
        let start = (start_ms + hour as u64 * HOUR_MS) as i64;
        let start = DateTime::from_timestamp_millis(start).context("an hour behind the end of the calendar")?;
        let file = Hidden::create(&directory.join(start.format("dt=%Y-%m-%d/hr=%H").to_string()), "part-0.parquet")?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        // Without Arrow's own schema in the file, text is just text.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, schema.clone(), options)?;
        Ok(Self { writer, rows: vec![] })
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(first) = self.rows.first() {
            self.writer.write(&columns(first.topic(), &self.rows)?).context("cannot write Parquet")?;
        }
        self.rows.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.writer.into_inner().context("cannot write Parquet")?.publish()
    }
}
