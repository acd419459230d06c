//! Keys that have most of the rows: what would look at pairs of their rows would not come to an end here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use rand::RngExt;
use scan::{Batch, Binding, Limits, Literal, Scan, Script, Tables};

use testkit::events::{Event, MINUTE, positioned, rows, schema, seeded, shuffle};

const BASE: i64 = 1_700_000_000_000_000;

fn event(input: &'static str, id: usize, ts: i64) -> Event {
    let (event_id, video_id) = (format!("e{id}"), Some(1));
    Event { input, event_id, ts, request_id: Some(format!("r{id}")), video_id, country: None }
}

async fn scan(name: &str, inputs: &[&str], model: Option<&str>) -> Scan {
    let sql = std::fs::read_to_string(format!("../../sql/{name}.sql")).unwrap();
    let given = if name == "ingest" { positioned() } else { schema() };
    let binding = Binding {
        inputs: inputs.iter().map(|input| ((*input).to_owned(), given.clone())).collect(),
        columns: model.map(|_| ("subject".to_owned(), vec!["video_id".to_owned()])).into_iter().collect(),
        params: model.map(|model| ("model".to_owned(), Literal::Text(model.to_owned()))).into_iter().collect(),
        ..Binding::default()
    };
    Scan::new(&Script::parse(name, &sql).unwrap(), &binding).await.unwrap_or_else(|e| panic!("{e}"))
}

/// What f puts out of all events at once, from tables in two partitions.
async fn at_once(scan: &Scan, events: &[Event], sorted: bool) -> Vec<RecordBatch> {
    let mut inputs: BTreeMap<String, Vec<Arc<dyn TableProvider>>> = BTreeMap::new();
    for input in scan.inputs() {
        let halves = events.chunks(events.len().div_ceil(2));
        let parts = halves.map(|half| vec![rows(half, &input.name, &input.schema)]).collect();
        inputs.insert(input.name.clone(), vec![Arc::new(MemTable::try_new(input.schema.clone(), parts).unwrap())]);
    }
    let limits = Limits { threads: 2, memory: sorted.then_some(64 << 20) };
    let tables = Tables { inputs, sorted, ..Tables::default() };
    let (_, stepped) = scan.step(scan.empty(), Batch::Tables(tables), limits).await.unwrap();
    collected(stepped).await
}

async fn collected(stepped: scan::Stepped) -> Vec<RecordBatch> {
    let mut out = Vec::new();
    for (_, stream) in stepped.outputs {
        out.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    }
    out
}

/// What f puts out of events, a few at a time.
async fn in_steps(scan: &Scan, events: &[Event], at_a_time: usize) -> Vec<RecordBatch> {
    let (mut state, mut out) = (scan.empty(), Vec::new());
    for events in events.chunks(at_a_time) {
        let inputs = scan.inputs().iter();
        let batch = inputs.map(|input| (input.name.clone(), vec![rows(events, &input.name, &input.schema)])).collect();
        let limits = Limits { threads: 1, memory: None };
        let (next, stepped) = scan.step(state, Batch::Rows(batch), limits).await.unwrap();
        state = next;
        out.extend(collected(stepped).await);
    }
    out
}

/// The times of the rows that stand.
fn times(scan: &Scan, out: &[RecordBatch], column: &str) -> Vec<Option<i64>> {
    let standing = scan.outputs()[0].compact(out).unwrap().map(Result::unwrap);
    let times = standing.flat_map(|rows| {
        let times = rows.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        (0..times.len()).map(|row| times.is_valid(row).then(|| times.value(row))).collect::<Vec<_>>()
    });
    times.collect()
}

/// An id that comes again all the time, with some silence longer than an hour, in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_all_the_time_is_there_once_a_run() {
    let mut rng = seeded(11);
    let mut at = BASE;
    let mut events: Vec<Event> = (0..150_000)
        .map(|number| {
            at += if number % 30_000 == 0 { 61 * MINUTE } else { rng.random_range(0..3) };
            event("events", 0, at)
        })
        .collect();
    let all: BTreeSet<i64> = events.iter().map(|event| event.ts).collect();
    let mut before = i64::MIN;
    let mut firsts: Vec<Option<i64>> = Vec::new();
    for time in all {
        if time.saturating_sub(before) > 60 * MINUTE {
            firsts.push(Some(time));
        }
        before = time;
    }
    let scan = scan("ingest", &["events"], None).await;
    for order in ["ascending", "descending", "shuffled"] {
        match order {
            "descending" => events.reverse(),
            "shuffled" => shuffle(&mut events, &mut rng),
            _ => {}
        }
        assert_eq!(times(&scan, &in_steps(&scan, &events, 2_000).await, "ts"), firsts, "in steps, {order}");
    }
    for sorted in [false, true] {
        assert_eq!(times(&scan, &at_once(&scan, &events, sorted).await, "ts"), firsts, "at once, sorted {sorted}");
    }
}

