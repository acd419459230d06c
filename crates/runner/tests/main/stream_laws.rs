//! Chunking, for whole runs: however a stream is polled, cut into steps, committed and stopped, the sealed bytes, the
//! late rows and the ledger are those of one step, and the late rows and the ledger are what a count by hand says. And
//! wherever one run ends and the next begins with its state, the sealed bytes are those of all rows that were not late.
//! A run over history gives what a stream gives that waits for every row, whatever of its rows has to wait, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use journal::Ledger;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use runner::{Cut, History, Job, Report, TimePolicy, stream};
use scan::{Binding, Scan, Script};

use arrow::datatypes::SchemaRef;
use testkit::scripts::scripts_of_commands;

use super::player::{DELAY, Event, LATENESS, MINUTE, Player, Tapes, job_over, schema_of};

/// Of scripts with a reference of their own, and of the others.
const CASES: [u64; 2] = [64, 12];

fn tapes(rng: &mut ChaCha8Rng, inputs: &[&'static str]) -> Tapes {
    let mut tape = |_| {
        let mut now = 1_700_000_000_000_000i64.div_euclid(60 * MINUTE) * 60 * MINUTE;
        let mut tape: Vec<Event> = Vec::new();
        for _ in 0..rng.random_range(0..40) {
            now += rng.random_range(0..20) * MINUTE;
            // Some hours have no events.
            now += if rng.random_range(0..12) == 0 { 300 * MINUTE } else { 0 };
            // Some on the edge of being late, some beyond it, some that came before.
            let behind = [0, 0, MINUTE, DELAY, DELAY + LATENESS, DELAY + LATENESS + 1, 3 * DELAY];
            let ts = now - behind[rng.random_range(0..behind.len())];
            match tape.last() {
                Some(last) if rng.random_range(0..8) == 0 => tape.push(*last),
                _ => tape.push((rng.random_range(0..50), ts)),
            }
        }
        tape
    };
    inputs.iter().map(|input| (*input, [tape(0), tape(1)])).collect()
}

/// What a run left: every sealed file with its bytes, the late rows by input, partition and offset, and the ledger.
#[derive(Debug, PartialEq)]
struct Left {
    sealed: BTreeMap<PathBuf, Vec<u8>>,
    late: BTreeSet<(String, i32, i64)>,
    ledger: BTreeMap<String, Ledger>,
}

impl Left {
    fn of(out: &Path, report: Report) -> Left {
        let (mut sealed, mut late) = (BTreeMap::new(), BTreeSet::new());
        for path in files(out).into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")) {
            let name = path.strip_prefix(out).unwrap().to_owned();
            if !name.starts_with("_rescan") {
                sealed.insert(name, fs::read(&path).unwrap());
            } else if let Ok(name) = name.strip_prefix("_rescan/late") {
                let input = name.to_str().unwrap().split('-').next().unwrap();
                for rows in
                    ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap()
                {
                    let rows = rows.unwrap();
                    let partitions = rows.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().values();
                    let offsets = rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values();
                    for (partition, offset) in partitions.iter().zip(offsets) {
                        assert!(late.insert((input.to_owned(), *partition, *offset)), "{input} {offset} is late twice");
                    }
                }
            }
        }
        Left { sealed, late, ledger: report.ledger }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// A script of a command, over inputs that have its columns.
struct Subject {
    command: String,
    sql: String,
    schema: SchemaRef,
}

impl Subject {
    async fn job(&self, tapes: &Tapes, out: &Path, stop: &Arc<AtomicBool>) -> Job {
        job_over(&self.command, &self.sql, &self.schema, tapes.keys(), out, stop).await
    }

    fn player(&self, tapes: &[Vec<Event>; 2], rng: Option<ChaCha8Rng>) -> Player {
        Player { schema: self.schema.clone(), ..Player::of(tapes, rng) }
    }
}

/// Everything fits in memory, or some of it, or nothing.
fn history(rng: &mut ChaCha8Rng) -> History {
    let mut bytes = || [0, rng.random_range(0..4_000), usize::MAX][rng.random_range(0..3)];
    History { early_bytes: bytes(), waiting_bytes: bytes() }
}

/// Runs tapes to their end. With `rng` in small steps, with many commits, and stopped now and then.
async fn run(subject: &Subject, tapes: &Tapes, mut rng: Option<&mut ChaCha8Rng>, all_there: bool) -> Left {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let history = rng.as_mut().filter(|_| all_there).map(|rng| history(rng));
    loop {
        let stop = Arc::new(AtomicBool::new(false));
        let job = subject.job(tapes, dir.path(), &stop).await;
        let mut draw =
            |range: std::ops::Range<usize>, one: usize| rng.as_mut().map_or(one, |rng| rng.random_range(range));
        let cut = Cut {
            rows_max: draw(1..20, usize::MAX),
            interval: Duration::from_millis(1),
            commit_interval: if draw(0..3, 0) == 1 { Duration::ZERO } else { Duration::from_secs(600) },
            pending_rows_max: draw(1..30, usize::MAX),
            follow: false,
            history,
        };
        let steps = AtomicUsize::new(draw(1..12, usize::MAX));
        let feed = |(input, tapes): (&&str, &[Vec<Event>; 2])| {
            subject.player(tapes, rng.as_mut().map(|rng| ChaCha8Rng::seed_from_u64(rng.random()))).feed(input)
        };
        let feeds = tapes.iter().map(feed).collect();
        let report = stream(&job, feeds, cut, |_| {
            if steps.fetch_sub(1, Ordering::Relaxed) == 1 {
                stop.store(true, Ordering::Relaxed);
            }
        });
        let report = report.await.unwrap();
        if !report.stopped {
            return Left::of(dir.path(), report);
        }
    }
}

/// Runs tapes, or a part of each, to their end in one go.
async fn run_part(
    subject: &Subject,
    job: &Job,
    tapes: &Tapes,
    (rows_max, history): (usize, Option<History>),
    part: impl Fn(&str, Player) -> Player,
) -> Left {
    let (interval, commit_interval) = (Duration::from_millis(1), Duration::from_secs(600));
    let cut = Cut { rows_max, interval, commit_interval, pending_rows_max: usize::MAX, follow: false, history };
    let feeds = tapes.iter().map(|(input, tapes)| part(input, subject.player(tapes, None)).feed(input)).collect();
    let report = stream(job, feeds, cut, |_| {}).await.unwrap();
    Left::of(&job.out, report)
}

/// The sealed hours of an output, with rows or without.
fn hours(out: &Path) -> BTreeSet<PathBuf> {
    let sealed = files(out).into_iter().filter(|file| file.ends_with("_SUCCESS"));
    sealed.map(|file| file.strip_prefix(out).unwrap().parent().unwrap().to_owned()).collect()
}

/// Runs that each begin with the state that the one before kept, each over a part of the tapes; and one over all rows
/// that were late in none of them. What a run counts does not depend on how its part is cut.
async fn go_on(subject: &Subject, tapes: &Tapes, rng: &mut ChaCha8Rng, context: &str) {
    let stop = Arc::new(AtomicBool::new(false));
    let parts = rng.random_range(2..5);
    // No crash is looked at: nothing waits for a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let out = |part: usize| dir.path().join(part.to_string());
    let (mut sealed, mut sealed_hours, mut late) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut from: BTreeMap<&str, [usize; 2]> = tapes.keys().map(|input| (*input, [0, 0])).collect();
    for part in 0..parts {
        let mut to = from.clone();
        for (input, tapes) in tapes {
            for partition in 0..2 {
                let (from, len) = (from[input][partition], tapes[partition].len());
                to.get_mut(input).unwrap()[partition] =
                    if part + 1 == parts { len } else { rng.random_range(from..=len) };
            }
        }
        let init_state = if part == 0 { Vec::new() } else { vec![out(part - 1)] };
        let part_of = |input: &str, player: Player| Player { from: from[input], to: to[input], ..player };
        let mut lefts = Vec::new();
        let all_there = rng.random();
        for (out, rows_max) in [(out(part), 7), (out(part).with_extension("row by row"), 1)] {
            let job = subject.job(tapes, &out, &stop).await;
            let job = Job { init_state: init_state.clone(), keep_state: true, ..job };
            let history = Some(history(rng)).filter(|_| all_there);
            lefts.push(run_part(subject, &job, tapes, (rows_max, history), part_of).await);
        }
        assert_eq!(lefts[0].ledger, lefts[1].ledger, "{context}");
        let left = lefts.swap_remove(0);
        assert!(left.late.is_subset(&counted(tapes, false).0), "late where one run takes it: {context}");
        late.extend(left.late);
        // An hour of two runs is the later one's.
        for hour in hours(&out(part)) {
            sealed.retain(|file: &PathBuf, _: &mut Vec<u8>| file.parent() != Some(&hour));
            sealed_hours.insert(hour);
        }
        sealed.extend(left.sealed);
        from = to;
    }
    let job = subject.job(tapes, &out(parts), &stop).await;
    let job = Job { time: TimePolicy { watermark_delay: 1 << 56, ..job.time }, ..job };
    let left_out = |input: &str, player: Player| {
        let of = late.iter().filter(|(of, _, _)| of == input);
        Player { left_out: of.map(|(_, partition, at)| (*partition as usize, *at as usize)).collect(), ..player }
    };
    let whole = run_part(subject, &job, tapes, (7, None), left_out).await;
    assert!(whole.late.is_empty(), "{context}");
    assert_eq!(sealed_hours, hours(&job.out), "{context}");
    assert!(sealed == whole.sealed, "sealed bytes differ over {parts} runs: {context}");
}

/// Source position of a late row: file, partition, offset.
type Late = BTreeSet<(String, i32, i64)>;

/// Row by row: late is whoever is behind its own partition's newest event so far by more than delay and lateness.
fn counted(tapes: &Tapes, keeps_rows: bool) -> (Late, BTreeMap<String, Ledger>) {
    let (mut late, mut ledgers) = (BTreeSet::new(), BTreeMap::new());
    for (input, tapes) in tapes {
        let mut ledger = Ledger::default();
        let mut seen = BTreeSet::new();
        for (partition, tape) in tapes.iter().enumerate() {
            let mut newest = i64::MIN;
            for (at, event) in tape.iter().enumerate() {
                ledger.read += 1;
                if event.1 < newest.saturating_sub(DELAY + LATENESS) {
                    ledger.late += 1;
                    late.insert(((*input).to_owned(), partition as i32, at as i64));
                } else if keeps_rows && !seen.insert(*event) {
                    ledger.duplicate += 1;
                } else {
                    ledger.accepted += 1;
                }
                newest = newest.max(event.1);
            }
        }
        ledgers.insert((*input).to_owned(), ledger);
    }
    (late, ledgers)
}

/// What f knows of repeats, where that is checked: whether it has its rows in state. What a repeat is to `ingest` depends on
/// its horizon.
fn keeps_rows(command: &str) -> Option<bool> {
    match command {
        "join" => Some(true),
        "aggregate" => Some(false),
        _ => None,
    }
}

fn law(command: &str, sql: &str) {
    let base: u64 = std::env::var("RESCAN_SEED").map_or(7, |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let schema = runtime.block_on(schema_of(command, sql));
    let script = runtime.block_on(Scan::new(&Script::parse(command, sql).unwrap(), &Binding::default())).unwrap();
    let inputs: Vec<&'static str> = script.inputs().iter().map(|input| &*input.name.clone().leak()).collect();
    let subject = Subject { command: command.to_owned(), sql: sql.to_owned(), schema };
    let cases = if keeps_rows(command).is_some() || command == "ingest" { CASES[0] } else { CASES[1] };
    for seed in base..base + cases {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tapes = tapes(&mut rng, &inputs);
        let whole = runtime.block_on(run(&subject, &tapes, None, false));
        let pieces = runtime.block_on(run(&subject, &tapes, Some(&mut rng), false));
        let context = format!("{command}, RESCAN_SEED={seed}\n{tapes:#?}");
        assert_eq!((&whole.late, &whole.ledger), (&pieces.late, &pieces.ledger), "{context}");
        assert!(whole.sealed == pieces.sealed, "sealed bytes differ: {context}");
        whole.ledger.iter().for_each(|(input, ledger)| ledger.check(input).unwrap());
        let (late, ledger) = counted(&tapes, keeps_rows(command).unwrap_or(false));
        assert_eq!(whole.late, late, "{context}");
        if keeps_rows(command).is_some() {
            assert_eq!(whole.ledger, ledger, "{context}");
        }
        runtime.block_on(go_on(&subject, &tapes, &mut rng, &context));
        runtime.block_on(all_there(&subject, &tapes, &mut rng, &context));
    }
}

/// A run over history, and a stream that waits for every row.
async fn all_there(subject: &Subject, tapes: &Tapes, rng: &mut ChaCha8Rng, context: &str) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let waits = subject.job(tapes, dir.path(), &Arc::new(AtomicBool::new(false))).await;
    let waits = Job { time: TimePolicy { watermark_delay: 1 << 56, ..waits.time }, ..waits };
    let whole = run_part(subject, &waits, tapes, (usize::MAX, None), |_, player| player).await;
    let history = run(subject, tapes, Some(rng), true).await;
    assert!(history.late.is_empty(), "{context}");
    assert_eq!(history.ledger, whole.ledger, "{context}");
    assert!(history.sealed == whole.sealed, "sealed bytes of a run over history differ: {context}");
}

/// Every script in `sql/`, as it is.
#[test]
fn every_script() {
    let scripts = scripts_of_commands();
    std::thread::scope(|threads| {
        for (command, sql) in &scripts {
            threads.spawn(move || law(command, sql));
        }
    });
}
