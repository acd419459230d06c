//! Directories that are followed: run after run, whatever happens to their files between two runs and during one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};

use journal::{Epoch, Journal};
use serde_json::{Value, json};

use super::workdir::{Ran, Workdir, wait_for};

const LINE: &str = "ingest --in feed --schema plays --out out --follow --interval 10ms --commit-interval 0s";

const CHAIN: &str = "_rescan/journal/stream";

fn play(id: u32) -> String {
    format!("{{\"event_id\":\"{id:05}\",\"ts\":\"2016-11-07T10:00:00Z\"}}\n")
}

fn append(path: &Path, ids: std::ops::Range<u32>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(ids.map(play).collect::<String>().as_bytes()).unwrap();
}

/// Tells a run to stop once it has read so many rows in all, and waits for its end.
fn stop_at(dir: &Workdir, mut child: Child, rows: u64) -> Ran {
    if wait_for(&mut child, || dir.epoch("out").1 >= rows) {
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    }
    Ran::of(child.wait_with_output().unwrap())
}

/// The ids that the run has taken so far, sealed or not: one that reads the same files anew takes the same ones.
fn ids(dir: &Workdir, out: &str) -> Vec<Value> {
    dir.rows(out).iter().map(|row| row["event_id"].clone()).collect()
}

#[test]
fn runs_take_up_all_that_came_between_them_and_meanwhile() {
    let dir = Workdir::new();
    let feed = dir.path("feed");
    fs::create_dir(&feed).unwrap();
    append(&feed.join("app.jsonl"), 0..100);
    let ran = stop_at(&dir, dir.command(LINE).spawn().unwrap(), 100);
    assert_eq!(ran.code, Some(75), "{}", ran.err);
    // Between two runs: rows at the end, a rotation, a file that sorts before all others.
    append(&feed.join("app.jsonl"), 100..150);
    fs::rename(feed.join("app.jsonl"), feed.join("app.jsonl.1")).unwrap();
    append(&feed.join("app.jsonl"), 150..170);
    append(&feed.join("a.jsonl"), 170..200);
    let mut child = dir.command(LINE).spawn().unwrap();
    assert!(wait_for(&mut child, || dir.epoch("out").1 >= 200));
    // During one: a copy that is truncated, and rows for a file that was rotated away.
    fs::copy(feed.join("app.jsonl"), feed.join("app.jsonl.2")).unwrap();
    fs::write(feed.join("app.jsonl"), "").unwrap();
    append(&feed.join("app.jsonl"), 200..210);
    append(&feed.join("app.jsonl.1"), 210..220);
    let ran = stop_at(&dir, child, 220);
    assert_eq!(ran.code, Some(75), "{}", ran.err);
    let ledger = json!({ "read": 220, "accepted": 220, "duplicate": 0, "late": 0, "rejected": 0, "filtered": 0 });
    assert_eq!(dir.ledger("out")["events"], ledger);
    let lines: usize =
        fs::read_dir(&feed).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap().lines().count()).sum();
    assert_eq!(lines, 220, "as the files themselves say");
}

#[test]
fn what_changed_between_two_runs_stops_the_second() {
    let dir = Workdir::new();
    let feed = dir.path("feed");
    fs::create_dir(&feed).unwrap();
    append(&feed.join("a.jsonl"), 0..10);
    append(&feed.join("b.jsonl"), 10..20);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 20).code, Some(75));
    for (text, said) in [(play(0), "a.jsonl was truncated"), (play(7).repeat(10), "a.jsonl was replaced or rewritten")]
    {
        dir.write("feed/a.jsonl", text);
        let ran = dir.run(LINE);
        assert_eq!(ran.code, Some(65), "{}", ran.err);
        assert!(ran.err.contains(said) && ran.err.contains("another --out"), "{}", ran.err);
    }
    assert_eq!(dir.epoch("out").1, 20);
}

/// An epoch writes down the places of the files that have changed, and not of all that are followed.
#[test]
fn an_epoch_of_many_files_names_those_that_changed() {
    const SOURCE: &str = "events/feed";
    let dir = Workdir::new();
    let feed = dir.path("feed");
    let file = |n: u32| feed.join(format!("{n:04}.jsonl"));
    fs::create_dir(&feed).unwrap();
    (0..600).for_each(|n| append(&file(n), n..n + 1));
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 600).code, Some(75));
    append(&file(5), 600..601);
    fs::remove_file(file(7)).unwrap();
    fs::rename(file(8), feed.join("8.jsonl")).unwrap();
    append(&feed.join("new.jsonl"), 601..602);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 602).code, Some(75));
    let last = || serde_json::from_value::<Epoch>(dir.record("out").unwrap().1).unwrap();
    let mut epoch = last();
    let offset = epoch.sources[SOURCE].offset.clone();
    let base = dir.path("out").join(&epoch.offsets[SOURCE].path);
    let mut all: Value = serde_json::from_slice(&fs::read(&base).unwrap()).unwrap();
    let files = all["files"].as_object_mut().unwrap();
    // None where the last epoch named all files anew: when it does depends on how many epochs the run made.
    let changed = offset["files"].as_object().cloned().unwrap_or_default();
    assert!(changed.len() <= 256 && files.len() > 256, "{} and {}", changed.len(), files.len());
    let damaged = fs::read_to_string(&base).unwrap().replacen("0001", "0100", 1);
    let whole = fs::read(&base).unwrap();
    fs::write(&base, damaged).unwrap();
    let ran = dir.run(LINE);
    assert!(ran.code == Some(65) && ran.err.contains("-offsets-0.json"), "{:?} {}", ran.code, ran.err);
    fs::write(&base, whole).unwrap();
    // As a version wrote it that named all of them in every epoch.
    files.retain(|name, _| !offset["without"].as_array().is_some_and(|gone| gone.contains(&json!(name))));
    files.extend(changed);
    assert!(files.contains_key("0005.jsonl") && files.contains_key("new.jsonl"), "{all}");
    (epoch.number, epoch.token) = (epoch.number + 1, "before".to_owned());
    (epoch.publish, epoch.remove, epoch.markers, epoch.offsets) = Default::default();
    epoch.sources.get_mut(SOURCE).unwrap().offset = all;
    let mut journal = Journal::open(&dir.path("out"), Path::new(CHAIN), epoch.config.clone()).unwrap();
    journal.commit(epoch).unwrap();
    drop(journal);
    append(&file(5), 602..603);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 603).code, Some(75));
    assert!(last().offsets.contains_key(SOURCE));
    let ledger = json!({ "read": 603, "accepted": 603, "duplicate": 0, "late": 0, "rejected": 0, "filtered": 0 });
    assert_eq!(dir.ledger("out")["events"], ledger);
    let left: Vec<String> =
        dir.files("out/_rescan/state").into_iter().filter(|path| path.contains("offsets")).collect();
    assert!(left.len() <= 2, "{left:?}");
}

