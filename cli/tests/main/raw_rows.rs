//! Raw rows as people have them: times in other units and without a zone, names that no column has. What is not read is
//! said.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::json;

use super::workdir::Workdir;

/// Files of a row at 2026-11-20T05:00:00, as each flag says it is written.
#[test]
fn times_in_any_unit_and_zone() {
    let dir = Workdir::new();
    for (i, (time, flags)) in [
        ("1795150800", "--time ts:s"),
        ("1795150800.0", "--time ts:s"),
        ("\"1795150800\"", "--time ts:s"),
        ("1795150800000", ""),
        ("1795150800000", "--time ts:ms"),
        ("1795150800000000", "--time ts:us"),
        ("1795150800000000000", "--time ts:ns"),
        ("\"2026-11-20T05:00:00Z\"", "--time ts:s"),
        ("\"2026-11-20 05:00:00 UTC\"", ""),
        ("\"2026-11-20 05:00:00\"", "--zone UTC"),
        ("\"2026-11-20 06:00:00\"", "--zone Europe/Berlin"),
        ("\"2026-11-20 10:30:00\"", "--zone +05:30"),
    ]
    .into_iter()
    .enumerate()
    {
        dir.write("e.jsonl", format!("{{\"event_id\":\"a\",\"ts\":{time}}}\n"));
        dir.write("e.csv", format!("event_id,ts\na,{time}\n"));
        for format in ["jsonl", "csv"] {
            let out = format!("{format}-{i}");
            dir.ok(&format!("ingest --in e.{format} {flags} --out {out}"));
            assert_eq!(dir.rows(&out)[0]["ts"], json!("2026-11-20T05:00:00"), "{time} {flags} {format}");
        }
    }
}

