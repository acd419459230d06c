//! How a stream ends: at the end of its input, where everything is sealed, or before it, by a signal.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

use super::workdir::{Ran, Workdir};

const SCHEMA: &str = "--schema plays --watermark-delay 0s";

fn play(id: &str, ts: &str) -> String {
    format!("{{\"event_id\":\"{id}\",\"ts\":\"{ts}\"}}\n")
}

#[track_caller]
fn refused(ran: &Ran, said: &str) {
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(ran.err.contains(said) && ran.err.contains("another --out"), "{}", ran.err);
}

#[test]
fn what_comes_after_the_end_is_not_passed_over() {
    let dir = Workdir::new();
    std::fs::create_dir(dir.path("feed")).unwrap();
    dir.write("feed/1.jsonl", play("a", "2016-11-07T10:00:00Z"));
    let line = format!("ingest --in feed {SCHEMA} --out out");
    dir.ok(&line);
    let parts = dir.parts("out");
    assert!(dir.ok(&line).err.contains("up to date"));
    refused(&dir.run(&format!("{line} --follow")), "--follow");
    let mut file = OpenOptions::new().append(true).open(dir.path("feed/1.jsonl")).unwrap();
    file.write_all(play("b", "2016-11-07T11:00:00Z").as_bytes()).unwrap();
    refused(&dir.run(&line), "events/feed goes on with row 1 of 1.jsonl");
    dir.write("feed/1.jsonl", play("a", "2016-11-07T10:00:00Z"));
    assert!(dir.ok(&line).err.contains("up to date"));
    for file in ["2.jsonl", "0.jsonl"] {
        dir.write(&format!("feed/{file}"), play("c", "2016-11-07T12:00:00Z"));
        refused(&dir.run(&line), &format!("events/feed goes on with row 0 of {file}"));
        std::fs::remove_file(dir.path(&format!("feed/{file}"))).unwrap();
    }
    dir.write("feed/1.jsonl", play("x", "2016-11-07T10:00:00Z"));
    refused(&dir.run(&line), "1.jsonl was replaced or rewritten");
    assert_eq!(dir.parts("out"), parts);
}

#[test]
fn an_event_at_zero_does_not_seal_half_a_million_hours() {
    let dir = Workdir::new();
    dir.write("log.jsonl", play("a", "1970-01-01T00:00:00Z") + &play("b", "2016-11-07T10:00:00Z"));
    dir.ok(&format!("ingest --in log.jsonl {SCHEMA} --max-rows 1 --commit-interval 0s --out out"));
    assert_eq!(dir.rows("out").len(), 2);
    let sealed = dir.files("out").iter().filter(|file| file.ends_with("_SUCCESS")).count();
    assert_eq!(sealed, 1 + 31 * 24 + 1);
}

#[test]
fn a_run_that_is_told_to_stop_says_that_it_is_not_done() {
    let dir = Workdir::new();
    let rows = play("a", "2016-11-07T10:00:00Z") + &play("b", "2016-11-07T11:00:00Z");
    let line = format!("ingest --in - {SCHEMA} --interval 10ms --commit-interval 0s --out out");
    let mut child = dir.command(&line).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(rows.as_bytes()).unwrap();
    super::workdir::wait_for(&mut child, || dir.epoch("out").1 == 2);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(75), "{}", ran.err);
    assert!(ran.err.contains("stopped before the end: run it again to go on"), "{}", ran.err);
    drop(input);
    let mut child = dir.command(&line).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(dir.rows("out").len(), 2);
}

/// `2>&1 | head` ends the reader of messages, and not the run.
#[test]
fn a_run_goes_on_where_its_messages_have_no_reader() {
    let dir = Workdir::new();
    dir.write("plays.jsonl", play("a", "2016-11-07T10:00:00Z"));
    let mut run = dir.command(&format!("ingest --in plays.jsonl {SCHEMA} --progress json --out out"));
    let mut run = run.stderr(Stdio::piped()).spawn().unwrap();
    drop(run.stderr.take());
    assert!(run.wait().unwrap().success());
    assert_eq!(dir.rows("out").len(), 1);
}
