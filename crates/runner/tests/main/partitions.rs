//! Source partitions that come late, or fall silent, and side inputs that change between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use connector::Whole;
use runner::{Cut, Feed, Idle, Job, SideInput, load_side, stream};
use scan::{Binding, Scan, Script, Side};

use super::player::{Event, MINUTE, Player, Tapes, job, schema};

const INGEST: &str = include_str!("../../../../sql/ingest.sql");

/// A row a step, committed at once.
const CUT: Cut = Cut {
    rows_max: 1,
    interval: Duration::from_millis(1),
    commit_interval: Duration::ZERO,
    pending_rows_max: usize::MAX,
    follow: false,
    history: None,
};

/// The beginning of an hour, counted from one.
fn at(hour: i64) -> i64 {
    1_700_000_000_000_000i64.div_euclid(60 * MINUTE) * 60 * MINUTE + hour * 60 * MINUTE
}

/// Six hours with an event each in the first partition, and these in the second.
fn events(second: Vec<Event>) -> Tapes {
    Tapes::from([("events", [(0..6).map(|hour| (hour, at(i64::from(hour)))).collect(), second])])
}

/// Its rows of hours that are sealed are late.
#[tokio::test]
async fn a_partition_that_appears_while_a_run_goes_on_is_behind_the_job() {
    let (dir, tapes) = (tempfile::tempdir().unwrap(), events(vec![(7, at(0)), (8, at(5))]));
    let stop = Arc::new(AtomicBool::new(false));
    let player = Player { names: vec!["a".to_owned()], ..Player::of(&tapes["events"], None) };
    let begun = job("ingest", INGEST, &tapes, dir.path(), &stop).await;
    let steps = AtomicUsize::new(4);
    let report = stream(&begun, vec![player.feed("events")], CUT, |_| {
        stop.store(steps.fetch_sub(1, Ordering::Relaxed) == 1, Ordering::Relaxed);
    });
    assert!(report.await.unwrap().sealed.len() > 1);
    stop.store(false, Ordering::Relaxed);
    let all = Player::of(&tapes["events"], None).feed("events");
    let report = stream(&begun, vec![all], CUT, |_| {}).await.unwrap();
    let ledger = &report.ledger["events"];
    assert_eq!((ledger.read, ledger.accepted, ledger.late), (8, 7, 1), "{ledger:?}");
}

/// Until it has been silent for long enough.
#[tokio::test]
async fn a_silent_partition_holds_the_watermark() {
    for (idle, sealed) in [(Idle::Never, 0), (Idle::After(Duration::ZERO), 4)] {
        let (dir, tapes) = (tempfile::tempdir().unwrap(), events(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let job = job("ingest", INGEST, &tapes, dir.path(), &stop).await;
        let player = Player { ends: false, ..Player::of(&tapes["events"], None) };
        let steps = AtomicUsize::new(20);
        let feed = Feed { idle, ..player.feed("events") };
        let report = stream(&job, vec![feed], CUT, |_| {
            stop.store(steps.fetch_sub(1, Ordering::Relaxed) == 1, Ordering::Relaxed);
        });
        let report = report.await.unwrap();
        assert_eq!((report.ledger["events"].accepted, report.sealed.len()), (6, sealed), "{idle:?}");
    }
}

/// What was made with the last copy is decided before another is looked for, so that one epoch names one.
#[tokio::test]
async fn an_epoch_has_one_copy_of_a_side_input() {
    let (dir, tapes) = (tempfile::tempdir().unwrap(), events(Vec::new()));
    let file = dir.path().join("videos.jsonl");
    std::fs::write(&file, "{\"video_id\":1,\"title\":\"old\"}\n").unwrap();
    let out = dir.path().join("out");
    let place = Whole::new(&file.to_string_lossy(), &BTreeMap::new());
    let loaded = load_side("videos", &place, &out, None).await.unwrap();
    let side = Side::new("videos", &["video_id".to_owned()], "ts", &loaded.rows).unwrap();
    let side = SideInput::new(place, 0, side, &loaded).unwrap();
    let inputs = BTreeMap::from([("events".to_owned(), side.extended(&schema()).unwrap())]);
    let binding = Binding { inputs, ..Binding::default() };
    let scan = Scan::new(&Script::parse("ingest", INGEST).unwrap(), &binding).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let job = Job { scan, sides: vec![side], ..job("ingest", INGEST, &tapes, &out, &stop).await };
    let seldom = Cut { commit_interval: Duration::from_secs(600), ..CUT };
    let feed = Player::of(&tapes["events"], None).feed("events");
    let report = stream(&job, vec![feed], seldom, |_| {}).await.unwrap();
    assert!(report.epochs >= 6, "{} epochs for six rows, each of which may have another copy", report.epochs);
}
