//! Inputs that show nothing for a while: by default hours wait for them, and where they do not, late rows say why.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::workdir::{Ran, Workdir, parquet, wait_for, walk};

fn event(id: &str, time: &str) -> String {
    format!("{{\"event_id\":\"{id}\",\"ts\":\"2016-11-07T{time}:00Z\",\"request_id\":\"r\"}}\n")
}

/// Impressions up to 13:00, then, once `ready`, plays at 10:30 and 13:00; what the run said.
fn join(dir: &Workdir, flags: &str, ready: impl Fn(&serde_json::Value) -> bool) -> Ran {
    for input in ["impressions", "plays"] {
        fs::create_dir(dir.path(input)).unwrap();
    }
    dir.write("impressions/1.jsonl", event("a", "10:00") + &event("b", "13:00"));
    dir.write("plays/1.jsonl", event("p", "10:00"));
    let line =
        "join --in impressions=impressions --in plays=plays --follow --interval 10ms --commit-interval 0s --out out";
    let mut child = dir.command(&format!("{line} {flags}")).spawn().unwrap();
    assert!(wait_for(&mut child, || dir.record("out").is_some_and(|(_, epoch)| ready(&epoch))));
    dir.write("plays/2.jsonl", event("q", "10:30") + &event("r", "13:00"));
    assert!(wait_for(&mut child, || dir.epoch("out").1 == 5));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn by_default_hours_wait_for_an_input_that_is_silent() {
    let dir = Workdir::new();
    let ran =
        join(&dir, "", |epoch| epoch["ledger"]["impressions"]["read"] == 2 && epoch["ledger"]["plays"]["read"] == 1);
    assert_eq!(dir.ledger("out")["plays"]["late"], 0, "{}", ran.err);
}

#[test]
fn rows_that_are_late_for_idleness_say_so() {
    let dir = Workdir::new();
    let went_on = |epoch: &serde_json::Value| epoch["watermark"].as_i64() == Some(1_478_521_800_000_000);
    let ran = join(&dir, "--idle-timeout 1h --idle-timeout plays=50ms", went_on);
    let ledger = dir.ledger("out");
    assert_eq!((&ledger["plays"]["late"], &ledger["plays"]["accepted"]), (&json!(1), &json!(2)), "{}", ran.err);
    let said = "plays/plays shows rows again after --idle-timeout, and 1 of the first are late";
    assert!(ran.err.contains(said), "{}", ran.err);
    let files = walk(&dir.path("out/_rescan/late"));
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(parquet(file)[0]["_reason"], "late: older than the watermark that went on while its partition was idle");
}

#[test]
fn an_input_that_is_not_there_has_no_timeout() {
    let dir = Workdir::new();
    dir.write("plays.jsonl", event("a", "10:00"));
    let ran = dir.run("ingest --in plays.jsonl --schema plays --idle-timeout clicks=5m --out out");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("--idle-timeout clicks=…: there is no input clicks"), "{}", ran.err);
}
