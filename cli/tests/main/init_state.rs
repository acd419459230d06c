//! State that outlives its run: a stream that begins where others ended gives what one stream, or a batch, gives of all
//! rows; and the states of regions unite, in any order, to that of one region.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::workdir::{Workdir, wait_for, walk};

/// 2016-11-07T02:00, in milliseconds; what comes ten minutes before it or later is the second half.
const TWO: i64 = 1_478_476_800_000 + 2 * 3_600_000;
const MINUTE: i64 = 60_000;

const INPUTS: [&str; 2] = ["impressions", "plays"];
const SAMPLE: &str = "stratify --size 500 --strata country,device --seed 3";

/// Four hours: all of them in `raw` and as archives, the halves in order of arrival in `one` and `two`.
///
/// In the second half come the impression of a play of the first, and an event of the first again, with an earlier time.
fn halves() -> Workdir {
    let dir = Workdir::new();
    dir.generate("--hours 4 --impressions-per-hour 1500 --late 0 --malformed 0");
    ["one", "two"].iter().for_each(|half| fs::create_dir(dir.path(half)).unwrap());
    let event = |name: &str, id: &str, request: &str, ts: i64| {
        let mut event: Value =
            serde_json::from_str(dir.read(&format!("raw/{name}.jsonl")).lines().next().unwrap()).unwrap();
        (event["event_id"], event["request_id"], event["ts"]) = (json!(id), json!(request), json!(ts));
        (event["profile_id"], event["video_id"]) = (json!(7), json!(8));
        event.to_string()
    };
    for name in INPUTS {
        let mut halves: [Vec<String>; 2] = Default::default();
        for line in dir.read(&format!("raw/{name}.jsonl")).lines() {
            let ts = serde_json::from_str::<Value>(line).unwrap()["ts"].as_i64().unwrap();
            let half = usize::from(!halves[1].is_empty() || ts >= TWO - 10 * MINUTE);
            halves[half].push(line.to_owned());
        }
        match name {
            "plays" => halves[0].push(event(name, "play-1", "request-1", TWO - 12 * MINUTE)),
            _ => halves[1].insert(0, event(name, "impression-1", "request-1", TWO - 15 * MINUTE)),
        }
        halves[0].push(event(name, "again-1", "request-2", TWO - 11 * MINUTE));
        halves[1].insert(1, event(name, "again-1", "request-2", TWO - 20 * MINUTE));
        for (half, lines) in ["one", "two"].iter().zip(&halves) {
            dir.write(&format!("{half}/{name}.jsonl"), lines.join("\n") + "\n");
        }
        dir.write(&format!("raw/{name}.jsonl"), halves.concat().join("\n") + "\n");
        dir.ok(&format!("ingest --dedup 0s --in raw/{name}.jsonl --schema {name} --out archive/{name}"));
    }
    dir
}

/// A command line over all rows as archives, or over a half of them as a stream.
fn line(command: &str, place: &str) -> String {
    let end = if place == "archive" { "" } else { ".jsonl" };
    match command.split(' ').next().unwrap() {
        "ingest" | "stratify" if end.is_empty() => format!("{command} --in {place}/impressions"),
        "ingest" | "stratify" => format!("{command} --in {place}/impressions{end} --schema impressions"),
        _ => format!("{command} --in impressions={place}/impressions{end} --in plays={place}/plays{end}"),
    }
}

/// The hours of two outputs: of an hour that both have, that of the later one.
fn together(dir: &Workdir, first: &str, later: &str) -> BTreeMap<String, Vec<u8>> {
    let (mut parts, later) = (dir.parts(first), dir.parts(later));
    let hour = |part: &str| part.rsplit_once('/').unwrap().0.to_owned();
    parts.retain(|part, _| !later.keys().any(|other| hour(other) == hour(part)));
    parts.extend(later);
    parts
}

/// The rows of an output without the columns that say where they came from.
fn rows(dir: &Workdir, out: &str) -> Vec<Value> {
    let mut rows = dir.rows(out);
    rows.iter_mut().for_each(|row| row.as_object_mut().unwrap().retain(|column, _| !column.starts_with('_')));
    rows
}

fn refused(dir: &Workdir, words: &str, code: i32, why: &str) {
    let ran = dir.run(&format!("{words} --out refused"));
    assert!(ran.code == Some(code) && ran.err.contains(why), "{words}: {:?} {}", ran.code, ran.err);
    assert!(dir.files("refused").is_empty(), "{words}");
    fs::remove_dir_all(dir.path("refused")).ok();
}

/// Every file that a union of states is, with its bytes.
fn bytes(dir: &Workdir, place: &str) -> BTreeMap<String, Vec<u8>> {
    let root = dir.path(place);
    let files = walk(&root).into_iter().filter(|file| !file.ends_with("LOCK"));
    files
        .map(|file| (file.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), fs::read(&file).unwrap()))
        .collect()
}