/// Numbers in Parquet files are times in the unit that is said, and none without one.
#[test]
fn numbers_of_parquet_files_are_times_in_their_unit() {
    let dir = Workdir::new();
    let columns: [(ArrayRef, &str); 3] = [
        (Arc::new(Int64Array::from(vec![1_795_150_800])), "s"),
        (Arc::new(Float64Array::from(vec![1_795_150_800.0])), "s"),
        (Arc::new(Int64Array::from(vec![1_795_150_800_000_000_000])), "ns"),
    ];
    for (i, (times, unit)) in columns.into_iter().enumerate() {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let rows = RecordBatch::try_from_iter([("event_id", ids), ("ts", times)]).unwrap();
        let mut writer =
            ArrowWriter::try_new(File::create(dir.path("e.parquet")).unwrap(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        dir.ok(&format!("ingest --in e.parquet --time ts:{unit} --out out-{i}"));
        assert_eq!(dir.rows(&format!("out-{i}"))[0]["ts"], json!("2026-11-20T05:00:00"));
        let ran = dir.run("ingest --in e.parquet --out without");
        assert!(ran.code == Some(65) && ran.err.contains("--time ts:ms"), "{:?} {}", ran.code, ran.err);
    }
}

/// What is no likely time is rejected, with the flag that would read it.
#[test]
fn what_is_no_likely_time_names_the_flag_that_would_read_it() {
    let dir = Workdir::new();
    for (time, said) in [
        ("1795150800", "is in January 1970, as milliseconds: of seconds say --time ts:s"),
        ("1795150800.25", "is not written as an integer: of seconds say --time ts:s"),
        ("1795150800000000", "is not in the years 1900 to 2261: of microseconds say --time ts:us"),
        ("1795150800000000000", "is not in the years 1900 to 2261: of nanoseconds say --time ts:ns"),
        ("\"2026-11-20 05:00:00\"", "has no zone: end it with Z or +00:00, or say --zone UTC"),
    ] {
        dir.write("e.jsonl", format!("{{\"event_id\":\"a\",\"ts\":{time}}}\n"));
        let ran = dir.run("ingest --in e.jsonl --out out");
        assert!(ran.code == Some(65) && ran.err.contains(said), "{time}: {:?} {}", ran.code, ran.err);
    }
    dir.write("e.jsonl", "{\"event_id\":\"a\",\"ts\":\"2026-10-25 02:30:00\"}\n");
    let ran = dir.run("ingest --in e.jsonl --zone Europe/Berlin --out out");
    assert!(ran.code == Some(65) && ran.err.contains("ambiguous_time"), "{}", ran.err);
    let ran = dir.run("ingest --in e.jsonl --zone Mars --out out");
    assert!(ran.code == Some(2) && ran.err.contains("Europe/Berlin"), "{}", ran.err);
    // January 1970 itself, where somebody says that it is meant.
    dir.write("e.jsonl", "{\"event_id\":\"a\",\"ts\":1795150800}\n");
    dir.ok("ingest --in e.jsonl --time ts:ms --out early");
    assert_eq!(dir.rows("early").len(), 1);
}

/// Keys of JSON, fields of CSV and columns of Parquet that no column of the schema has.
#[test]
fn names_that_no_column_has_are_said_with_their_rows() {
    let dir = Workdir::new();
    dir.write("s.txt", "event_id text\nts timestamp\n");
    let rows = "{\"event_id\":\"a\",\"ts\":0,\"ab\":1}\n{\"event_id\":\"b\",\"ts\":1,\"ab\":{\"x\":1},\"c\":[]}\n";
    dir.write("e.jsonl", rows);
    dir.write("e.csv", "event_id,ab,ts,c\na,1,0,\nb,2,1,\n");
    dir.write("wide.txt", "event_id text\nts timestamp\nab int64\nc text\n");
    let line = "--schema s.txt --out";
    let ran = dir.ok(&format!("ingest --in e.jsonl {line} json"));
    assert!(ran.err.contains("e.jsonl: left out") && ran.err.contains("ab (2 rows), c (1 row)"), "{}", ran.err);
    let ran = dir.ok(&format!("ingest --in e.csv {line} csv"));
    assert!(ran.err.contains("ab (2 rows), c (2 rows)"), "{}", ran.err);
    let ran = dir.ok("ingest --in e.csv --schema wide.txt --out wide");
    assert!(!ran.err.contains("left out"), "{}", ran.err);
    let part = dir.files("wide").into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    let ran = dir.ok(&format!("ingest --in wide/{part} {line} parquet"));
    assert!(ran.err.contains("ab (2 rows), c (2 rows)") && !ran.err.contains("_topic"), "{}", ran.err);
    // A key that comes after the rows that a schema is inferred from.
    let mut many: String = (0..1500).map(|n| format!("{{\"event_id\":\"{n}\",\"ts\":{n}}}\n")).collect();
    many += "{\"event_id\":\"x\",\"ts\":1,\"late_key\":1}\n";
    dir.write("many.jsonl", many);
    let ran = dir.ok("ingest --in many.jsonl --infer-rows 100 --out inferred");
    assert!(ran.err.contains("late_key (1 row)"), "{}", ran.err);
    let ran = dir.ok("ingest --in many.jsonl --out whole");
    assert!(!ran.err.contains("left out") && ran.err.contains("late_key int64"), "{}", ran.err);
}

/// What the first run inferred holds for those that go on, whatever comes later, with a schema of the same columns too.
#[test]
fn a_schema_is_inferred_once() {
    let dir = Workdir::new();
    std::fs::create_dir(dir.path("in")).unwrap();
    dir.write("in/0.jsonl", "");
    dir.write("in/1.jsonl", "{\"event_id\":\"a\",\"ts\":0}\n");
    dir.write("in/2.jsonl", "{\"event_id\":\"b\",\"ts\":3600000,\"n\":1}\n");
    let read = |file: &str| dir.record("out").is_some_and(|(_, epoch)| epoch.to_string().contains(file));
    let line = "ingest --in in --follow --commit-interval 1ms --out out";
    assert!(dir.kill_when(line, || read("2.jsonl")));
    dir.write("s.txt", "event_id text\nts timestamp not null\nn int64\n");
    for (file, flags) in [("3.jsonl", ""), ("4.jsonl", "--schema s.txt"), ("5.jsonl", "")] {
        dir.write(&format!("in/{file}"), "{\"m\":2,\"event_id\":\"c\",\"ts\":7200000,\"n\":1}\n");
        assert!(dir.kill_when(&format!("{line} {flags}"), || read(file)), "{file} {flags}");
    }
}
