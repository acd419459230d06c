//! Parquet holds the good rows of the JSON lines, each in the hour of its event time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use generator::{Format, Plan};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use super::plan::{START_MS, small, write};

type Rows = BTreeMap<String, (Map<String, Value>, u32)>;

fn add(rows: &mut Rows, row: Map<String, Value>) {
    let id = row["event_id"].as_str().unwrap().to_owned();
    rows.entry(id).or_insert((row, 0)).1 += 1;
}

/// The lines that are rows, by id, with how often each is there.
fn from_lines(path: &Path, columns: usize) -> Rows {
    let mut rows = Rows::new();
    for line in fs::read(path).unwrap().split(|&byte| byte == b'\n') {
        let Ok(Value::Object(row)) = serde_json::from_slice(line) else { continue };
        let whole = ["profile_id", "video_id"].iter().all(|name| row[*name].is_i64());
        if row.len() == columns && row.get("ts").is_some_and(Value::is_i64) && whole {
            add(&mut rows, row);
        }
    }
    rows
}

/// The rows of all hours, by id, event time in milliseconds.
fn from_parts(directory: &Path) -> Rows {
    let mut rows = Rows::new();
    for hour in 0..3 {
        let file = File::open(directory.join(format!("dt=2026-11-20/hr={hour:02}/part-0.parquet"))).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            for mut row in objects(&batch.unwrap()) {
                let ts = row["ts"].as_i64().unwrap();
                assert_eq!((ts / 1000 - START_MS as i64).div_euclid(3_600_000), hour);
                row.insert("ts".to_owned(), (ts / 1000).into());
                add(&mut rows, row);
            }
        }
    }
    rows
}

fn objects(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let ts = batch.schema().index_of("ts").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[ts] = arrow::compute::cast(&columns[ts], &arrow::datatypes::DataType::Int64).unwrap();
    let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let plain = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
    let mut writer = LineDelimitedWriter::new(vec![]);
    writer.write(&plain).unwrap();
    writer.finish().unwrap();
    let lines = writer.into_inner();
    lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn parquet_holds_the_same_good_rows() {
    let (lines, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let json = write(&small(7), lines.path());
    let parquet = write(&Plan { format: Format::Parquet, ..small(7) }, parts.path());
    assert_eq!(parquet.impressions.malformed, 0);
    assert_eq!((json.impressions.late, json.joined.all), (parquet.impressions.late, parquet.joined.all));
    for (topic, columns) in [("impressions", 11), ("plays", 9)] {
        let (lines, parts) =
            (from_lines(&lines.path().join(format!("{topic}.jsonl")), columns), from_parts(&parts.path().join(topic)));
        assert!(!lines.is_empty());
        assert!(lines == parts, "{topic}: {} rows as JSON, {} as Parquet", lines.len(), parts.len());
    }
}

#[test]
fn an_hour_without_rows_has_a_file_too() {
    let directory = tempfile::tempdir().unwrap();
    write(&Plan { format: Format::Parquet, plays_share: 0.0, ..small(7) }, directory.path());
    assert!(from_parts(&directory.path().join("plays")).is_empty());
}