#[test]
fn a_stream_goes_on_where_another_ended() {
    let dir = halves();
    dir.write("mine.sql", dir.ok("sql join").out);
    let commands = [
        "join --within 10m",
        "join --within 10m --type left",
        "join --within 10m --type full",
        "join --within 10m --type anti",
        "aggregate --epoch 45m",
        "aggregate --approx --by country --epoch 20m",
        "aggregate --sets --by device --epoch 5m",
        "attribute --model last,linear --lookback 30m",
        "run mine.sql --param within=10m --param type=right",
    ];
    for (n, command) in commands.into_iter().enumerate() {
        let [batch, plain, one, two] = ["batch", "plain", "one", "two"].map(|run| format!("out/{n}/{run}"));
        dir.ok(&format!("{} --out {batch}", line(command, "archive")));
        dir.ok(&format!("{} --keep-state --out {one}", line(command, "one")));
        dir.ok(&format!("{} --init-state {one} --out {two}", line(command, "two")));
        assert!(together(&dir, &one, &two) == dir.parts(&batch), "{command}");
        // An hour that the first run had final is not put out again; an odd window may run on from the first into the next.
        let begun = dir.files(&two)[0].contains("hr=01");
        assert!(begun || command.contains("45m"), "{command}: {:?}", dir.files(&two));
        // What was kept changes nothing else.
        dir.ok(&format!("{} --out {plain}", line(command, "one")));
        assert!(dir.parts(&plain) == dir.parts(&one), "{command}");
        let (_, record) = dir.record(&plain).unwrap();
        assert!(record.get("kept").is_none() && record["state"] == json!([]), "{command}: {record}");
    }
}

#[test]
fn events_of_an_earlier_run_are_repeats() {
    let dir = halves();
    dir.ok(&format!("{} --out batch", line("ingest", "archive")));
    dir.ok(&format!("{} --keep-state --out first", line("ingest", "one")));
    dir.ok(&format!("{} --init-state first --out later", line("ingest", "two")));
    // Both halves as hours of one output.
    for part in dir.files("later").into_iter().filter(|part| part.ends_with("_SUCCESS")) {
        let [from, to] = ["later", "first"].map(|out| dir.path(&format!("{out}/{part}")).parent().unwrap().to_owned());
        fs::remove_dir_all(&to).ok();
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(from, to).unwrap();
    }
    let all = rows(&dir, "first");
    assert!(all == rows(&dir, "batch"));
    let again: Vec<&Value> = all.iter().filter(|row| row["event_id"] == "again-1").collect();
    assert!(again.len() == 1 && again[0]["ts"].as_str().unwrap().contains("01:40"), "{again:?}");
}

#[test]
fn what_came_before_the_watermark_of_the_state_is_late() {
    let dir = Workdir::new();
    dir.write("schema", "event_id text\nts timestamp\n");
    let event = |id: &str, time: &str| format!("{{\"event_id\":\"{id}\",\"ts\":\"2016-11-07T{time}:00Z\"}}\n");
    dir.write("one.jsonl", event("e1", "10:00") + &event("e1", "11:01"));
    dir.write("two.jsonl", event("e1", "10:30") + &event("e2", "09:00"));
    let line = |half: &str| format!("ingest --in {half}.jsonl --schema schema --watermark-delay 2h --out {half}");
    dir.ok(&format!("{} --keep-state", line("one")));
    assert_eq!(dir.rows("one").len(), 2);
    dir.ok(&format!("{} --init-state one", line("two")));
    // The first repeats the event of 10:00, and takes back that of 11:01, which is in the account of the other run.
    let ledger = &dir.ledger("two")["events"];
    let count = |class: &str| ledger[class].as_u64().unwrap();
    assert_eq!(["read", "accepted", "duplicate", "late"].map(count), [2, 0, 1, 1]);
    let ids: Vec<Value> = dir.rows("two").iter().map(|row| row["event_id"].clone()).collect();
    assert_eq!(ids, ["e1"]);
}

#[test]
fn a_sample_is_drawn_of_what_earlier_runs_read_too() {
    let dir = halves();
    for (n, flags) in ["--size 500", "--size 100 --unit request_id", "--size 300 --approx"].into_iter().enumerate() {
        let [batch, one, two] = ["batch", "one", "two"].map(|run| format!("out/{n}/{run}"));
        let command = format!("stratify --strata country,device {flags}");
        dir.ok(&format!("{} --out {batch}", line(&command, "archive")));
        dir.ok(&format!("{} --keep-state --out {one}", line(&command, "one")));
        dir.ok(&format!("{} --init-state {one} --out {two}", line(&command, "two")));
        assert!(rows(&dir, &two) == rows(&dir, &batch), "{command}");
        assert!(!rows(&dir, &two).is_empty());
    }
}

