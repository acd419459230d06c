//! Two outputs compared: every way to differ, one by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use connector::SourceError;
use runner::{Cause, ReconcileOptions, Summary, reconcile};

use super::outputs::{Outputs, Seal};

type Row<'a> = (&'a str, i64, Option<i64>, f64);

fn table(rows: &[Row<'_>]) -> RecordBatch {
    let k: StringArray = rows.iter().map(|r| Some(r.0)).collect();
    let n: Int64Array = rows.iter().map(|r| Some(r.1)).collect();
    let v: Int64Array = rows.iter().map(|r| r.2).collect();
    let x: Float64Array = rows.iter().map(|r| Some(r.3)).collect();
    with(&[("k", Arc::new(k)), ("n", Arc::new(n)), ("v", Arc::new(v)), ("x", Arc::new(x))])
}

fn with(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().map(|(n, c)| (*n, Arc::clone(c)))).unwrap()
}

fn plus(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let fields = rows.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let columns = fields.iter().map(String::as_str).zip(rows.columns().iter().cloned());
    RecordBatch::try_from_iter(columns.chain([(name, column)])).unwrap()
}

const SOME: [Row<'static>; 3] = [("a", 1, Some(1), 0.5), ("a", 2, None, f64::NAN), ("b", 1, Some(3), -0.0)];

fn options() -> ReconcileOptions {
    ReconcileOptions::default()
}

fn counts(summary: &Summary) -> (u64, u64, u64) {
    (summary.rows_batch, summary.rows_stream, summary.rows_equal)
}

/// A kind of damage: what it is called, what does it to an output, and what is said of it.
type Damage = (&'static str, fn(&Path), &'static str);

#[tokio::test]
async fn equal_checksums_are_claimed_of_bytes_that_were_read() {
    let damaged = "is not the file that _SUCCESS names";
    let cases: [Damage; 5] = [
        ("nothing", |_| {}, ""),
        ("flipped", |file| std::fs::write(file, vec![0; std::fs::read(file).unwrap().len()]).unwrap(), damaged),
        ("cut", |file| std::fs::write(file, "PAR1").unwrap(), damaged),
        ("deleted", |file| std::fs::remove_file(file).unwrap(), "is named by a _SUCCESS and is not there"),
        ("added", |file| std::fs::write(file.with_file_name("x.parquet"), "").unwrap(), "is none of the files"),
    ];
    for (case, damage, said) in cases {
        for side in ["batch", "stream"] {
            let outputs = Outputs::new();
            outputs.both(5, &table(&SOME), &table(&SOME));
            outputs.write("batch", 6, &[], Seal::Ours);
            outputs.write("stream", 6, &[], Seal::Ours);
            damage(&outputs.0.path().join(format!("{side}/dt=2026-11-20/hr=05/part-0.parquet")));
            let found = outputs.try_reconcile(&options()).await;
            if said.is_empty() {
                let (summary, differences) = found.unwrap();
                assert_eq!((differences.len(), counts(&summary), summary.exit_code()), (0, (3, 3, 3), 0));
                assert_eq!((summary.partitions, summary.partitions_equal_by_checksum), (2, 2));
                continue;
            }
            let error = found.unwrap_err();
            let text = format!("{error:#}");
            assert!(matches!(error.downcast_ref(), Some(SourceError::BadData(_))), "{case} {side}: {text}");
            assert!(text.contains(said) && text.contains(&format!("{side}/dt=2026")) || text.contains(side), "{text}");
        }
    }
}

#[tokio::test]
async fn equal_rows_in_other_bytes_are_equal() {
    let outputs = Outputs::new();
    let source = |n: i64| Arc::new(Int64Array::from(vec![n; 3])) as ArrayRef;
    outputs.both(5, &plus(&table(&SOME), "_offset", source(1)), &plus(&table(&SOME), "_offset", source(2)));
    outputs.write("batch", 6, &[table(&SOME)], Seal::Ours);
    outputs.write("stream", 6, &[table(&SOME), table(&[])], Seal::Ours);
    let other_nan = f64::from_bits(f64::NAN.to_bits() ^ (1 << 63 | 1));
    outputs.both(7, &table(&[("a", 1, None, f64::NAN)]), &table(&[("a", 1, None, other_nan)]));
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!((differences, counts(&summary), summary.exit_code()), (vec![], (7, 7, 7), 0));
    assert_eq!((summary.partitions, summary.partitions_equal_by_checksum), (3, 0));
}

#[tokio::test]
async fn every_value_and_row_that_differs_is_told_in_key_order() {
    let outputs = Outputs::new();
    let batch = [
        ("a", 1, Some(1), 0.5),
        ("a", 2, None, 1.0),
        ("b", 1, Some(3), -0.0),
        ("c", 1, Some(4), 1.0),
        ("e", 1, Some(1), 1.0),
    ];
    let stream = [
        ("a", 1, Some(2), 0.25),
        ("a", 2, Some(7), 1.0),
        ("b", 1, Some(3), 0.0),
        ("d", 1, None, 2.0),
        ("e", 1, Some(1), 1.0),
    ];
    outputs.both(5, &table(&batch), &table(&stream));
    outputs.both(7, &table(&[]), &table(&SOME[..1]));
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!(
        differences,
        [
            "05 a/1 v: 1 | 2 unexplained",
            "05 a/1 x: 0.5 | 0.25 unexplained",
            "05 a/2 v: - | 7 unexplained",
            "05 b/1 x: -0.0 | 0.0 unexplained",
            "05 c/1 *: v=4, x=1.0 | - unexplained",
            "05 d/1 *: - | v=null, x=2.0 unexplained",
            "07 a/1 *: - | v=1, x=0.5 unexplained",
        ]
    );
    assert_eq!((counts(&summary), summary.exit_code()), ((5, 6, 1), 3));
    assert_eq!(summary.differences, BTreeMap::from([(Cause::Unexplained, 7)]));
}

#[tokio::test]
async fn a_range_of_hours_is_half_open() {
    let outputs = Outputs::new();
    for hour in [4, 5, 6] {
        outputs.both(hour, &table(&SOME[..1]), &table(&SOME[1..2]));
    }
    let hour = |text: &str| Some(text.parse().unwrap());
    let some = ReconcileOptions { from: hour("2026-11-20T05"), to: hour("2026-11-20T06"), ..options() };
    let (summary, differences) = outputs.reconcile(&some).await;
    assert_eq!((summary.partitions, differences.len()), (1, 2));
    assert!(differences.iter().all(|d| d.starts_with("05 ")));
}

#[tokio::test]
async fn repeated_keys_are_counted_and_never_collapsed() {
    let outputs = Outputs::new();
    let row = |v| ("a", 1, Some(v), 0.5);
    let end = ("b", 1, Some(3), 0.5);
    outputs.both(5, &table(&[row(1), row(1), end]), &table(&[row(1), end]));
    outputs.both(6, &table(&[row(1), row(2), end]), &table(&[row(2), row(1), end, end]));
    outputs.both(7, &table(&[end]), &table(&[row(1), row(2), row(3), end]));
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!(
        differences,
        [
            "05 a/1 *: 2 rows | 1 row unexplained",
            "06 a/1 *: 2 rows | 2 rows unexplained",
            "06 b/1 *: 1 row | 2 rows unexplained",
            "07 a/1 *: - | 3 rows unexplained",
        ]
    );
    assert_eq!((counts(&summary), summary.exit_code()), ((7, 10, 2), 3));
}

#[tokio::test]
async fn what_a_stream_has_not_sealed_is_pending() {
    let outputs = Outputs::new();
    let other = [("a", 1, Some(9), 0.5)];
    outputs.both(4, &table(&SOME), &table(&SOME));
    for (hour, batch, stream) in [(5, Seal::Ours, Seal::Open), (7, Seal::Foreign, Seal::Ours)] {
        outputs.write("batch", hour, &[table(&SOME[..1])], batch);
        outputs.write("stream", hour, &[table(&other)], stream);
    }
    outputs.write("batch", 8, &[table(&other)], Seal::Ours);
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!(
        differences,
        ["05 a/1 v: 1 | 9 pending", "07 a/1 v: 1 | 9 unexplained", "08 a/1 *: v=9, x=0.5 | - pending",]
    );
    assert_eq!(summary.exit_code(), 3);
    let open = ReconcileOptions { to: Some("2026-11-20T06".parse().unwrap()), ..options() };
    assert_eq!(outputs.reconcile(&open).await.0.exit_code(), 1);
    // Nothing more comes to a batch: its hour lacks something, whatever is in it.
    outputs.write("batch", 6, &[table(&SOME)], Seal::Open);
    outputs.write("stream", 6, &[table(&SOME)], Seal::Ours);
    let error = outputs.try_reconcile(&options()).await.unwrap_err();
    let named = matches!(error.downcast_ref(), Some(SourceError::Missing(what)) if what.contains("2026-11-20T06"));
    assert!(named, "{error:#}");
    // A stream's output as the batch side: the stream is to be ended, nothing is lost.
    std::fs::create_dir_all(outputs.0.path().join("batch/_rescan/journal/stream")).unwrap();
    let error = format!("{:#}", outputs.try_reconcile(&options()).await.unwrap_err());
    assert!(error.contains("has not ended: leave it out by --to 2026-11-20T06"), "{error}");
}

#[tokio::test]
async fn numbers_within_the_tolerance_are_explained() {
    let outputs = Outputs::new();
    let batch =
        [("a", 1, Some(1 << 60), 1.0), ("b", 1, Some(1), f64::NAN), ("c", 1, None, -0.0), ("d", 1, Some(1), 1.0)];
    let stream =
        [("a", 1, Some((1 << 60) + 1), 1.25), ("b", 1, Some(2), 0.0), ("c", 1, Some(0), 0.0), ("d", 1, Some(1), 1.5)];
    outputs.both(5, &table(&batch), &table(&stream));
    let tolerance = BTreeMap::from([("x".to_string(), 0.25), ("v".to_string(), 0.5)]);
    let (summary, differences) = outputs.reconcile(&ReconcileOptions { tolerance, ..options() }).await;
    assert_eq!(
        differences,
        [
            "05 a/1 v: 1152921504606846976 | 1152921504606846977 unexplained",
            "05 a/1 x: 1.0 | 1.25 tolerance",
            "05 b/1 v: 1 | 2 unexplained",
            "05 b/1 x: NaN | 0.0 unexplained",
            "05 c/1 v: - | 0 unexplained",
            "05 c/1 x: -0.0 | 0.0 tolerance",
            "05 d/1 x: 1.0 | 1.5 unexplained",
        ]
    );
    assert_eq!(counts(&summary), (4, 4, 0));
    let wide = BTreeMap::from([("x".to_string(), f64::INFINITY), ("v".to_string(), 1.0)]);
    let (summary, _) = outputs.reconcile(&ReconcileOptions { tolerance: wide, ..options() }).await;
    assert_eq!(summary.differences, BTreeMap::from([(Cause::Tolerance, 5), (Cause::Unexplained, 2)]));
    for column in ["k", "nosuch"] {
        let tolerance = BTreeMap::from([(column.to_string(), 1.0)]);
        let error = outputs.try_reconcile(&ReconcileOptions { tolerance, ..options() }).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(SourceError::Usage(_))), "{error:#}");
    }
}

