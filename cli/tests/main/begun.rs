//! Outputs that another run has begun: of another command or with other flags, running still, or damaged since.

use std::fs::{self, File};
use std::path::PathBuf;

use serde_json::Value;

use super::errors::{JOIN, STREAM, demo, failed};
use super::workdir::Workdir;

/// A stream that was killed after its first commits.
fn killed() -> Workdir {
    let dir = demo();
    let line = format!("{STREAM} --max-rows 100 --commit-interval 0s --follow");
    assert!(dir.kill_when(&line, || dir.epoch("out").0 >= 2));
    dir
}

/// A file that a killed run needs to go on.
fn needed(dir: &Workdir, kind: &str) -> PathBuf {
    let (record, epoch) = dir.record("out").unwrap();
    let open = epoch["open"].as_object().unwrap().values().flat_map(|files| files.as_array().unwrap());
    let path = |file: &Value| dir.path("out").join(file["path"].as_str().unwrap());
    match kind {
        "journal" => record,
        "state" => path(&epoch["state"][0]),
        // Killed between an epoch's decision and its publication, the last ones are elsewhere.
        _ => open.map(path).find(|path| path.exists()).unwrap(),
    }
}

#[test]
fn damaged_journal_state_and_open_rows() {
    for kind in ["journal", "state", "open"] {
        for cut in [true, false] {
            let dir = killed();
            let file = needed(&dir, kind);
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            if cut {
                bytes.truncate(middle)
            } else {
                bytes[middle] ^= 1
            }
            fs::write(file, bytes).unwrap();
            let said = ["out/_rescan", "restore the file, or start over with another --out"];
            failed(&dir.run(STREAM), 65, &said);
            if kind == "journal" {
                failed(&dir.run("inspect out"), 65, &["out/_rescan/journal/stream"]);
            }
        }
    }
}

#[test]
fn damaged_outputs_inspected() {
    let dir = demo();
    dir.ok(STREAM);
    let journal = dir.path("out/_rescan/journal/stream");
    let (record, _) = dir.record("out").unwrap();
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    failed(&dir.run("inspect out"), 65, &["out/_rescan/journal/stream", "its record is gone"]);
    fs::write(journal.join("0000000009.json"), &text).unwrap();
    fs::write(record, text).unwrap();
    failed(&dir.run("inspect out"), 65, &["out/_rescan/journal/stream", "are missing"]);
    fs::remove_dir_all(journal).unwrap();
    dir.write("out/_rescan/sample.json", "{");
    failed(&dir.run("inspect out"), 65, &["out/_rescan/sample.json"]);
    dir.write("out/_rescan/owner.json", "{");
    failed(&dir.run(STREAM), 65, &["out/_rescan/owner.json"]);
}

/// An output is one command's and one runner's, whatever the hours and the other flags.
#[test]
fn outputs_of_others() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --hour 2016-11-07T00"));
    let before = dir.files("out");
    let said = ["out is of batch runs of join, with the output joined", "another --out"];
    for line in [JOIN.replace("join", "aggregate"), JOIN.replace("join", "attribute"), STREAM.to_owned()] {
        failed(&dir.run(&line), 78, &said);
        failed(&dir.run(&format!("{line} --force")), 78, &said);
    }
    failed(&dir.run("ingest --in raw/plays.jsonl --schema plays --out out"), 78, &["and not of a stream of ingest"]);
    assert_eq!(dir.files("out"), before);
    dir.ok(&format!("{JOIN} --within 1h"));
    let credits = JOIN.replace("join", "attribute").replace("--out out", "--out credits");
    dir.ok(&credits);
    failed(&dir.run(&format!("{credits} --tuples")), 78, &["with the output attributed", "with the output tuples"]);
    dir.ok(&STREAM.replace("--out out", "--out live"));
    failed(&dir.run(&JOIN.replace("--out out", "--out live")), 78, &["live is of a stream of join"]);
}

#[test]
fn a_second_runner() {
    let dir = demo();
    let mut second = None;
    let mut look = || {
        if dir.epoch("out").0 == 0 {
            return false;
        }
        second = Some(dir.run(STREAM));
        true
    };
    dir.kill_when(&format!("{STREAM} --commit-interval 0s --follow"), &mut look);
    failed(&second.unwrap(), 75, &["LOCK", "locked by process ", "rescan join", "wait for it to end"]);
    dir.ok(STREAM);
}

#[test]
fn a_second_runner_of_an_hour() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --hour 2016-11-07T00"));
    let lock = File::options().write(true).open(dir.path("out/_rescan/journal/batch-2016-11-07T00/LOCK")).unwrap();
    lock.lock().unwrap();
    dir.ok(&format!("{JOIN} --hour 2016-11-07T01"));
    failed(&dir.run(&format!("{JOIN} --hour 2016-11-07T00 --force")), 75, &["batch-2016-11-07T00/LOCK", "wait"]);
}

#[test]
fn other_flags_on_the_way() {
    let dir = killed();
    let said = ["within was", "now", "another --out"];
    failed(&dir.run(&format!("{STREAM} --within 1h")), 78, &said);
    failed(&dir.run(&format!("{STREAM} --watermark-delay 1h")), 78, &["--watermark-delay was 1800000000"]);
    failed(&dir.run(&STREAM.replace("raw/plays", "./raw/plays")), 78, &["in plays was raw/plays.jsonl"]);
    dir.ok(&format!("{STREAM} --max-rows 7000 --interval 2s --threads 1"));
}
