//! Chunking, for whole runs: however a stream is polled, cut into steps, committed and stopped, the sealed bytes, the
//! late rows and the ledger are those of one step, and the late rows and the ledger are what a count by hand says. And
//! wherever one run ends and the next begins with its state, the sealed bytes are those of all rows that were not late.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use connector::{Chunk, Offset, Poll, Source, TIME, position_fields};
use journal::Ledger;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use runner::{Cut, Feed, Job, Report, TimePolicy, stream};
use scan::{Binding, Limits, Literal, Scan, Script};

const CASES: u64 = 64;
const MINUTE: i64 = 60_000_000;
const DELAY: i64 = 30 * MINUTE;
const LATENESS: i64 = 5 * MINUTE;
const PARTITIONS: [&str; 2] = ["a", "b"];

/// An event: its number, which says all of it but its time, and that.
type Event = (u32, i64);

/// What each source partition of an input holds, in order.
type Tapes = BTreeMap<&'static str, [Vec<Event>; 2]>;

fn tapes(rng: &mut ChaCha8Rng, inputs: &[&'static str]) -> Tapes {
    let mut tape = |_| {
        let mut now = 1_700_000_000_000_000i64.div_euclid(60 * MINUTE) * 60 * MINUTE;
        let mut tape: Vec<Event> = Vec::new();
        for _ in 0..rng.random_range(0..40) {
            now += rng.random_range(0..20) * MINUTE;
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

fn schema() -> SchemaRef {
    let own = [("event_id", DataType::Utf8View), ("ts", TIME), ("request_id", DataType::Utf8View)];
    let own = own.into_iter().chain([("video_id", DataType::Int64)]);
    let own = own.map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(own.chain(position_fields()).collect::<Vec<_>>()))
}

/// Tapes as a source that gives few rows at a time, and now and then none.
struct Player {
    tapes: [Vec<Event>; 2],
    /// Where each begins and ends.
    from: [usize; 2],
    to: [usize; 2],
    /// By partition: positions that are not given.
    left_out: BTreeSet<(usize, usize)>,
    at: [usize; 2],
    /// The partitions that there are.
    names: Vec<String>,
    /// Rows of a chunk at most; every chunk has others.
    rng: Option<ChaCha8Rng>,
}

impl Player {
    fn of(tapes: &[Vec<Event>; 2], rng: Option<ChaCha8Rng>) -> Player {
        let (to, names) = ([tapes[0].len(), tapes[1].len()], PARTITIONS.map(str::to_owned).to_vec());
        Player { tapes: tapes.clone(), from: [0, 0], to, left_out: BTreeSet::new(), at: [0, 0], names, rng }
    }

    fn feed(self, input: &str) -> Feed {
        Feed { input: input.to_owned(), time: "ts".to_owned(), source: Box::new(self), door: None }
    }
}

#[async_trait]
impl Source for Player {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn partitions(&self) -> &[String] {
        &self.names
    }

    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()> {
        for (partition, name) in PARTITIONS.iter().enumerate() {
            self.at[partition] = offsets.get(*name).map_or(self.from[partition], |offset| offset.row as usize);
        }
        Ok(())
    }

    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll> {
        let (tape, to) = (&self.tapes[partition], self.to[partition]);
        let left_out = |at: &usize| self.left_out.contains(&(partition, *at));
        let at = (self.at[partition]..to).find(|at| !left_out(at)).unwrap_or(to);
        let some = self.rng.as_mut().map_or(usize::MAX, |rng| rng.random_range(0..6));
        let end = at.saturating_add(some.min(rows_max)).min(to);
        let end = (at..end).find(left_out).unwrap_or(end);
        if end == at {
            return Ok(if at == to { Poll::Finished } else { Poll::Waiting });
        }
        self.at[partition] = end;
        let next = Offset { file: String::new(), position: end as u64, row: end as u64 };
        let rows = rows(&tape[at..end], partition, at);
        Ok(Poll::Chunk(Chunk { rows, rejected: Vec::new(), read: (end - at) as u64, next }))
    }
}

fn rows(events: &[Event], partition: usize, first: usize) -> RecordBatch {
    let text = |value: &dyn Fn(&Event) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(events.iter().map(value)))
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|event| format!("e{}", event.0)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.1))),
        text(&|event| format!("request {}", event.0 % 6)),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|event| i64::from(event.0 % 4)))),
        text(&|_| "tape".to_owned()),
        Arc::new(Int32Array::from(vec![partition as i32; events.len()])),
        Arc::new(Int64Array::from_iter_values((first..first + events.len()).map(|at| at as i64))),
        new_null_array(&TIME, events.len()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A script as a job of its own in a directory.
async fn job(command: &str, sql: &str, tapes: &Tapes, out: &Path, stop: &Arc<AtomicBool>) -> Job {
    let params = if command == "join" { vec![("type", Literal::Text("full".to_owned()))] } else { vec![] };
    let binding = Binding {
        inputs: tapes.keys().map(|input| ((*input).to_owned(), schema())).collect(),
        params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Binding::default()
    };
    Job {
        command: command.to_owned(),
        scan: Scan::new(&Script::parse(command, sql).unwrap(), &binding).await.unwrap(),
        out: out.to_owned(),
        config: BTreeMap::new(),
        // A partition that waits for a moment is not idle: that would depend on the clock.
        time: TimePolicy {
            watermark_delay: DELAY,
            allowed_lateness: LATENESS,
            idle_timeout: 3_600_000_000,
            max_future: 0,
        },
        limits: Limits { threads: 1, memory: None },
        sides: Vec::new(),
        merged: None,
        init_state: Vec::new(),
        keep_state: false,
        sampling: None,
        stop: stop.clone(),
    }
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

/// Runs tapes to their end. With `rng` in small steps, with many commits, and stopped now and then.
async fn run(command: &str, sql: &str, tapes: &Tapes, mut rng: Option<&mut ChaCha8Rng>) -> Left {
    let dir = tempfile::tempdir().unwrap();
    loop {
        let stop = Arc::new(AtomicBool::new(false));
        let job = job(command, sql, tapes, dir.path(), &stop).await;
        let mut draw =
            |range: std::ops::Range<usize>, one: usize| rng.as_mut().map_or(one, |rng| rng.random_range(range));
        let cut = Cut {
            rows_max: draw(1..20, usize::MAX),
            interval: Duration::from_millis(1),
            commit_interval: if draw(0..3, 0) == 1 { Duration::ZERO } else { Duration::from_secs(600) },
            pending_rows_max: draw(1..30, usize::MAX),
            follow: false,
        };
        let steps = AtomicUsize::new(draw(1..12, usize::MAX));
        let feed = |(input, tapes): (&&str, &[Vec<Event>; 2])| {
            Player::of(tapes, rng.as_mut().map(|rng| ChaCha8Rng::seed_from_u64(rng.random()))).feed(input)
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
async fn run_part(job: &Job, tapes: &Tapes, part: impl Fn(&str, Player) -> Player) -> Left {
    let (interval, commit_interval) = (Duration::from_millis(1), Duration::from_secs(600));
    let cut = Cut { rows_max: 7, interval, commit_interval, pending_rows_max: usize::MAX, follow: false };
    let feeds = tapes.iter().map(|(input, tapes)| part(input, Player::of(tapes, None)).feed(input)).collect();
    let report = stream(job, feeds, cut, |_| {}).await.unwrap();
    Left::of(&job.out, report)
}

/// Runs that each begin with the state that the one before kept, each over a part of the tapes; and one over all rows
/// that were late in none of them.
async fn go_on(command: &str, sql: &str, tapes: &Tapes, rng: &mut ChaCha8Rng, context: &str) {
    let stop = Arc::new(AtomicBool::new(false));
    let parts = rng.random_range(2..5);
    // No crash is looked at: nothing waits for a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let out = |part: usize| dir.path().join(part.to_string());
    let (mut sealed, mut late) = (BTreeMap::new(), BTreeSet::new());
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
        let job = job(command, sql, tapes, &out(part), &stop).await;
        let job = Job { init_state, keep_state: true, ..job };
        let part_of = |input: &str, player: Player| Player { from: from[input], to: to[input], ..player };
        let left = run_part(&job, tapes, part_of).await;
        late.extend(left.late);
        // An hour of two runs is the later one's.
        for hour in files(&job.out).iter().filter(|file| file.ends_with("_SUCCESS")) {
            let hour = hour.strip_prefix(&job.out).unwrap().parent().unwrap();
            sealed.retain(|file: &PathBuf, _: &mut Vec<u8>| file.parent() != Some(hour));
        }
        sealed.extend(left.sealed);
        from = to;
    }
    let job = job(command, sql, tapes, &out(parts), &stop).await;
    let job = Job { time: TimePolicy { watermark_delay: 1 << 56, ..job.time }, ..job };
    let left_out = |input: &str, player: Player| {
        let of = late.iter().filter(|(of, _, _)| of == input);
        Player { left_out: of.map(|(_, partition, at)| (*partition as usize, *at as usize)).collect(), ..player }
    };
    let whole = run_part(&job, tapes, left_out).await;
    assert!(whole.late.is_empty(), "{context}");
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

/// `keeps_rows`: f has its rows in state, and so knows repeats.
fn law(command: &str, sql: &str, inputs: &[&'static str], keeps_rows: Option<bool>) {
    let base: u64 = std::env::var("RESCAN_SEED").map_or(7, |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for seed in base..base + CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tapes = tapes(&mut rng, inputs);
        let whole = runtime.block_on(run(command, sql, &tapes, None));
        let pieces = runtime.block_on(run(command, sql, &tapes, Some(&mut rng)));
        let context = format!("{command}, RESCAN_SEED={seed}\n{tapes:#?}");
        assert_eq!((&whole.late, &whole.ledger), (&pieces.late, &pieces.ledger), "{context}");
        assert!(whole.sealed == pieces.sealed, "sealed bytes differ: {context}");
        whole.ledger.iter().for_each(|(input, ledger)| ledger.check(input).unwrap());
        let (late, ledger) = counted(&tapes, keeps_rows.unwrap_or(false));
        assert_eq!(whole.late, late, "{context}");
        if keeps_rows.is_some() {
            assert_eq!(whole.ledger, ledger, "{context}");
        }
        runtime.block_on(go_on(command, sql, &tapes, &mut rng, &context));
    }
}

/// Its rows of hours that are sealed are late.
#[tokio::test]
async fn a_partition_that_appears_while_a_run_goes_on_is_behind_the_job() {
    let (dir, sql) = (tempfile::tempdir().unwrap(), include_str!("../../../../sql/ingest.sql"));
    let at = |hour: i64| 1_700_000_000_000_000i64.div_euclid(60 * MINUTE) * 60 * MINUTE + hour * 60 * MINUTE;
    let first: Vec<Event> = (0..6).map(|hour| (hour, at(i64::from(hour)))).collect();
    let tapes = Tapes::from([("events", [first, vec![(7, at(0)), (8, at(5))]])]);
    let stop = Arc::new(AtomicBool::new(false));
    let cut = Cut {
        rows_max: 1,
        interval: Duration::from_millis(1),
        commit_interval: Duration::ZERO,
        pending_rows_max: usize::MAX,
        follow: false,
    };
    let player = Player { names: vec!["a".to_owned()], ..Player::of(&tapes["events"], None) };
    let begun = job("ingest", sql, &tapes, dir.path(), &stop).await;
    let steps = AtomicUsize::new(4);
    let report = stream(&begun, vec![player.feed("events")], cut, |_| {
        stop.store(steps.fetch_sub(1, Ordering::Relaxed) == 1, Ordering::Relaxed);
    });
    assert!(report.await.unwrap().sealed.len() > 1);
    stop.store(false, Ordering::Relaxed);
    let all = Player::of(&tapes["events"], None).feed("events");
    let report = stream(&begun, vec![all], cut, |_| {}).await.unwrap();
    let ledger = &report.ledger["events"];
    assert_eq!((ledger.read, ledger.accepted, ledger.late), (8, 7, 1), "{ledger:?}");
}

#[test]
fn join() {
    law("join", include_str!("../../../../sql/join.sql"), &["impressions", "plays"], Some(true));
}

#[test]
fn aggregate() {
    law("aggregate", include_str!("../../../../sql/aggregate.sql"), &["impressions", "plays"], Some(false));
}

/// What a repeat is to `ingest` depends on its horizon, so that its ledger is checked for balance only.
#[test]
fn ingest() {
    law("ingest", include_str!("../../../../sql/ingest.sql"), &["events"], None);
}
