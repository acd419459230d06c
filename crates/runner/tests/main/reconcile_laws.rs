//! Reconcile against a comparison in memory that is too simple to be wrong, on outputs made up at random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use runner::{Cause, ReconcileOptions};

use super::outputs::{Outputs, Seal, shown};

const CASES: u32 = 256;
const SEED: u8 = 7;

/// Key (`k`, `n`) and values (`v`, `x`): few of each, so that rows meet.
type Row = (Option<String>, i64, Option<i64>, u8);

#[derive(Clone, Debug)]
struct Partition {
    files: Vec<Vec<Row>>,
    seal: Seal,
}

const FLOATS: [f64; 4] = [0.0, -0.0, f64::NAN, 1.5];

fn row() -> impl Strategy<Value = Row> {
    (option::weighted(0.8, "[abà]{0,2}"), -2..3_i64, option::of(0..2_i64), 0..4_u8)
}

/// An hour of each side, the stream's made from the batch's by dropping, doubling and changing some rows.
fn pair() -> impl Strategy<Value = (Partition, Partition)> {
    // A batch is refused where it has an hour that is not sealed.
    let batch_seal = prop_oneof![3 => Just(Seal::Ours), 1 => Just(Seal::Foreign)];
    let stream_seal = prop_oneof![3 => Just(Seal::Ours), 1 => Just(Seal::Foreign), 1 => Just(Seal::Open)];
    let change = vec((0..10_u8, row()), 0..30);
    (vec(row(), 0..30), change, 1..4_usize, 1..4_usize, batch_seal, stream_seal, any::<[bool; 3]>()).prop_map(
        |(rows, change, files, other_files, seal, other_seal, [unique, sorted, other_sorted])| {
            let rows = if unique { once(rows) } else { rows };
            let mut other = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                match change.get(i) {
                    Some((0, _)) => {}
                    Some((1, _)) => other.extend([row.clone(), row.clone()]),
                    Some((2, new)) => other.push((row.0.clone(), row.1, new.2, new.3)),
                    Some((3, new)) => other.push(new.clone()),
                    _ => other.push(row.clone()),
                }
            }
            (cut(rows, files, seal, sorted), cut(other, other_files, other_seal, other_sorted))
        },
    )
}

fn once(rows: Vec<Row>) -> Vec<Row> {
    let mut keys = BTreeSet::new();
    rows.into_iter().filter(|r| keys.insert((r.0.clone(), r.1))).collect()
}

fn cut(mut rows: Vec<Row>, files: usize, seal: Seal, sorted: bool) -> Partition {
    if sorted {
        rows.sort();
    }
    let length = rows.len().div_ceil(files).max(1);
    Partition { files: rows.chunks(length).map(<[Row]>::to_vec).collect(), seal }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let k: StringArray = rows.iter().map(|r| r.0.as_deref()).collect();
    let n: Int64Array = rows.iter().map(|r| Some(r.1)).collect();
    let v: Int64Array = rows.iter().map(|r| r.2).collect();
    let x: Float64Array = rows.iter().map(|r| Some(FLOATS[usize::from(r.3)])).collect();
    let columns: [(&str, arrow::array::ArrayRef); 4] =
        [("k", Arc::new(k)), ("n", Arc::new(n)), ("v", Arc::new(v)), ("x", Arc::new(x))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What reconcile has to say about an hour, in order, and the rows of each side and equal.
fn naive(hour: usize, batch: &Partition, stream: &Partition) -> (Vec<String>, [u64; 3]) {
    let mut keys: BTreeMap<(Option<String>, i64), [Vec<Row>; 2]> = BTreeMap::new();
    for (side, partition) in [batch, stream].into_iter().enumerate() {
        for row in partition.files.iter().flatten() {
            keys.entry((row.0.clone(), row.1)).or_default()[side].push(row.clone());
        }
    }
    let rows = |p: &Partition| p.files.iter().map(|f| f.len() as u64).sum();
    // The seal is rescan's word for one row a key, and the checksums for the rest.
    if [batch.seal, stream.seal] == [Seal::Ours; 2] && batch.files == stream.files {
        return (Vec::new(), [rows(batch); 3]);
    }
    // An hour that is still open is one of a stream.
    let usual = if stream.seal == Seal::Open { Cause::Pending } else { Cause::Unexplained };
    let (mut told, mut equal) = (Vec::new(), 0);
    for ((k, n), sides) in keys {
        let k = k.unwrap_or("null".to_string());
        let mut tell = |column: &str, b: Option<String>, s: Option<String>, cause| {
            let text = |value: Option<String>| value.unwrap_or("-".to_string());
            told.push(format!("{hour:02} {k}/{n} {column}: {} | {} {cause}", text(b), text(s)));
        };
        let number = |v: Option<i64>| v.map(|v| v.to_string());
        let whole = |r: &Row| {
            Some(format!("v={}, x={:?}", number(r.2).unwrap_or("null".to_string()), FLOATS[usize::from(r.3)]))
        };
        let several = |rows: &Vec<Row>| match rows.len() {
            0 => None,
            1 => Some("1 row".to_string()),
            many => Some(format!("{many} rows")),
        };
        match [sides[0].as_slice(), sides[1].as_slice()] {
            [[b], []] => tell("*", whole(b), None, usual),
            [[], [s]] => tell("*", None, whole(s), usual),
            [[b], [s]] => {
                if b.2 != s.2 {
                    tell("v", number(b.2), number(s.2), usual);
                }
                if b.3 != s.3 {
                    let cause = if b.3 < 2 && s.3 < 2 { Cause::Tolerance } else { usual };
                    let text = |x: u8| Some(format!("{:?}", FLOATS[usize::from(x)]));
                    tell("x", text(b.3), text(s.3), cause);
                }
                equal += u64::from((b.2, b.3) == (s.2, s.3));
            }
            _ => tell("*", several(&sides[0]), several(&sides[1]), usual),
        }
    }
    (told, [rows(batch), rows(stream), equal])
}

#[test]
fn reconcile_says_what_a_naive_comparison_says() {
    println!("seed {SEED}, {CASES} cases");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[SEED; 32]);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tolerance = BTreeMap::from([("x".to_string(), 0.0)]);
    let key = Some(vec!["k".to_string(), "n".to_string()]);
    let options = ReconcileOptions { key, tolerance, ..ReconcileOptions::default() };
    TestRunner::new_with_rng(config, rng)
        .run(&vec(pair(), 1..3), |hours| {
            let outputs = Outputs::new();
            let (mut expected, mut sums) = (Vec::new(), [0; 3]);
            for (hour, (left, right)) in hours.iter().enumerate() {
                for (side, partition) in [("batch", left), ("stream", right)] {
                    let mut files: Vec<_> = partition.files.iter().map(|f| batch(f)).collect();
                    // An hour is there even where it has no rows.
                    files.extend(files.is_empty().then(|| batch(&[])));
                    outputs.write(side, hour as u32, &files, partition.seal);
                }
                let (told, rows) = naive(hour, left, right);
                expected.extend(told);
                sums.iter_mut().zip(rows).for_each(|(sum, n)| *sum += n);
            }
            let (summary, differences) = runtime.block_on(outputs.try_reconcile(&options)).unwrap();
            prop_assert_eq!(differences.iter().map(shown).collect::<Vec<_>>(), expected);
            prop_assert_eq!([summary.rows_batch, summary.rows_stream, summary.rows_equal], sums);
            prop_assert_eq!(summary.differences.values().sum::<u64>(), differences.len() as u64);
            Ok(())
        })
        .unwrap();
}
