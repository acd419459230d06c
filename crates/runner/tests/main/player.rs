//! A stream that is played from memory: what each source partition gives, a few rows at a time, and f as a job over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use connector::{Chunk, Offset, Poll, Source, TIME, position_fields};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use runner::{AsideLimits, Feed, Idle, Job, JobSpec, Most, TimePolicy};
use scan::{Binding, Limits, Literal, Scan, Script};
use testkit::events::one_of_few;

pub const MINUTE: i64 = 60_000_000;
pub const DELAY: i64 = 30 * MINUTE;
pub const LATENESS: i64 = 5 * MINUTE;
pub const PARTITIONS: [&str; 2] = ["a", "b"];

/// An event: its number, which says all of it but its time, and that.
pub type Event = (u32, i64);

/// What each source partition of an input holds, in order.
pub type Tapes = BTreeMap<&'static str, [Vec<Event>; 2]>;

pub fn schema() -> SchemaRef {
    let own = [("event_id", DataType::Utf8View), ("ts", TIME), ("request_id", DataType::Utf8View)];
    let own = own.into_iter().chain([("video_id", DataType::Int64)]);
    let own = own.map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(own.chain(position_fields()).collect::<Vec<_>>()))
}

/// The same columns, and before the positions those that a script says its inputs have.
pub async fn schema_of(name: &str, sql: &str) -> SchemaRef {
    let scan = Scan::new(&Script::parse(name, sql).unwrap(), &Binding::default()).await.unwrap();
    let (usual, positions) = (schema(), position_fields());
    let mut fields: Vec<FieldRef> = usual.fields()[..usual.fields().len() - positions.len()].to_vec();
    for field in scan.inputs().iter().flat_map(|input| input.schema.fields()) {
        if !field.name().starts_with('_') && fields.iter().all(|known| known.name() != field.name()) {
            fields.push(field.clone());
        }
    }
    Arc::new(Schema::new(fields.into_iter().chain(positions.into_iter().map(Arc::new)).collect::<Vec<_>>()))
}

/// Tapes as a source that gives few rows at a time, and now and then none.
pub struct Player {
    pub schema: SchemaRef,
    pub tapes: [Vec<Event>; 2],
    /// Where each begins and ends.
    pub from: [usize; 2],
    pub to: [usize; 2],
    /// By partition: positions that are not given.
    pub left_out: BTreeSet<(usize, usize)>,
    pub at: [usize; 2],
    /// The partitions that there are.
    pub names: Vec<String>,
    /// Whether a partition ends, and does not wait for more.
    pub ends: bool,
    /// Rows of a chunk at most; every chunk has others.
    pub rng: Option<ChaCha8Rng>,
}

impl Player {
    pub fn of(tapes: &[Vec<Event>; 2], rng: Option<ChaCha8Rng>) -> Player {
        let (to, names) = ([tapes[0].len(), tapes[1].len()], PARTITIONS.map(str::to_owned).to_vec());
        let (schema, tapes, left_out) = (schema(), tapes.clone(), BTreeSet::new());
        Player { schema, tapes, from: [0, 0], to, left_out, at: [0, 0], names, ends: true, rng }
    }

    pub fn feed(self, input: &str) -> Feed {
        Feed { input: input.to_owned(), time: "ts".to_owned(), source: Box::new(self), door: None, idle: Idle::Never }
    }
}

#[async_trait]
impl Source for Player {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> &[String] {
        &self.names
    }

    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()> {
        for (partition, name) in PARTITIONS.iter().enumerate() {
            self.at[partition] = offsets.get(*name).map_or(self.from[partition], |offset| offset.row as usize);
        }
        Ok(())
    }

    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll> {
        let (tape, to) = (&self.tapes[partition], self.to[partition]);
        let left_out = |at: &usize| self.left_out.contains(&(partition, *at));
        let at = (self.at[partition]..to).find(|at| !left_out(at)).unwrap_or(to);
        let some = self.rng.as_mut().map_or(usize::MAX, |rng| rng.random_range(0..6));
        let end = at.saturating_add(some.min(rows_max)).min(to);
        let end = (at..end).find(left_out).unwrap_or(end);
        if end == at {
            return Ok(if at == to && self.ends { Poll::Finished } else { Poll::Waiting });
        }
        self.at[partition] = end;
        let next = Offset { position: end as u64, row: end as u64, ..Offset::default() };
        let rows = rows(&tape[at..end], partition, at, &self.schema);
        Ok(Poll::Chunk(Chunk { rows, rejected: Vec::new(), read: (end - at) as u64, next }))
    }
}

fn rows(events: &[Event], partition: usize, first: usize, schema: &SchemaRef) -> RecordBatch {
    let text = |value: &dyn Fn(&Event) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(events.iter().map(value)))
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "event_id" => text(&|event| format!("e{}", event.0)),
        "ts" => Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.1))),
        "request_id" => text(&|event| format!("request {}", event.0 % 6)),
        "video_id" => Arc::new(Int64Array::from_iter_values(events.iter().map(|event| i64::from(event.0 % 4)))),
        "_topic" => text(&|_| "tape".to_owned()),
        "_partition" => Arc::new(Int32Array::from(vec![partition as i32; events.len()])),
        "_offset" => Arc::new(Int64Array::from_iter_values((first..first + events.len()).map(|at| at as i64))),
        _ => one_of_few(field, events.iter().map(|event| Some(event.0)).collect()),
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// A script as a job of its own in a directory.
pub async fn job(command: &str, sql: &str, tapes: &Tapes, out: &Path, stop: &Arc<AtomicBool>) -> Job {
    job_over(command, sql, &schema(), tapes.keys(), out, stop).await
}

/// A script over inputs with these columns, likewise.
pub async fn job_over(
    command: &str,
    sql: &str,
    schema: &SchemaRef,
    inputs: impl IntoIterator<Item = &&'static str>,
    out: &Path,
    stop: &Arc<AtomicBool>,
) -> Job {
    let params = if command == "join" { vec![("type", Literal::Text("full".to_owned()))] } else { vec![] };
    let binding = Binding {
        inputs: inputs.into_iter().map(|input| ((*input).to_owned(), schema.clone())).collect(),
        params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Binding::default()
    };
    Job {
        command: command.to_owned(),
        scan: Scan::new(&Script::parse(command, sql).unwrap(), &binding).await.unwrap(),
        out: out.to_owned(),
        spec: JobSpec::default(),
        config: BTreeMap::new(),
        // A partition that waits for a moment is not idle: that would depend on the clock.
        time: TimePolicy { watermark_delay: DELAY, allowed_lateness: LATENESS, max_future: 0 },
        limits: Limits { threads: 1, memory: None },
        aside: AsideLimits { rejected: Some(Most::Percent(100.0)), late: None },
        sides: Vec::new(),
        merged: None,
        init_state: Vec::new(),
        keep_state: false,
        sampling: None,
        stop: stop.clone(),
    }
}