#[tokio::test]
async fn a_column_on_one_side_is_one_difference() {
    let outputs = Outputs::new();
    let words = || Arc::new(StringArray::from(vec!["x"; 3])) as ArrayRef;
    let numbers = || Arc::new(Int32Array::from(vec![1; 3])) as ArrayRef;
    let batch = plus(&plus(&table(&SOME), "old", words()), "both", words());
    let stream = plus(&plus(&table(&SOME), "both", numbers()), "new", numbers());
    outputs.both(5, &batch, &stream);
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!(
        differences,
        [
            "05 */* old: Utf8View | - unexplained",
            "05 */* both: Utf8View | Int32 unexplained",
            "05 */* new: - | Int32 unexplained",
        ]
    );
    assert_eq!((counts(&summary), summary.exit_code()), ((3, 3, 3), 3));
}

#[tokio::test]
async fn types_that_widen_and_columns_in_another_order_are_the_same() {
    let outputs = Outputs::new();
    let sets = |last| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), last])])) as ArrayRef;
    let batch = table(&[("a", 1, Some(1), 0.5)]);
    let order: Vec<_> = [2, 3, 1, 0].into_iter().collect();
    let narrow = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let stream = batch.project(&order).unwrap();
    let stream = with(&[
        ("v", narrow),
        ("x", Arc::clone(stream.column(1))),
        ("n", Arc::clone(stream.column(2))),
        ("k", Arc::clone(stream.column(3))),
    ]);
    outputs.both(5, &plus(&batch, "ids", sets(Some(2))), &plus(&stream, "ids", sets(Some(2))));
    outputs.both(6, &plus(&batch, "ids", sets(Some(2))), &plus(&stream, "ids", sets(None)));
    let (summary, differences) = outputs.reconcile(&options()).await;
    assert_eq!(differences, ["06 a/1 ids: [1, 2] | [1, ] unexplained"]);
    assert_eq!(counts(&summary), (2, 2, 1));
}