#[test]
fn a_run_that_begins_with_state_survives_its_kills() {
    let dir = halves();
    dir.ok(&format!("{} --keep-state --out first", line("join --type full", "one")));
    let later = format!("{} --init-state first", line("join --type full", "two"));
    dir.ok(&format!("{later} --out whole"));
    let slow = format!("{later} --out out --watermark-delay 30m --max-rows 50 --commit-interval 0s");
    for epochs in [1, 4, 20] {
        assert!(dir.kill_when(&slow, || dir.epoch("out").0 >= epochs), "the run ended before epoch {epochs}");
    }
    // Its own journal has all of it by now.
    fs::rename(dir.path("first"), dir.path("elsewhere")).unwrap();
    let other = dir.run(&slow.replace("--init-state first", "--init-state elsewhere"));
    assert!(other.code == Some(78) && other.err.contains("--init-state was"), "{}", other.err);
    dir.ok(&slow);
    assert!(dir.parts("out") == dir.parts("whole"));
    assert_eq!(dir.ledger("out"), dir.ledger("whole"));
}

#[test]
fn a_stopped_run_leaves_its_state_too() {
    let dir = halves();
    let command = "join --type left --within 10m";
    let rows = INPUTS.map(|name| dir.read(&format!("one/{name}.jsonl")).lines().count() as u64).iter().sum::<u64>();
    let first = format!("{} --follow --commit-interval 0s --interval 50ms --out first", line(command, "one"));
    let mut run = dir.command(&first).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_for(&mut run, || dir.epoch("first").1 == rows));
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(75));
    dir.ok(&format!("{} --init-state first --out later", line(command, "two")));
    dir.ok(&format!("{} --out batch", line(command, "archive")));
    assert!(together(&dir, "first", "later") == dir.parts("batch"));
    // Its hours are not at their end: a union would lose the open ones.
    refused(&dir, "merge --state first first", 66, "run it to its end with --keep-state");
}

/// Runs a command over what each region has of the first half, `A` and `B`, and over all of it, `whole`.
fn run_regions(dir: &Workdir, n: usize, command: &str, of: impl Fn(&str, &Value) -> [bool; 2]) {
    for (region, name) in ["A", "B"].iter().enumerate() {
        fs::create_dir_all(dir.path(&format!("raw-{n}-{name}"))).unwrap();
        for input in INPUTS {
            let events = dir.read(&format!("one/{input}.jsonl"));
            let kept = events.lines().filter(|line| of(input, &serde_json::from_str(line).unwrap())[region]);
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            dir.write(&format!("raw-{n}-{name}/{input}.jsonl"), kept);
        }
        let schema = if command.contains("ingest") || command.contains("stratify") {
            ""
        } else {
            "--schema impressions=impressions --schema plays=plays"
        };
        dir.ok(&format!("{} {schema} --keep-state --out out/{n}/{name}", line(command, &format!("raw-{n}-{name}"))));
    }
    dir.ok(&format!("{} --keep-state --out out/{n}/whole", line(command, "one")));
}

