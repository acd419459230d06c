//! A stream that goes on for days holds, in memory and on disk, what its rows can still meet and no more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use connector::{Chunk, Offset, Poll, Source, TIME, position_fields};
use runner::{AsideLimits, Cut, Feed, Idle, Job, JobSpec, Most, TimePolicy, stream};
use scan::{Binding, Limits, Scan, Script};

const MINUTE: i64 = 60_000_000;
const START: i64 = 1_700_000_000_000_000;

/// An event every five minutes for five days. A commit takes one of each input, and f keeps them for about three hours:
/// for more commits than there may be files of state.
const EVENTS: i64 = 1_500;
const KEPT_MAX: u64 = 200;

fn schema() -> SchemaRef {
    let own = [("event_id", DataType::Utf8View), ("ts", TIME), ("request_id", DataType::Utf8View)];
    let own = own.map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(own.into_iter().chain(position_fields()).collect::<Vec<_>>()))
}

/// A row a read.
struct Ticker {
    at: i64,
    names: [String; 1],
}

#[async_trait]
impl Source for Ticker {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn partitions(&self) -> &[String] {
        &self.names
    }

    async fn seek(&mut self, _: &BTreeMap<String, Offset>) -> Result<()> {
        Ok(())
    }

    async fn read(&mut self, _: usize, _: usize) -> Result<Poll> {
        if self.at == EVENTS {
            return Ok(Poll::Finished);
        }
        let id: ArrayRef = Arc::new(StringViewArray::from_iter_values([format!("e{}", self.at)]));
        let columns: Vec<ArrayRef> = vec![
            id.clone(),
            Arc::new(TimestampMicrosecondArray::from(vec![START + self.at * 5 * MINUTE])),
            id,
            Arc::new(StringViewArray::from_iter_values(["tape"])),
            Arc::new(Int32Array::from(vec![0])),
            Arc::new(Int64Array::from(vec![self.at])),
            new_null_array(&TIME, 1),
        ];
        self.at += 1;
        let next = Offset { position: self.at as u64, row: self.at as u64, ..Offset::default() };
        let rows = RecordBatch::try_new(schema(), columns)?;
        Ok(Poll::Chunk(Chunk { rows, rejected: Vec::new(), read: 1, next }))
    }
}

/// The rows of state that the last epoch names.
fn on_disk(out: &Path) -> u64 {
    let facts = journal::look(&out.join("_rescan/journal/stream"), &BTreeMap::new()).unwrap();
    facts.newest.map_or(0, |epoch| epoch.unwrap().state.iter().map(|file| file.rows).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn state_does_not_grow_with_the_days() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let inputs = ["impressions", "plays"];
    let binding = Binding { inputs: inputs.map(|input| (input.to_owned(), schema())).into(), ..Binding::default() };
    let script = Script::parse("join", include_str!("../../../../sql/join.sql")).unwrap();
    let job = Job {
        command: "join".to_owned(),
        scan: Scan::new(&script, &binding).await.unwrap(),
        out: dir.path().to_owned(),
        spec: JobSpec::default(),
        config: BTreeMap::new(),
        time: TimePolicy { watermark_delay: 30 * MINUTE, allowed_lateness: 0, max_future: 0 },
        limits: Limits { threads: 1, memory: None },
        aside: AsideLimits { rejected: Some(Most::Percent(100.0)), late: None },
        sides: Vec::new(),
        merged: None,
        init_state: Vec::new(),
        keep_state: false,
        sampling: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let feed = |input: &str| Feed {
        input: input.to_owned(),
        time: "ts".to_owned(),
        source: Box::new(Ticker { at: 0, names: ["tape".to_owned()] }),
        door: None,
        idle: Idle::Never,
    };
    let cut = Cut {
        rows_max: 2,
        interval: Duration::from_secs(600),
        commit_interval: Duration::ZERO,
        pending_rows_max: usize::MAX,
        follow: false,
        history: None,
    };
    let (mut held, mut written) = (0, 0);
    let report = stream(&job, inputs.map(feed).into(), cut, |progress| {
        held = held.max(progress.state_rows);
        written = written.max(on_disk(dir.path()));
    });
    let report = report.await.unwrap();
    assert_eq!(report.rows, EVENTS as u64);
    assert!(report.epochs > 1_000, "{}", report.epochs);
    assert!((10..KEPT_MAX).contains(&held), "{held} rows of state");
    // What a step wrote goes as one, and files before they are merged.
    assert!((10..3 * KEPT_MAX).contains(&written), "{written} rows of state on disk");
}
