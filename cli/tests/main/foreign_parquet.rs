//! Parquet files of others, damaged anywhere: named with exit code 65, or read, and never a panic or a bug.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use datafusion::parquet::arrow::ArrowWriter;

use super::dice::Dice;
use super::workdir::Workdir;

/// A small file as other engines write them.
fn small() -> Vec<u8> {
    let numbers = |step: i64| Arc::new((0..200).map(|n| Some(n * step % 7)).collect::<Int64Array>()) as ArrayRef;
    let texts =
        |name: &str| Arc::new((0..200).map(|n| Some(format!("{name}-{n}"))).collect::<StringArray>()) as ArrayRef;
    let columns = [
        ("event_id", texts("e")),
        ("ts", Arc::new((0..200).map(|n| Some(n * 10_000)).collect::<TimestampMillisecondArray>()) as ArrayRef),
        ("request_id", texts("r")),
        ("profile_id", numbers(3)),
        ("video_id", numbers(5)),
        ("country", Arc::new((0..200).map(|n| (n % 3 > 0).then_some("NL")).collect::<StringArray>())),
        ("duration_s", Arc::new((0..200).map(|n| Some(n as f64 / 3.0)).collect::<Float64Array>())),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    bytes
}

/// Cuts, and flips one byte, or several beside one another.
fn mutated(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let at = dice.below(bytes.len() as u64) as usize;
    match dice.below(10) {
        0 => bytes.truncate(at),
        1 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
        2 => bytes[at..].iter_mut().take(64).for_each(|byte| *byte ^= dice.below(256) as u8),
        _ => bytes[at] = dice.below(256) as u8,
    }
    bytes
}

/// Every way to read them.
const LINES: [&str; 6] = [
    "ingest --in hours --out out",
    "ingest --in hours --where video_id>2 --replay --out out",
    "ingest --in file.parquet --schema infer --out out",
    "ingest --in plays.jsonl --schema plays --side facts=file.parquet --side-key facts=video_id --out out",
    "aggregate --in impressions=hours --in plays=hours --by country --out out",
    "reconcile --batch hours --stream hours --key event_id",
];

fn mutants(seed: u64, count: usize) {
    println!("seed {seed}");
    let (whole, next) = (small(), AtomicUsize::new(0));
    let codes: [AtomicUsize; 3] = Default::default();
    let work = |worker: u64| {
        let dir = Workdir::new();
        dir.write("plays.jsonl", "{\"event_id\":\"a\",\"ts\":0,\"video_id\":3}\n");
        fs::create_dir_all(dir.path("hours/dt=1970-01-01/hr=00")).unwrap();
        dir.write("hours/dt=1970-01-01/hr=00/_SUCCESS", "");
        let mut dice = Dice(seed + worker);
        while next.fetch_add(1, Ordering::Relaxed) < count {
            let bytes = mutated(&whole, &mut dice);
            dir.write("file.parquet", &bytes);
            dir.write("hours/dt=1970-01-01/hr=00/file.parquet", &bytes);
            let line = LINES[dice.below(LINES.len() as u64) as usize];
            let ran = dir.run(line);
            let ok = match ran.code {
                Some(0) => 0,
                Some(65) if ran.err.contains("file.parquet") => 1,
                // What is no damage: columns of other names and types.
                Some(2 | 65 | 78) => 2,
                code => {
                    fs::write("/tmp/mutant.parquet", &bytes).ok();
                    panic!("exit code {code:?} of {line}: {} (seed {seed}, kept as /tmp/mutant.parquet)", ran.err)
                }
            };
            assert!(!ran.err.contains("panic"), "{line}: {}", ran.err);
            codes[ok].fetch_add(1, Ordering::Relaxed);
            fs::remove_dir_all(dir.path("out")).ok();
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|worker| drop(scope.spawn(move || work(worker)))));
    let [read, named, other] = codes.map(AtomicUsize::into_inner);
    println!("{count} mutants: {read} read, {named} named, {other} refused otherwise");
    assert!(named > count / 4);
}

#[test]
fn mutants_are_named_or_read() {
    mutants(3, 300);
}

/// `cargo test -- --ignored` tries thousands.
#[test]
#[ignore = "takes minutes"]
fn thousands_of_mutants_are_named_or_read() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    mutants(seed, 5000);
}

#[test]
fn a_file_that_is_whole_is_read() {
    let dir = Workdir::new();
    fs::create_dir_all(dir.path("hours/dt=1970-01-01/hr=00")).unwrap();
    dir.write("plays.jsonl", "{\"event_id\":\"a\",\"ts\":0,\"video_id\":3}\n");
    dir.write("file.parquet", small());
    dir.write("hours/dt=1970-01-01/hr=00/file.parquet", small());
    for line in LINES.into_iter().filter(|line| !line.contains("--replay")) {
        dir.ok(line);
        fs::remove_dir_all(dir.path("out")).ok();
    }
}
