//! Runs over files that are all there: the order of rows does not matter, none is late, and the little memory that there
//! is changes nothing. A flag makes a stream of the same files.

use std::fs::{self, File};

use serde_json::{Value, json};

use super::workdir::{Ran, Workdir};

const INPUTS: [&str; 2] = ["impressions", "plays"];
const SHORT: &str = "--memory-limit 16M --max-rows 500";

/// Events as they come, some of them late, and the same ones in the opposite order, cut into files.
fn made() -> Workdir {
    let dir = Workdir::new();
    dir.generate("--hours 5 --impressions-per-hour 4000 --late 0.05 --duplicates 0.02 --malformed 0");
    for name in INPUTS {
        let text = dir.read(&format!("raw/{name}.jsonl"));
        let lines: Vec<&str> = text.lines().rev().collect();
        fs::create_dir_all(dir.path(&format!("reversed/{name}"))).unwrap();
        for (at, lines) in lines.chunks(3_000).enumerate() {
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            dir.write(&format!("reversed/{name}/{at:04}.jsonl"), lines);
        }
    }
    dir
}

fn pair(place: &str, end: &str) -> String {
    INPUTS.map(|name| format!("--in {name}={place}/{name}{end}")).join(" ")
}

/// The rows of an output, without where they came from.
fn rows(dir: &Workdir, out: &str) -> Vec<Value> {
    let mut rows = dir.rows(out);
    for row in &mut rows {
        row.as_object_mut()
            .unwrap()
            .retain(|name, _| !name.contains("_arrived_at") && !name.contains("_offset") && !name.contains("_topic"));
    }
    rows
}

fn count(dir: &Workdir, out: &str, input: &str, class: &str) -> u64 {
    dir.ledger(out)[input][class].as_u64().unwrap()
}

#[test]
fn the_order_of_rows_does_not_matter_and_none_is_late() {
    let dir = made();
    for (n, command) in
        ["join --type full", "aggregate --sets", "attribute --model last,linear"].into_iter().enumerate()
    {
        let out = |kind: &str| format!("{kind}-{n}");
        dir.ok(&format!("{command} {} --out {}", pair("raw", ".jsonl"), out("arrived")));
        dir.ok(&format!("{command} {} --out {}", pair("reversed", ""), out("reversed")));
        dir.ok(&format!("{command} {} {SHORT} --out {}", pair("raw", ".jsonl"), out("short")));
        dir.ok(&format!("{command} {} {SHORT} --out {}", pair("reversed", ""), out("both")));
        let all = rows(&dir, &out("arrived"));
        assert!(!all.is_empty());
        for other in ["reversed", "short", "both"] {
            assert!(rows(&dir, &out(other)) == all, "{command}, {other}");
            assert_eq!(dir.ledger(&out(other)), dir.ledger(&out("arrived")), "{command}, {other}");
        }
        assert!(dir.parts(&out("short")) == dir.parts(&out("arrived")), "{command}");
        for input in INPUTS {
            let lines = dir.read(&format!("raw/{input}.jsonl")).lines().count() as u64;
            let counted = |class| count(&dir, &out("arrived"), input, class);
            assert_eq!((counted("read"), counted("late")), (lines, 0), "{command}");
        }
    }
}

#[test]
fn a_flag_makes_a_stream_of_files() {
    let dir = made();
    let line = "ingest --in raw/impressions.jsonl --schema impressions";
    for (n, (flags, late)) in [
        ("", false),
        ("--watermark-delay 30m", true),
        ("--allowed-lateness 0s", true),
        ("--watermark-delay 1day", false),
    ]
    .into_iter()
    .enumerate()
    {
        dir.ok(&format!("{line} {flags} --out out-{n}"));
        assert_eq!(count(&dir, &format!("out-{n}"), "events", "late") > 0, late, "{flags}");
    }
    // What began as one of them does not go on as the other.
    assert!(dir.ok(&format!("{line} --out out-0")).err.contains("up to date"));
    for (out, flags) in [(0, "--watermark-delay 30m"), (1, "--watermark-delay 2h"), (3, "--allowed-lateness 1h")] {
        let ran = dir.run(&format!("{line} {flags} --out out-{out}"));
        assert_eq!(ran.code, Some(78), "{flags}: {}", ran.err);
    }
    assert!(dir.ok(&format!("{line} --out out-1")).err.contains("up to date"), "as it began");
    let follow = dir.run(&format!("{line} --follow --out out-0"));
    assert!(follow.code == Some(65) && follow.err.contains("--follow"), "{}", follow.err);
}