#[tokio::test]
async fn foreign_files_need_a_key_and_are_sorted() {
    let outputs = Outputs::new();
    let [a, b, c] = [SOME[0], SOME[1], SOME[2]];
    outputs.write("batch", 5, &[table(&[c, a]), table(&[b])], Seal::Foreign);
    outputs.write("stream", 5, &[table(&[b, ("b", 1, Some(4), -0.0), a])], Seal::Foreign);
    let error = outputs.try_reconcile(&options()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SourceError::BadData(e)) if e.contains("--key")), "{error:#}");
    let key =
        |names: &[&str]| ReconcileOptions { key: Some(names.iter().map(|n| n.to_string()).collect()), ..options() };
    let (summary, differences) = outputs.reconcile(&key(&["k", "n"])).await;
    assert_eq!((differences, counts(&summary)), (vec!["05 b/1 v: 3 | 4 unexplained".to_string()], (3, 3, 2)));
    let (_, differences) = outputs.reconcile(&key(&["n", "k"])).await;
    assert_eq!(differences, ["05 1/b v: 3 | 4 unexplained"]);
    let error = outputs.try_reconcile(&key(&["nosuch"])).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SourceError::BadData(e)) if e.contains("nosuch")), "{error:#}");
}

#[tokio::test]
async fn a_side_without_partitions_is_missing_and_not_different() {
    let outputs = Outputs::new();
    outputs.write("batch", 5, &[table(&SOME)], Seal::Ours);
    let error = outputs.try_reconcile(&options()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SourceError::Missing(e)) if e.starts_with("stream ")), "{error:#}");
}

