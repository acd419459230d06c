//! Facts against a search through all of them, on random sets with facts at one time, repeats and nulls: at once, and in
//! any cut and order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use scan::{Batch, Binding, Limits, Literal, Scan, Script, Tables};
use testkit::events::{seeded, shuffle};
use testkit::scripts::script;

const SETS: u64 = 200;
const LIMITS: Limits = Limits { threads: 2, memory: None };

/// A label or a fact; times in seconds.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    ts: i64,
    subject: Option<i64>,
    request: Option<String>,
}

/// The fact of a label: its id and time, and what it was used for.
type Answer = Option<(String, i64, &'static str)>;

#[derive(Clone, Copy, Debug)]
struct Flags {
    within: i64,
    strict: bool,
    by_request: bool,
}

fn rows(rng: &mut ChaCha8Rng, prefix: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..rng.random_range(0..30))
        .map(|_| Row {
            id: format!("{prefix} with a long id {}", rng.random_range(0..20)),
            ts: rng.random_range(0..40),
            subject: rng.random_bool(0.9).then(|| rng.random_range(0..3)),
            request: rng.random_bool(0.8).then(|| format!("request {}", rng.random_range(0..4))),
        })
        .collect();
    // One id at one time is one event.
    let mut known = BTreeMap::new();
    for row in &mut rows {
        *row = known.entry((row.id.clone(), row.ts)).or_insert_with(|| row.clone()).clone();
    }
    rows
}

/// The greatest of all facts that a label may have, of those with its request where that counts and there are some.
fn searched(label: &Row, facts: &[Row], flags: Flags) -> Answer {
    let may = |fact: &&Row| {
        let age = label.ts - fact.ts;
        fact.subject.is_some() && fact.subject == label.subject && age <= flags.within && age >= i64::from(flags.strict)
    };
    let own = |fact: &Row| flags.by_request && fact.request.is_some() && fact.request == label.request;
    let found = facts.iter().filter(may).max_by_key(|fact| (own(fact), fact.ts, fact.id.clone()))?;
    Some((found.id.clone(), found.ts, if own(found) { "request" } else { "latest" }))
}

fn batch(rows: &[Row], scan: &Scan, input: &str) -> RecordBatch {
    let text =
        |of: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringViewArray>()) };
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts * 1_000_000));
    let subjects: Int64Array = rows.iter().map(|row| row.subject).collect();
    let columns =
        vec![text(|row| Some(&row.id)), Arc::new(times), Arc::new(subjects), text(|row| row.request.as_deref())];
    let schema = scan.inputs().iter().find(|of| of.name == input).unwrap().schema.clone();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The standing answers, by label.
fn answers(scan: &Scan, rows: &[RecordBatch]) -> BTreeMap<(String, i64), Answer> {
    let mut answers = BTreeMap::new();
    for rows in scan.outputs()[0].compact(rows).unwrap().map(Result::unwrap) {
        let text = |name: &str, row| {
            let column = cast(rows.column_by_name(name).unwrap(), &DataType::Utf8View).unwrap();
            let column = column.as_string_view();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let time = |name: &str, row| {
            rows.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().value(row) / 1_000_000
        };
        for row in 0..rows.num_rows() {
            let fact = text("fact_event_id", row);
            let by = if text("fact_by", row).as_deref() == Some("request") { "request" } else { "latest" };
            assert_eq!(text("fact_by", row).is_some(), fact.is_some());
            let answer = fact.map(|id| (id, time("fact_ts", row), by));
            let known = answers.insert((text("event_id", row).unwrap(), time("ts", row)), answer);
            assert!(known.is_none(), "a label is there twice");
        }
    }
    answers
}

async fn at_once(scan: &Scan, labels: &[Row], facts: &[Row], sorted: bool) -> Vec<RecordBatch> {
    let table = |input: &str, rows: &[Row]| {
        let rows = batch(rows, scan, input);
        let table: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap());
        (input.to_owned(), vec![table])
    };
    let inputs = [table("labels", labels), table("facts", facts)].into();
    let tables = Tables { inputs, sorted, ..Tables::default() };
    let (_, mut stepped) = scan.step(scan.empty(), Batch::Tables(tables), LIMITS).await.unwrap();
    stepped.outputs.remove("labels").unwrap().try_collect().await.unwrap()
}

async fn in_steps(scan: &Scan, labels: &[Row], facts: &[Row], rng: &mut ChaCha8Rng) -> Vec<RecordBatch> {
    let mut all: Vec<(bool, &Row)> =
        labels.iter().map(|row| (true, row)).chain(facts.iter().map(|row| (false, row))).collect();
    shuffle(&mut all, rng);
    let (mut state, mut out) = (scan.empty(), Vec::new());
    while !all.is_empty() {
        let step: Vec<_> = all.drain(..rng.random_range(1..=all.len().min(12))).collect();
        let of = |label| step.iter().filter(|row| row.0 == label).map(|row| row.1.clone()).collect::<Vec<Row>>();
        let of = |input: &str, label| (input.to_owned(), vec![batch(&of(label), scan, input)]);
        let rows = [of("labels", true), of("facts", false)].into();
        let (next, mut stepped) = scan.step(state, Batch::Rows(rows), LIMITS).await.unwrap();
        state = next;
        out.extend(stepped.outputs.remove("labels").unwrap().try_collect::<Vec<_>>().await.unwrap());
    }
    out
}

#[tokio::test]
async fn the_answer_is_what_a_search_through_all_facts_finds() {
    let script = Script::parse("facts", &script("facts")).unwrap();
    let mut asked = BTreeMap::new();
    for seed in 0..SETS {
        let mut rng = seeded(seed);
        let flags =
            Flags { within: [0, 1, 5, 20, 40][rng.random_range(0..5)], strict: rng.random(), by_request: rng.random() };
        let params = [
            ("within", Literal::Interval(flags.within * 1_000_000)),
            ("apart", Literal::Interval(i64::from(flags.strict))),
            ("by_request", Literal::Bool(flags.by_request)),
        ];
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let scan = Scan::new(&script, &Binding { params, ..Binding::default() }).await.unwrap();
        let (labels, facts) = (rows(&mut rng, "label"), rows(&mut rng, "fact"));
        let expected: BTreeMap<_, _> =
            labels.iter().map(|label| ((label.id.clone(), label.ts), searched(label, &facts, flags))).collect();
        for answer in expected.values() {
            *asked.entry(answer.as_ref().map(|answer| answer.2)).or_insert(0) += 1;
        }
        let context = format!("seed {seed}, {flags:?}\n{labels:#?}\n{facts:#?}");
        for sorted in [false, true] {
            let found = answers(&scan, &at_once(&scan, &labels, &facts, sorted).await);
            assert_eq!(found, expected, "at once, sorted {sorted}: {context}");
        }
        let found = answers(&scan, &in_steps(&scan, &labels, &facts, &mut rng).await);
        assert_eq!(found, expected, "in steps: {context}");
    }
    let often = [None, Some("latest"), Some("request")].map(|by| asked.get(&by).copied().unwrap_or_default());
    assert!(often.iter().all(|times| *times > 100), "{asked:?}");
}
