//! A stream that is played from memory: what each source partition gives, a few rows at a time, and f as a job over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use connector::{Chunk, Offset, Poll, Source, TIME, position_fields};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use runner::{AsideLimits, Feed, Idle, Job, Most, TimePolicy};
use scan::{Binding, Limits, Literal, Scan, Script};

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

/// Tapes as a source that gives few rows at a time, and now and then none.
pub struct Player {
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
        Player { tapes: tapes.clone(), from: [0, 0], to, left_out: BTreeSet::new(), at: [0, 0], names, ends: true, rng }
    }

    pub fn feed(self, input: &str) -> Feed {
        Feed { input: input.to_owned(), time: "ts".to_owned(), source: Box::new(self), door: None, idle: Idle::Never }
    }
}

#[async_trait]
impl Source for Player {
    fn schema(&self) -> SchemaRef {
        schema()
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
        let rows = rows(&tape[at..end], partition, at);
        Ok(Poll::Chunk(Chunk { rows, rejected: Vec::new(), read: (end - at) as u64, next }))
    }
}

fn rows(events: &[Event], partition: usize, first: usize) -> RecordBatch {
    let text = |value: &dyn Fn(&Event) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(events.iter().map(value)))
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|event| format!("e{}", event.0)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.1))),
        text(&|event| format!("request {}", event.0 % 6)),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|event| i64::from(event.0 % 4)))),
        text(&|_| "tape".to_owned()),
        Arc::new(Int32Array::from(vec![partition as i32; events.len()])),
        Arc::new(Int64Array::from_iter_values((first..first + events.len()).map(|at| at as i64))),
        new_null_array(&TIME, events.len()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A script as a job of its own in a directory.
pub async fn job(command: &str, sql: &str, tapes: &Tapes, out: &Path, stop: &Arc<AtomicBool>) -> Job {
    let params = if command == "join" { vec![("type", Literal::Text("full".to_owned()))] } else { vec![] };
    let binding = Binding {
        inputs: tapes.keys().map(|input| ((*input).to_owned(), schema())).collect(),
        params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Binding::default()
    };
    Job {
        command: command.to_owned(),
        scan: Scan::new(&Script::parse(command, sql).unwrap(), &binding).await.unwrap(),
        out: out.to_owned(),
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
