//! An archive that ingest wrote, as the stream that it once was: by topic and partition, in the order of their offsets.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{Expr, SessionConfig, SessionContext, ident, lit};
use futures::StreamExt as _;

use crate::archive::filed::{Misfiled, by_event_time, refuse_misfiled, times};
use crate::archive::location::Location;
use crate::archive::partitions::listed;
use crate::archive::table::scan;
use crate::fault::SourceError;
use crate::position;
use crate::source::{Chunk, Offset, Poll, Source, position_fields};
use event_time::Hour;

/// Less memory than this is too little for one batch of wide rows.
const SHARE_MIN: usize = 16 << 20;

/// The archived rows of each topic and partition that they came from, each one source partition, called `TOPIC-N` as in
/// Kafka. The archive is sorted by key and hour, so each partition is sorted anew by `_offset`, on disk where it does
/// not fit its share of the memory limit; the first `read` of each takes as long as that.
pub struct ReplaySource {
    root: String,
    archive: Arc<dyn TableProvider>,
    schema: SchemaRef,
    /// What each partition's sort may use. None takes from another, or one that is read slowly could starve the rest.
    share: usize,
    partitions: Vec<String>,
    lanes: Vec<Lane>,
    /// How many files were passed over.
    skipped: u64,
}

/// The rows of a table that happened in a range of hours.
fn within(table: Arc<dyn TableProvider>, time: &str, range: &impl RangeBounds<Hour>) -> Result<Arc<dyn TableProvider>> {
    let at = |hour: &Hour| lit(ScalarValue::TimestampMicrosecond(Some(hour.start_us()), None));
    let mut rows = LogicalPlanBuilder::scan("archive", provider_as_source(table), None)?;
    if let Bound::Included(from) = range.start_bound() {
        rows = rows.filter(ident(time).gt_eq(at(from)))?;
    }
    if let Bound::Excluded(to) = range.end_bound() {
        rows = rows.filter(ident(time).lt(at(to)))?;
    }
    Ok(Arc::new(ViewTable::new(rows.build()?, None)))
}

/// One source partition.
struct Lane {
    topic: String,
    partition: i32,
    /// The next offset to give out.
    next: u64,
    rows: Option<SendableRecordBatchStream>,
    /// What the last batch held beyond the rows asked for.
    rest: Option<RecordBatch>,
}