#[test]
fn states_of_regions_are_the_state_of_one_region() {
    let dir = halves();
    let apart = |input: &str, _: &Value| [input == "impressions", input == "plays"];
    let shared = |_: &str, event: &Value| {
        let sum: usize = event["event_id"].as_str().unwrap().bytes().map(usize::from).sum();
        [sum % 3 < 2, !sum.is_multiple_of(3)]
    };
    let commands = [
        "join --type full --within 10m",
        "aggregate --epoch 45m",
        "aggregate --approx --by country",
        "attribute --model first",
        "ingest",
        SAMPLE,
    ];
    for (n, command) in commands.into_iter().enumerate() {
        match command.split(' ').next().unwrap() {
            "ingest" | "stratify" => run_regions(&dir, n, command, shared),
            _ => run_regions(&dir, n, command, apart),
        }
        let [a, b, whole] = ["A", "B", "whole"].map(|region| format!("out/{n}/{region}"));
        let union = |words: &str, out: &str| {
            dir.ok(&format!("merge --state {words} --out out/{n}/{out}"));
            bytes(&dir, &format!("out/{n}/{out}"))
        };
        let both = union(&format!("{a} {b}"), "both");
        assert!(both.keys().any(|file| file.ends_with(".arrow")));
        assert!(union(&format!("{b} {a}"), "turned") == both, "{command}: another order");
        assert!(union(&format!("{a} {b} {a} {a}"), "again") == both, "{command}: again");
        assert!(union(&format!("out/{n}/turned {b}"), "absorbed") == both, "{command}: of a union and one in it");
        let all = union(&format!("{a} {b} {whole}"), "all");
        union(&format!("{b} {whole}"), "two");
        assert!(union(&format!("{a} out/{n}/two"), "grouped") == all, "{command}: another grouping");
        let again = dir.ok(&format!("merge --state {b} {a} --out out/{n}/both"));
        assert!(again.err.contains("up to date") && bytes(&dir, &format!("out/{n}/both")) == both, "{command}");
        // What comes next meets the same, whether the union is made before or on the way.
        union(&format!("{whole} {whole}"), "alone");
        for (out, states) in [("next", "both"), ("straight", "A --init-state out/N/B"), ("expected", "alone")] {
            let states = states.replace("out/N", &format!("out/{n}"));
            dir.ok(&format!("{} --init-state out/{n}/{states} --out out/{n}/{out}", line(command, "two")));
        }
        let expected = dir.parts(&format!("out/{n}/expected"));
        assert!(!expected.is_empty());
        for out in ["next", "straight"] {
            assert!(dir.parts(&format!("out/{n}/{out}")) == expected, "{command}: {out}");
            assert_eq!(dir.ledger(&format!("out/{n}/{out}")), dir.ledger(&format!("out/{n}/expected")), "{command}");
        }
        dir.ok(&format!("{} --out out/{n}/batch", line(command, "archive")));
        // No event of the last hour is of regions, nor is any sample drawn before it.
        let last = |out: &str| {
            let out = format!("out/{n}/{out}");
            rows(&dir, &out)
                .into_iter()
                .filter(|row| command == SAMPLE || row["hour"] == "2016-11-07T03")
                .collect::<Vec<_>>()
        };
        assert!(last("next") == last("batch") && !last("next").is_empty(), "{command}: all in one");
    }
}

#[test]
fn state_that_cannot_be_is_refused() {
    let dir = halves();
    dir.write("mine.sql", dir.ok("sql join").out);
    let next = line("join", "two");
    dir.ok(&format!("{} --keep-state --out kept", line("join", "one")));
    dir.ok(&format!("{} --out dropped", line("join", "one")));
    dir.ok(&format!("{} --keep-state --out other", line("join --within 1h", "one")));
    fs::create_dir(dir.path("empty")).unwrap();
    let inspected = dir.ok("inspect kept").out;
    assert!(inspected.contains(" rows of state kept for rows from 2016-11-07T01:"), "{inspected}");
    refused(&dir, &format!("{next} --within 1h --init-state kept"), 78, "param within");
    refused(&dir, &format!("{next} --allowed-lateness 1m --init-state kept"), 78, "--allowed-lateness");
    refused(&dir, &format!("{} --init-state kept", line("run mine.sql", "two")), 78, "command join");
    refused(&dir, &format!("{} --init-state kept", line("aggregate", "two")), 78, "command join");
    for nothing in ["empty", "nowhere"] {
        refused(&dir, &format!("{next} --init-state {nothing}"), 66, "no stream has run into it");
    }
    refused(&dir, &format!("{next} --init-state dropped"), 66, "--keep-state");
    refused(&dir, &format!("{} --init-state kept", line("join", "archive")), 2, "for streams");
    refused(&dir, &format!("{} --keep-state", line("join", "archive")), 2, "for streams");
    refused(&dir, "merge --state kept other", 78, "param within");
    refused(&dir, "merge --state kept dropped", 66, "--keep-state");
    refused(&dir, "merge --state kept kept --hour 2016-11-07T00", 2, "--hour");
    let occupied = dir.run("merge --state kept kept --out dropped");
    assert!(occupied.code == Some(78) && occupied.err.contains("give it another --out"), "{}", occupied.err);
    dir.ok(&format!("{next} --init-state kept --init-state ./kept --out named"));
    assert!(dir.ok(&format!("{next} --init-state ./kept --out named")).err.contains("up to date"));
    let ran = dir.run("merge --state kept kept --out kept");
    assert!(ran.code == Some(2) && ran.err.contains("a directory of its own"), "{}", ran.err);
    let late = dir.run(&format!("{} --keep-state --out dropped", line("join", "one")));
    assert!(late.code == Some(65) && late.err.contains("let go of its state"), "{}", late.err);
    let lock = fs::File::open(dir.path("kept/_rescan/journal/stream/LOCK")).unwrap();
    lock.lock().unwrap();
    refused(&dir, &format!("{next} --init-state kept"), 75, "locked");
    lock.unlock().unwrap();
    let file = walk(&dir.path("kept/_rescan/state")).into_iter().max().unwrap();
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&file, damaged).unwrap();
    refused(&dir, &format!("{next} --init-state kept"), 65, "checksum");
    refused(&dir, "merge --state kept kept", 65, "checksum");
}
