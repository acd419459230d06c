//! The ledger against counts of another tool: what was read, what repeats, what no output can hold.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use datafusion::parquet::file::properties::EnabledStatistics;
use serde_json::Value;

use super::complete::commands;
use super::misfiled::{INPUTS, foreign, parts, read, write};
use super::workdir::{Workdir, parquet, walk};

/// The rows of each hour of an input, as the Parquet reader alone counts them: all, and ids.
fn counted(dir: &Workdir, input: &str) -> (u64, u64) {
    let (mut all, mut ids) = (0, std::collections::BTreeSet::new());
    for part in parts(dir, input) {
        for rows in read(&part) {
            all += rows.num_rows() as u64;
            let column = rows.column_by_name("event_id").unwrap();
            let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap();
            ids.extend(column.as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
        }
    }
    (all, ids.len() as u64)
}

fn ledgers(report: &Value) -> BTreeMap<String, BTreeMap<String, u64>> {
    serde_json::from_value(report["ledger"].clone()).unwrap()
}

/// Whether a command tells rows apart, and not only sets of requests.
fn tells_repeats(line: &str) -> bool {
    !line.starts_with("aggregate")
}

fn check(ledger: &BTreeMap<String, u64>, expected: [(&str, u64); 4], line: &str) {
    for (class, count) in expected {
        assert_eq!(ledger[class], count, "{class} of {line}: {ledger:?}");
    }
    let classes = ["accepted", "duplicate", "late", "rejected", "filtered"].map(|class| ledger[class]);
    assert_eq!(ledger["read"], classes.iter().sum::<u64>(), "{line}: {ledger:?}");
}

#[test]
fn what_repeats_is_counted_and_nothing_else() {
    let dir = foreign();
    // Every third row once more, in a second file of the hour.
    for input in INPUTS {
        for part in parts(&dir, input) {
            let rows = read(&part);
            let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
            let again: Vec<RecordBatch> = (0..rows.num_rows()).step_by(3).map(|row| rows.slice(row, 1)).collect();
            write(&part.with_file_name("again.parquet"), &again, EnabledStatistics::Chunk);
        }
    }
    for (line, _) in commands() {
        let ledgers = ledgers(&dir.ok(&format!("{line} --json")).json());
        for (input, ledger) in &ledgers {
            let of = if ledgers.len() == 1 { "plays" } else { input };
            let (mut all, ids) = counted(&dir, of);
            if line.starts_with("merge") {
                all *= 2;
            }
            let accepted = if tells_repeats(&line) { ids } else { all };
            check(
                ledger,
                [("read", all), ("accepted", accepted), ("duplicate", all - accepted), ("rejected", 0)],
                &line,
            );
        }
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// Writes some rows of an hour once more, without their time; in columns that may all be null.
fn write_timeless(dir: &Workdir, rows: usize) {
    for input in INPUTS {
        let part = &parts(dir, input)[1];
        let hour = read(part);
        let hour = concat_batches(&hour[0].schema(), &hour).unwrap();
        let fields = hour
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<Field>>();
        let schema = Arc::new(Schema::new(fields));
        let mut more = hour.slice(0, rows).columns().to_vec();
        let time = schema.index_of("ts").unwrap();
        more[time] = new_null_array(more[time].data_type(), rows);
        let whole = RecordBatch::try_new(schema.clone(), hour.columns().to_vec()).unwrap();
        write(part, &[whole, RecordBatch::try_new(schema, more).unwrap()], EnabledStatistics::Chunk);
    }
}

#[test]
fn rows_without_a_time_are_rejected() {
    let (dir, timeless) = (foreign(), 4);
    write_timeless(&dir, 0);
    let run = |line: &str| ledgers(&dir.ok(&format!("{line} --json")).json());
    let mut expected = Vec::new();
    for (line, _) in commands() {
        expected.push((run(&line), dir.parts("out")));
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
    write_timeless(&dir, timeless);
    for ((line, _), (before, parts)) in commands().into_iter().zip(expected) {
        let ledgers = run(&line);
        assert!(dir.parts("out") == parts, "{line}");
        let places = if line.starts_with("merge") { 2 } else { 1 };
        let rejected = places * timeless as u64;
        for (input, ledger) in ledgers {
            let was = &before[&input];
            let others = [("accepted", was["accepted"]), ("duplicate", was["duplicate"])];
            let [accepted, duplicate] = others;
            check(&ledger, [("read", was["read"] + rejected), accepted, duplicate, ("rejected", rejected)], &line);
            let aside = walk(&dir.path(&format!("out/_rescan/rejected/{input}")));
            let kept: Vec<Value> = aside.iter().flat_map(|file| parquet(file)).collect();
            assert_eq!(kept.len() as u64, rejected, "{line}");
            assert!(kept.iter().all(|row| row["reason"] == "no_event_time: ts is null"), "{kept:?}");
        }
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}