/// A new file may have the name of one that was renamed, also where only the epoch of an earlier run tells of the
/// renaming.
#[test]
fn a_name_that_became_free_stays_so_run_after_run() {
    let dir = Workdir::new();
    let feed = dir.path("feed");
    let file = |n: u32| feed.join(format!("{n:04}.jsonl"));
    fs::create_dir(&feed).unwrap();
    (0..300).for_each(|n| append(&file(n), n..n + 1));
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 300).code, Some(75));
    let go_on = |name: u32, ids: std::ops::Range<u32>| {
        append(&file(name), ids.clone());
        let ran = stop_at(&dir, dir.command(LINE).spawn().unwrap(), u64::from(ids.end));
        assert_eq!(ran.code, Some(75), "{}", ran.err);
    };
    fs::rename(file(8), feed.join("8.jsonl")).unwrap();
    fs::rename(file(9), feed.join("9.jsonl")).unwrap();
    go_on(5, 300..301);
    let epoch: Epoch = serde_json::from_value(dir.record("out").unwrap().1).unwrap();
    assert_eq!(epoch.sources["events/feed"].offset["without"], json!(["0008.jsonl", "0009.jsonl"]));
    go_on(8, 301..303);
    go_on(9, 303..305);
    assert_eq!(dir.ledger("out")["events"]["accepted"], 305);
}

/// The last epoch again, as a version wrote it that had one place for all files.
fn as_before(dir: &Workdir, file: &str, rows: u64) {
    let (root, chain) = (dir.path("out"), Path::new(CHAIN));
    let (_, record) = dir.record("out").unwrap();
    let last: Epoch = serde_json::from_value(record).unwrap();
    let mut journal = Journal::open(&root, chain, last.config.clone()).unwrap();
    let mut epoch = Epoch { number: last.number + 1, token: "before".to_owned(), ..last };
    let bytes = fs::metadata(dir.path("feed").join(file)).unwrap().len();
    let facts = epoch.sources.get_mut("events/feed").unwrap();
    facts.offset = json!({ "file": file, "position": bytes, "row": rows });
    (epoch.publish, epoch.remove, epoch.markers) = (vec![], vec![], vec![]);
    journal.commit(epoch).unwrap();
}

#[test]
fn a_journal_with_one_place_for_all_files_goes_on() {
    let dir = Workdir::new();
    let feed = dir.path("feed");
    fs::create_dir(&feed).unwrap();
    append(&feed.join("a.jsonl"), 0..10);
    append(&feed.join("b.jsonl"), 10..15);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 15).code, Some(75));
    as_before(&dir, "b.jsonl", 5);
    append(&feed.join("b.jsonl"), 15..17);
    append(&feed.join("c.jsonl"), 17..20);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 20).code, Some(75));
    append(&feed.join("a.jsonl"), 20..22);
    assert_eq!(stop_at(&dir, dir.command(LINE).spawn().unwrap(), 22).code, Some(75));
    assert_eq!(dir.ledger("out")["events"]["accepted"], 22);
    // That one place does not tell that rows came before it since.
    as_before(&dir, "c.jsonl", 3);
    append(&feed.join("a.jsonl"), 22..23);
    let ran = dir.run(LINE);
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(
        ran.err.contains("22 rows were read of events/feed, and its files up to that place hold 23"),
        "{}",
        ran.err
    );
}

#[test]
fn a_bounded_run_reads_gzip_and_rotated_files_in_order() {
    let dir = Workdir::new();
    let feed = dir.path("feed");
    fs::create_dir(&feed).unwrap();
    append(&feed.join("app.jsonl.2"), 0..5);
    assert!(Command::new("gzip").arg(feed.join("app.jsonl.2")).status().unwrap().success());
    append(&feed.join("app.jsonl.1"), 5..8);
    append(&feed.join("app.jsonl"), 8..10);
    let line = "ingest --in feed --schema plays --out out";
    dir.ok(line);
    assert_eq!(ids(&dir, "out"), (0..10).map(|id| json!(format!("{id:05}"))).collect::<Vec<_>>());
    assert!(dir.ok(line).err.contains("up to date"));
}