impl ReplaySource {
    /// Opens the hours of an archive (`..` for all), to be sorted in at most `memory_limit` bytes. Where they are not all,
    /// `time` says when a row happened, and `misfiled` what is done with one that is in the directory of another hour.
    ///
    /// # Errors
    /// [`SourceError::Missing`] where there is no archive, or an hour that is not sealed and so may not be whole;
    /// [`SourceError::BadData`] where the rows do not say where they came from.
    pub async fn open(
        root: &Location,
        range: impl RangeBounds<Hour>,
        memory_limit: usize,
        time: &str,
        misfiled: Misfiled,
    ) -> Result<Self> {
        let all = range.start_bound() == Bound::Unbounded && range.end_bound() == Bound::Unbounded;
        let refiled = misfiled == Misfiled::Read && !all;
        let skipped;
        let hours = if refiled {
            let found = listed(root, ..).await?;
            skipped = found.skipped;
            let hours = found.whole(root, &..)?;
            hours.values().try_for_each(|hour| hour.data(root).map(|_| ()))?;
            let refiled = by_event_time(root, hours, time).await?.hours;
            refiled.into_iter().filter(|(hour, _)| range.contains(hour)).collect()
        } else {
            let range = (range.start_bound().cloned(), range.end_bound().cloned());
            let found = listed(root, range).await?;
            skipped = found.skipped;
            found.whole(root, &range)?
        };
        if let Some((hour, _)) = hours.iter().find(|(_, files)| !files.sealed) {
            bail!(SourceError::Missing(format!("{root}: hour {hour} is not sealed yet: replay with --to {hour}")));
        }
        let mut files = hours.values().map(|hour| hour.data(root)).collect::<Result<Vec<_>>>()?.concat();
        if !refiled && !all {
            for (hour, of) in &hours {
                for (file, found) in of.files.iter().zip(times(root, &of.files, time).await?) {
                    refuse_misfiled(root, *hour, file, time, &found).await?;
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let archive = scan(root, &files).await?;
        let archive = if refiled { within(archive, time, &range)? } else { archive };
        let schema = position::with_positions(&decoded(root, &archive.schema())?);
        let lanes = lanes(&archive, memory_limit).await.with_context(|| format!("read {root}"))?;
        let partitions = lanes.iter().map(|lane| format!("{}-{}", lane.topic, lane.partition)).collect();
        let share = (memory_limit / lanes.len().max(1)).max(SHARE_MIN);
        Ok(Self { root: root.to_string(), archive, schema, share, partitions, lanes, skipped })
    }
}

#[async_trait]
impl Source for ReplaySource {
    fn skipped(&self) -> u64 {
        self.skipped
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> &[String] {
        &self.partitions
    }

    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()> {
        for (name, lane) in self.partitions.iter().zip(&mut self.lanes) {
            lane.next = offsets.get(name).map_or(0, |offset| offset.position);
        }
        Ok(())
    }

    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll> {
        let lane = self.lanes.get_mut(partition).with_context(|| format!("no source partition {partition}"))?;
        let batch = match lane.rest.take() {
            Some(rest) => rest,
            None => match lane.batch(&self.archive, &self.schema, self.share).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Poll::Finished),
                Err(e) => return Err(e.context(format!("read {}", self.root))),
            },
        };
        let rows = batch.slice(0, batch.num_rows().min(rows_max));
        if rows.num_rows() < batch.num_rows() {
            lane.rest = Some(batch.slice(rows.num_rows(), batch.num_rows() - rows.num_rows()));
        }
        let offsets = rows.column(rows.num_columns() - 2).as_primitive::<Int64Type>().values();
        lane.next = offsets.last().map_or(lane.next, |last| *last as u64 + 1);
        let next = Offset { position: lane.next, row: lane.next, ..Offset::default() };
        let (read, rows) =
            (rows.num_rows() as u64, RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?);
        Ok(Poll::Chunk(Chunk { rows, rejected: vec![], read, next }))
    }
}

impl Lane {
    /// The next rows from `next` on, at least one; `None` at the end.
    async fn batch(
        &mut self,
        archive: &Arc<dyn TableProvider>,
        schema: &Schema,
        memory: usize,
    ) -> Result<Option<RecordBatch>> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            none => {
                let own = ident("_topic").eq(lit(self.topic.as_str())).and(ident("_partition").eq(lit(self.partition)));
                let wanted = own.and(ident("_offset").gt_eq(lit(i64::try_from(self.next)?)));
                let columns: Vec<Expr> = schema.fields().iter().map(|f| ident(f.name())).collect();
                let rows = session(memory)?.read_table(archive.clone())?.filter(wanted)?.select(columns)?;
                none.insert(rows.sort(vec![ident("_offset").sort(true, false)])?.execute_stream().await?)
            }
        };
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.check(&batch)?;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// That each offset is one row's. Two rows of one are of two sources, whose order nobody knows, and whose watermarks
    /// are not one.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let offsets = batch.column(batch.num_columns() - 2).as_primitive::<Int64Type>().values();
        let mut next = i64::try_from(self.next)?;
        for offset in offsets {
            let (topic, partition) = (&self.topic, self.partition);
            ensure!(
                *offset >= next,
                SourceError::BadData(format!(
                    "two rows are from offset {offset} of partition {partition} of {topic}: two sources have this name, \
                     of regions (merge them as us=… eu=…) or of runs of which one began with the state of the other; \
                     as they are, they are one batch, without --replay"
                ))
            );
            next = offset + 1;
        }
        Ok(())
    }
}

/// The columns of an archive without those of the position, which it must have.
fn decoded(root: &Location, archive: &Schema) -> Result<Schema> {
    let position = position_fields();
    for field in &position {
        if archive.field_with_name(field.name()).ok().map(|f| f.data_type()) != Some(field.data_type()) {
            let (name, kind) = (field.name(), field.data_type());
            bail!(SourceError::BadData(format!("{root}: no column {name} of {kind}: is it an archive of ingest?")));
        }
    }
    let is_position = |name: &String| position.iter().any(|f| f.name() == name);
    let fields = archive.fields().iter().filter(|f| !is_position(f.name())).cloned();
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// Queries on one thread with so much memory, a quarter of it kept for merging what was spilled.
fn session(memory: usize) -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(memory / 4);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc()?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

async fn lanes(archive: &Arc<dyn TableProvider>, memory: usize) -> Result<Vec<Lane>> {
    let origin = ["_topic", "_partition"];
    let origins = session(memory)?.read_table(archive.clone())?.select(origin.map(ident).to_vec())?.distinct()?;
    let origins = origins.sort(origin.map(|name| ident(name).sort(true, false)).to_vec())?.collect().await?;
    let mut lanes = Vec::new();
    for batch in origins {
        let (topics, partitions) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<Int32Type>());
        for row in 0..topics.len() {
            let (topic, partition) = (topics.value(row).to_owned(), partitions.value(row));
            lanes.push(Lane { topic, partition, next: 0, rows: None, rest: None });
        }
    }
    Ok(lanes)
}
