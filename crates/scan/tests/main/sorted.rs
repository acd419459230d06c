//! Compaction of rows that come in the order of their key, a few at a time: more of them than one piece holds.

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use rand::RngExt;
use scan::{Batch, Binding, Limits, Literal, Output, Scan, Script};

use testkit::events::{Event, MINUTE, rows, schema, seeded};

/// More than two pieces of what stands.
const EVENTS: usize = 100_000;

/// Two pieces at least of rows of a full join: pairs, rows that are alone, and rows whose pair retracts that.
async fn changed() -> (Output, RecordBatch) {
    let inputs = ["impressions", "plays"];
    let binding = Binding {
        inputs: inputs.iter().map(|input| ((*input).to_owned(), schema())).collect(),
        params: [("type".to_owned(), Literal::Text("full".to_owned()))].into_iter().collect(),
        ..Binding::default()
    };
    let sql = include_str!("../../../../sql/join.sql");
    let scan = Scan::new(&Script::parse("join", sql).unwrap(), &binding).await.unwrap_or_else(|e| panic!("{e}"));
    let event = |number: usize, input: &'static str| Event {
        input,
        event_id: format!("{input}{number}"),
        ts: 1_700_000_000_000_000 + number as i64 % 7 * MINUTE,
        // Some requests have many pairs, most have none.
        request_id: Some(format!("r{}", if input == "plays" { number * 13 } else { number / 3 })),
        video_id: None,
        country: None,
    };
    let batch = |input: &'static str| {
        let events: Vec<Event> = (0..EVENTS).map(|number| event(number, input)).collect();
        (input.to_owned(), vec![rows(&events, input, &schema())])
    };
    let limits = Limits { threads: 1, memory: None };
    let batch = Batch::Rows(inputs.into_iter().map(batch).collect());
    let (_, mut stepped) = scan.step(scan.empty(), batch, limits).await.unwrap();
    let output = scan.outputs()[0].clone();
    let stream = stepped.outputs.remove(&output.name).unwrap();
    let rows: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let all = concat_batches(&output.schema, &rows).unwrap();
    (output, all)
}

#[tokio::test]
async fn as_all_at_once() {
    let (output, all) = changed().await;
    let column = |name: &String| SortColumn { values: all.column_by_name(name).unwrap().clone(), options: None };
    let order = lexsort_to_indices(&output.key.iter().map(column).collect::<Vec<_>>(), None).unwrap();
    let sorted = take_record_batch(&all, &order).unwrap();
    let expected = output.compact(std::slice::from_ref(&all)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert!(expected.len() > 2);
    for seed in 0..4 {
        let mut rng = seeded(seed);
        let (mut cut, mut from) = (Vec::new(), 0);
        while from < sorted.num_rows() {
            let length = rng.random_range(1..40_000).min(sorted.num_rows() - from);
            cut.push(Ok::<_, DataFusionError>(sorted.slice(from, length)));
            from += length;
        }
        let found: Vec<RecordBatch> = output.compact_sorted(cut.into_iter()).collect::<Result<_, _>>().unwrap();
        assert_eq!(found, expected, "seed {seed}");
    }
}
