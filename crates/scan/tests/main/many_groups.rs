//! Batches in which nearly every row is a group of its own: the engine then passes rows on instead of grouping them twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use scan::{Batch, Binding, Limits, Scan, Script, Tables};

use testkit::events::{Event, MINUTE, rows, schema};

const EVENTS: usize = 300_000;
const INPUTS: [&str; 2] = ["impressions", "plays"];

async fn out(sql: &str, subject: Option<&str>) -> (Scan, Vec<RecordBatch>) {
    let event = |number: usize, input: &'static str| Event {
        input,
        event_id: format!("e{number}"),
        ts: 1_700_000_000_000_000 + number as i64 % 7 * MINUTE,
        request_id: Some(format!("r{number}")),
        video_id: Some(number as i64),
        country: None,
    };
    let binding = Binding {
        inputs: INPUTS.iter().map(|input| ((*input).to_owned(), schema())).collect(),
        columns: subject.map(|subject| ("subject".to_owned(), vec![subject.to_owned()])).into_iter().collect(),
        ..Binding::default()
    };
    let scan = Scan::new(&Script::parse("many", sql).unwrap(), &binding).await.unwrap_or_else(|e| panic!("{e}"));
    let mut tables: BTreeMap<String, Vec<Arc<dyn TableProvider>>> = BTreeMap::new();
    for input in INPUTS {
        let events: Vec<Event> = (0..EVENTS).map(|number| event(number, input)).collect();
        let pieces: Vec<Vec<RecordBatch>> = events
            .chunks(EVENTS / 2)
            .map(|half| half.chunks(8192).map(|piece| rows(piece, input, &schema())).collect())
            .collect();
        tables.insert(input.to_owned(), vec![Arc::new(MemTable::try_new(schema(), pieces).unwrap())]);
    }
    let limits = Limits { threads: 2, memory: None };
    let (_, stepped) =
        scan.step(scan.empty(), Batch::Tables(Tables { inputs: tables, ..Tables::default() }), limits).await.unwrap();
    let mut out = Vec::new();
    for (_, stream) in stepped.outputs {
        out.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    }
    (scan, out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts() {
    let (_, out) = out(include_str!("../../../../sql/aggregate.sql"), None).await;
    assert_eq!(out.iter().map(RecordBatch::num_rows).sum::<usize>(), EVENTS);
    for column in ["impressions", "plays"] {
        let once = |rows: &RecordBatch| {
            rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().iter().all(|count| *count == 1)
        };
        assert!(out.iter().all(once), "{column}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits() {
    let (scan, out) = out(include_str!("../../../../sql/attribute.sql"), Some("video_id")).await;
    let rows = scan.outputs()[0].compact(&out).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), EVENTS);
    let unattributed: usize = rows.iter().map(|rows| rows.column_by_name("impression_ts").unwrap().null_count()).sum();
    assert_eq!(unattributed, 0);
}