#[tokio::test]
async fn what_the_caller_answers_ends_it() {
    let outputs = Outputs::new();
    outputs.both(5, &table(&SOME[..1]), &table(&SOME[1..]));
    let mut told = 0;
    let (batch, stream) = (outputs.location("batch"), outputs.location("stream"));
    let full = |_| {
        told += 1;
        anyhow::bail!("disk full")
    };
    let error = reconcile(&batch, &stream, &options(), full).await.unwrap_err();
    assert_eq!(error.to_string(), "disk full");
    assert_eq!(told, 1);
}

#[tokio::test]
async fn more_than_fits_is_sorted_on_disk() {
    const ROWS: i64 = 300_000;
    let outputs = Outputs::new();
    // Every row but one in a thousand is on both sides, in an order that has nothing to do with the key.
    let rows = |step: i64, lost: i64| {
        let ids: Vec<i64> = (0..ROWS).map(|i| i * step % ROWS).filter(|id| id % 1000 != lost).collect();
        let k: StringArray = ids.iter().map(|id| Some(format!("{:064x}", i128::from(*id).pow(5)))).collect();
        let n = Int64Array::from(ids.clone());
        let v: Int64Array = ids.iter().map(|id| Some(id * 7)).collect();
        let text: StringArray = ids.iter().map(|id| Some(format!("{id:0100}"))).collect();
        with(&[("k", Arc::new(k)), ("n", Arc::new(n)), ("v", Arc::new(v)), ("text", Arc::new(text))])
    };
    outputs.write("batch", 5, &[rows(7, 1)], Seal::Foreign);
    outputs.write("stream", 5, &[rows(299_993, 2)], Seal::Foreign);
    let key = Some(vec!["k".to_string()]);
    let little = ReconcileOptions { key, memory_bytes: 64 << 20, ..options() };
    let (summary, differences) = outputs.reconcile(&little).await;
    assert_eq!((counts(&summary), differences.len()), ((299_700, 299_700, 299_400), 600));
    let too_little = ReconcileOptions { memory_bytes: 1 << 20, ..little };
    assert!(outputs.try_reconcile(&too_little).await.is_err(), "the pool is not asked");
}