/// Plays and impressions of one subject: a billion pairs, of which two or three of each play count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_has_all_events_is_credited_by_its_ends() {
    let mut rng = seeded(12);
    let (impressions, plays) = (100_000, 10_000);
    let shown: BTreeSet<i64> = (0..impressions).map(|_| BASE + rng.random_range(0..1200 * MINUTE)).collect();
    let played: Vec<i64> = (0..plays).map(|number| BASE + 1200 * MINUTE + number as i64 * MINUTE / 10).collect();
    let of_play = |number: usize, ts: i64| event("plays", 10 * number, ts);
    let mut events: Vec<Event> =
        shown.iter().enumerate().map(|(number, ts)| event("impressions", number, *ts)).collect();
    events.extend(played.iter().enumerate().map(|(number, ts)| of_play(number, *ts)));
    shuffle(&mut events, &mut rng);
    for (model, last) in [("last", true), ("first", false)] {
        let scan = scan("attribute", &["impressions", "plays"], Some(model)).await;
        let expected: BTreeMap<i64, Option<i64>> = played
            .iter()
            .map(|play| {
                let mut within = shown.range(play - 1440 * MINUTE..=*play);
                (*play, if last { within.next_back() } else { within.next() }.copied())
            })
            .collect();
        assert_eq!(credited(&scan, &at_once(&scan, &events, false).await), expected, "{model}, at once");
        assert_eq!(credited(&scan, &in_steps(&scan, &events, 10_000).await), expected, "{model}, in steps");
    }
}

/// By the time of a play that of the impression which is credited.
fn credited(scan: &Scan, out: &[RecordBatch]) -> BTreeMap<i64, Option<i64>> {
    let mut found = BTreeMap::new();
    for rows in scan.outputs()[0].compact(out).unwrap().map(Result::unwrap) {
        let column = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let (play, impression) = (column("play_ts"), column("impression_ts"));
        let of = |row| (play.value(row), impression.is_valid(row).then(|| impression.value(row)));
        found.extend((0..rows.num_rows()).map(of));
    }
    found
}

/// Subjects of which some have many events, in any order and cut: a stream finds what a table does, of any model, and so
/// the play's own impressions and where plays came from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_credits_subjects_with_many_events_as_a_table_does() {
    let mut rng = seeded(13);
    let mut events: Vec<Event> = (0..6_000)
        .map(|id| {
            // Few times and fewer requests: impressions at one time, and several of a play's own.
            let ts = BASE + rng.random_range(0..2_000) * MINUTE;
            let input = if rng.random_bool(0.9) { "impressions" } else { "plays" };
            let request_id = Some(format!("r{}", rng.random_range(0..200)));
            let video_id = Some(if rng.random_bool(0.7) { 1 } else { rng.random_range(2..40) });
            Event { input, event_id: format!("e{id}"), ts, request_id, video_id, country: None }
        })
        .collect();
    for model in ["last", "first", "last,first", "linear", "last,decay"] {
        let scan = scan("attribute", &["impressions", "plays"], Some(model)).await;
        assert!(scan.explain().contains("GroupLookupExec"), "{}", scan.explain());
        let rows = |out: Vec<RecordBatch>| -> Vec<RecordBatch> {
            scan.outputs()[0].compact(&out).unwrap().map(Result::unwrap).collect()
        };
        let whole = rows(at_once(&scan, &events, false).await);
        assert_eq!(rows(in_steps(&scan, &events, 500).await), whole, "{model}");
        shuffle(&mut events, &mut rng);
        assert_eq!(rows(in_steps(&scan, &events, 333).await), whole, "{model}");
    }
}