#[test]
fn a_run_goes_on_only_over_the_files_that_it_began_with() {
    let dir = made();
    let line = format!("join --type full {} ", pair("raw", ".jsonl"));
    dir.ok(&format!("{line} --out whole"));
    let line = format!("{line} {SHORT} --commit-interval 0s --out out");
    assert!(dir.kill_when(&line, || dir.epoch("out").0 >= 2), "the run ended before it was killed");
    let path = dir.path("raw/plays.jsonl");
    let (text, time) = (dir.read("raw/plays.jsonl"), fs::metadata(&path).unwrap().modified().unwrap());
    let first = text.lines().next().unwrap();
    dir.write("raw/plays.jsonl", format!("{text}{first}\n"));
    let ran = dir.run(&line);
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(ran.err.contains("plays") && ran.err.contains("put it back"), "{}", ran.err);
    let follow = dir.run(&format!("{line} --follow"));
    assert!(follow.code == Some(78) && follow.err.contains("--watermark-delay was none"), "{}", follow.err);
    dir.write("raw/plays.jsonl", &text);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    dir.ok(&line);
    assert!(dir.parts("out") == dir.parts("whole"));
    assert_eq!(dir.ledger("out"), dir.ledger("whole"));
}

/// The last rows fill a step, after which a commit is due: the hours end with them, and the run is at its end.
#[test]
fn a_run_ends_with_the_hour_of_its_last_row() {
    let dir = Workdir::new();
    let line = |row: u64| format!("{{\"event_id\":\"{row}\",\"ts\":{}}}\n", 1_700_000_000_000 + row * 360_000);
    dir.write("events.jsonl", (0..120).map(line).collect::<String>());
    let line = "ingest --in events.jsonl --out out --max-rows 10 --commit-interval 0s";
    dir.ok(line);
    let sealed = dir.files("out").iter().filter(|file| file.ends_with("_SUCCESS")).count();
    assert_eq!(sealed, 13);
    assert!(dir.ok(line).err.contains("up to date"));
}

/// After a kill, files that were copied are the same files, and one that came meanwhile is no part of the run.
#[test]
fn a_killed_run_goes_on_over_copied_files_and_without_new_ones() {
    let dir = made();
    let line = "aggregate --in impressions=reversed/impressions --in plays=raw/plays.jsonl --max-rows 200 \
                --commit-interval 0s --memory-limit 16M";
    dir.ok(&format!("{line} --out whole"));
    assert!(dir.kill_when(&format!("{line} --out out"), || dir.epoch("out").0 >= 2));
    let file = dir.path("reversed/impressions/0001.jsonl");
    fs::copy(&file, dir.path("copy")).unwrap();
    fs::rename(dir.path("copy"), &file).unwrap();
    fs::copy(&file, dir.path("reversed/impressions/9999.jsonl")).unwrap();
    dir.ok(&format!("{line} --out out"));
    assert!(dir.parts("out") == dir.parts("whole"));
    // What came meanwhile is for a run of its own, and is not passed over in silence.
    let ran = dir.run(&format!("{line} --out out"));
    assert!(ran.code == Some(65) && ran.err.contains("9999.jsonl"), "{}", ran.err);
}

/// Rows of standard input do not say when they arrived. The same ones are to give the same output on any day, so the clock
/// is no judge of them, unless time goes on while they come.
#[test]
fn history_on_standard_input_is_not_judged_by_the_clock() {
    let dir = Workdir::new();
    let row = |id: &str, ts: &str| format!("{{\"event_id\":\"{id}\",\"ts\":\"{ts}\"}}\n");
    dir.write("rows.jsonl", row("a", "2100-01-01T00:00:00Z") + &row("b", "2026-11-20T00:00:00Z"));
    for (flags, accepted, rejected) in [("--out out", 2, 0), ("--out stream --watermark-delay 30m", 1, 1)] {
        let mut command = dir.command(&format!("ingest --in - --schema impressions {flags}"));
        command.stdin(File::open(dir.path("rows.jsonl")).unwrap());
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let ledger = &dir.ledger(flags.split(' ').nth(1).unwrap())["events"];
        assert_eq!((&ledger["accepted"], &ledger["rejected"]), (&json!(accepted), &json!(rejected)), "{flags}");
    }
}
