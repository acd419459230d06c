//! Rows in the directory of another hour: refused with file, row, time and hour, or read with the hour they happened in.

use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::complete::commands;
use super::errors::failed;
use super::workdir::{Workdir, walk};

pub const INPUTS: [&str; 2] = ["impressions", "plays"];

/// Five hours that another engine might have written: without `_SUCCESS`.
pub fn foreign() -> Workdir {
    let dir = Workdir::new();
    dir.archive("--hours 5 --impressions-per-hour 300 --malformed 0");
    dir.write("mine.sql", dir.ok("sql join").out);
    for seal in walk(&dir.path("archive")).iter().filter(|file| file.ends_with("_SUCCESS")) {
        fs::remove_file(seal).unwrap();
    }
    for input in INPUTS {
        fs::remove_dir_all(dir.path(&format!("archive/{input}/_rescan"))).unwrap();
    }
    dir
}

/// The Parquet files of an input, by hour.
pub fn parts(dir: &Workdir, input: &str) -> Vec<std::path::PathBuf> {
    let mut parts = walk(&dir.path(&format!("archive/{input}")));
    parts.sort();
    parts
}

pub fn read(part: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(part).unwrap()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// Writes rows as one file, with or without statistics.
pub fn write(path: &Path, rows: &[RecordBatch], statistics: EnabledStatistics) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_statistics_enabled(statistics).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows[0].schema(), Some(properties)).unwrap();
    rows.iter().for_each(|rows| writer.write(rows).unwrap());
    writer.close().unwrap();
}

/// Files every hour nine hours later, as a writer in Tokyo does.
fn in_local_time(dir: &Workdir, input: &str) {
    for hour in (0..5).rev() {
        let day = dir.path(&format!("archive/{input}/dt=2016-11-07"));
        fs::rename(day.join(format!("hr={hour:02}")), day.join(format!("hr={:02}", hour + 9))).unwrap();
    }
}

/// All hours in one file, in the directory of the first.
fn a_day_in_one_file(dir: &Workdir, input: &str) {
    let parts = parts(dir, input);
    let rows: Vec<RecordBatch> = parts.iter().flat_map(|part| read(part)).collect();
    parts[1..].iter().for_each(|part| fs::remove_dir_all(part.parent().unwrap()).unwrap());
    write(&parts[0], &rows, EnabledStatistics::Chunk);
}

/// The last row of an hour beside those of the next, in a file that has no statistics.
fn one_row_and_no_statistics(dir: &Workdir, input: &str) {
    let parts = parts(dir, input);
    let (rows, next) = (read(&parts[1]), read(&parts[2]));
    let whole = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
    let (kept, moved) = (whole.slice(0, whole.num_rows() - 1), whole.slice(whole.num_rows() - 1, 1));
    write(&parts[1], &[kept], EnabledStatistics::None);
    write(&parts[2], &[next, vec![moved]].concat(), EnabledStatistics::None);
}

/// A way to file rows under another hour: what it is called, what does it to an input, and what a run says of it.
type Way = (&'static str, fn(&Workdir, &str), &'static str);

#[test]
fn rows_of_another_hour_are_refused_or_found() {
    let ways: [Way; 3] = [
        ("local time", in_local_time, "which is not in hour 2016-11-07T"),
        ("a day in one file", a_day_in_one_file, "which is not in hour 2016-11-07T00"),
        ("one row", one_row_and_no_statistics, "which is not in hour 2016-11-07T02"),
    ];
    for (way, misfile, said) in ways {
        let dir = foreign();
        // Every command meets rows in local time; the other ways are the same to them, so that a few will do.
        let few = ["join --type full", "aggregate --epoch 2h", "ingest", "stratify"];
        let wanted = |line: &String| way == "local time" || few.iter().any(|command| line.starts_with(command));
        let lines: Vec<String> = commands().into_iter().map(|(line, _)| line).filter(wanted).collect();
        for (n, line) in lines.iter().enumerate() {
            dir.ok(&line.replace("--out out", &format!("--out whole-{n}")));
        }
        INPUTS.iter().for_each(|input| misfile(&dir, input));
        for (n, line) in lines.iter().enumerate() {
            let whole = dir.parts(&format!("whole-{n}"));
            let refused = dir.run(line);
            failed(
                &refused,
                65,
                &[".parquet has ts 2016-11-07T0", said, "belongs in dt=2016-11-07/hr=0", "--misfiled read"],
            );
            // Hours whose files are right may be written before another is found out.
            assert!(dir.parts("out").iter().all(|(part, bytes)| whole.get(part) == Some(bytes)), "{way}, {line}");
            if !line.starts_with("stratify") {
                for hour in 0..5 {
                    dir.ok(&format!("{line} --misfiled read --hour 2016-11-07T0{hour}"));
                }
                assert!(dir.parts("out") == whole, "{way}, hour by hour: {line}");
                assert!(dir.ok(&format!("{line} --misfiled read")).err.contains("up to date"), "{way}: {line}");
            }
            let _ = fs::remove_dir_all(dir.path("out"));
            dir.ok(&format!("{line} --misfiled read"));
            assert!(dir.parts("out") == whole, "{way}, all at once: {line}");
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
    }
}

/// Replayed without a range, an archive is read whole, and its rows go by their own time.
#[test]
fn a_replay_of_some_hours_relies_on_the_directories() {
    let dir = foreign();
    for input in INPUTS {
        for part in parts(&dir, input) {
            fs::write(part.with_file_name("_SUCCESS"), "").unwrap();
        }
    }
    let join = "join --in impressions=archive/impressions --in plays=archive/plays --replay --out";
    dir.ok(&format!("{join} whole"));
    dir.ok(&format!("{join} some --from 2016-11-07T01 --to 2016-11-07T03"));
    INPUTS.iter().for_each(|input| in_local_time(&dir, input));
    dir.ok(&format!("{join} all"));
    assert!(dir.parts("all") == dir.parts("whole"));
    let ran = dir.run(&format!("{join} out --from 2016-11-07T10 --to 2016-11-07T12"));
    failed(&ran, 65, &["which is not in hour 2016-11-07T10", "--misfiled read"]);
    dir.ok(&format!("{join} read --from 2016-11-07T01 --to 2016-11-07T03 --misfiled read"));
    assert!(dir.parts("read") == dir.parts("some"));
}
