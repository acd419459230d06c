//! What of an input's place is not read: bookkeeping is counted, and other hours than those that are read may hold
//! anything.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::commands::{JOIN, demo};
use super::workdir::Workdir;

/// Files and hours, batch and stream: hidden names are counted in the report, and said.
#[test]
fn bookkeeping_is_counted() {
    let dir = demo();
    let row = "{\"event_id\":\"a\",\"ts\":0}\n";
    for (file, text) in [("in/a.jsonl", row), ("in/_b.jsonl", row), ("in/c/.x", ""), ("in/c/a.jsonl.crc", "")] {
        fs::create_dir_all(dir.path(file).parent().unwrap()).unwrap();
        dir.write(file, text);
    }
    symlink("nowhere", dir.path("in/.#a.jsonl")).unwrap();
    let ran = dir.ok("ingest --in in --out files --json");
    assert_eq!(ran.json()["skipped"], json!({ "events": 4 }), "{}", ran.out);
    assert!(ran.err.contains("ingest: 4 of events are hidden or bookkeeping"), "{}", ran.err);
    let ran = dir.ok("ingest --in in/a.jsonl --out file --json");
    assert_eq!(ran.json().get("skipped"), None);

    // What rescan keeps beside the hours is no file of the archive.
    let ran = dir.ok(&format!("{JOIN} --out clean --json"));
    assert_eq!(ran.json().get("skipped"), None, "{}", ran.out);
    fs::create_dir_all(dir.path("archive/plays/_delta_log/x")).unwrap();
    dir.write("archive/plays/dt=2016-11-07/hr=01/.part.parquet.crc", "");
    for flags in ["", "--replay"] {
        let ran = dir.ok(&format!("{JOIN} {flags} --out out{flags} --json"));
        assert_eq!(ran.json()["skipped"], json!({ "plays": 2 }), "{flags} {}", ran.out);
    }
}

/// A run without a range reads hours that are sealed, and a run of some hours those and what they reach.
#[test]
fn what_is_in_other_hours_ends_no_run() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --out expected"));
    let open = dir.path("archive/plays/dt=2016-11-07/hr=09");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("part.json.tmp"), "x").unwrap();
    dir.ok(&format!("{JOIN} --out out"));
    assert_eq!(dir.rows("out"), dir.rows("expected"));
    dir.ok("stratify --in archive/plays --size 9 --out sample");
    // Hour 2 reaches back over its --within, to what is in hour 1 of the impressions.
    dir.write("archive/impressions/dt=2016-11-07/hr=01/notes.txt", "x");
    for flags in ["", "--hour 2016-11-07T02 --allow-incomplete"] {
        let ran = dir.run(&format!("{JOIN} {flags} --out reach"));
        assert!(ran.code == Some(65) && ran.err.contains("hr=01/notes.txt is not read"), "{flags}: {}", ran.err);
    }
}

/// An hour that has two directories is one hour too many, sealed or not, for each way to read it.
#[test]
fn an_hour_in_two_directories_is_named_by_all() {
    let dir = demo();
    let hour = dir.path("archive/plays/dt=2016-11-07");
    fs::create_dir(hour.join("hr=1")).unwrap();
    for file in fs::read_dir(hour.join("hr=01")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), hour.join("hr=1").join(file.file_name())).unwrap();
    }
    for line in [
        JOIN.to_owned(),
        format!("{JOIN} --replay"),
        format!("{JOIN} --misfiled read"),
        "ingest --in archive/plays --where true".to_owned(),
        "stratify --in archive/plays --size 9".to_owned(),
    ] {
        let ran = dir.run(&format!("{line} --out out"));
        assert!(ran.code == Some(65) && ran.err.contains("are one hour"), "{line}: {:?} {}", ran.code, ran.err);
        assert!(ran.err.contains("hr=01 and ") && ran.err.contains("/hr=1 "), "{line}: {}", ran.err);
    }
}

/// Columns of `--on` are what events share, and no output has two columns of one name.
#[test]
fn columns_that_would_be_something_else_are_refused() {
    let dir = Workdir::new();
    dir.write("l.jsonl", "{\"event_id\":\"a\",\"ts\":0,\"u\":1,\"fact_x\":3,\"fact_by\":1}\n");
    dir.write("f.jsonl", "{\"event_id\":\"f\",\"ts\":0,\"u\":1,\"x\":3}\n");
    dir.write("g.jsonl", "{\"event_id\":\"f\",\"ts\":0,\"u\":1,\"y\":3}\n");
    let facts = "facts --in labels=l.jsonl --in facts";
    for (line, said) in [
        ("join --in impressions=f.jsonl --in plays=g.jsonl --on event_id", "--on event_id says which event a row is"),
        ("join --in impressions=f.jsonl --in plays=g.jsonl --on u,at --time at", "--on at says when an event happened"),
        (&format!("{facts}=g.jsonl --on event_id,u"), "--on event_id says which event a row is"),
        (&format!("{facts}=g.jsonl --on ts"), "--on ts says when an event happened"),
        (&format!("{facts}=f.jsonl --on u"), "input labels has a column fact_x"),
        (&format!("{facts}=g.jsonl --on u --by-request y"), "input labels has a column fact_by"),
        ("ingest --in l.jsonl --time ts:xx", "xx is no unit of time: s, ms, us and ns are"),
    ] {
        let ran = dir.run(&format!("{line} --out out"));
        assert!(ran.code == Some(2) && ran.err.contains(said), "{line}: {:?} {}", ran.code, ran.err);
    }
    dir.ok(&format!("{facts}=g.jsonl --on u --out facts"));
}

/// Side inputs are written as the inputs are; what is said of times is recorded in the user's words where it changes rows.
#[test]
fn times_of_side_inputs_and_what_is_recorded() {
    let dir = Workdir::new();
    dir.write("e.jsonl", "{\"event_id\":\"a\",\"ts\":1795150800,\"u\":1}\n");
    dir.write(
        "seconds.jsonl",
        "{\"u\":1,\"name\":\"old\",\"valid_from\":0}\n{\"u\":1,\"name\":\"new\",\"valid_from\":1795150000}\n",
    );
    let local = |valid: &str, name: &str| format!("{{\"u\":1,\"name\":\"{name}\",\"valid_from\":\"{valid}\"}}\n");
    dir.write("local.jsonl", local("2026-11-20 01:00:00", "old") + &local("2026-11-20 05:30:00", "new"));
    for side in ["seconds", "local"] {
        let line = format!("ingest --in e.jsonl --time ts:s --zone Europe/Berlin --side s={side}.jsonl --out {side}");
        dir.ok(&line);
        assert_eq!(dir.rows(side)[0]["s_name"], json!("new"), "{side}");
        let (_, epoch) = dir.record(side).unwrap();
        assert_eq!((&epoch["config"]["zone"], &epoch["config"]["time"]), (&json!("Europe/Berlin"), &json!("ts:s")));
        dir.ok(&line);
    }
    // Hours of Parquet are the same, whatever is said of numbers and text.
    dir.ok("stratify --in local --size 1 --out sample");
    let again = dir.ok("stratify --in local --size 1 --time ts:ms --zone UTC --out sample");
    assert!(again.err.contains("up to date"), "{}", again.err);
}
