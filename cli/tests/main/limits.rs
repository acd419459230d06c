//! `--max-rejected` and `--max-late`: how many rows a run may set aside before it ends.

use serde_json::json;

use super::workdir::{Ran, Workdir};

/// So many plays, a second apart from ten o'clock on; those that `bad` says are no JSON.
fn plays(dir: &Workdir, name: &str, rows: usize, bad: impl Fn(usize) -> bool) {
    let line = |row: usize| match bad(row) {
        true => format!("{{\"event_id\":\"e{row}\",\"ts\":\n"),
        false => play(row, row as i64),
    };
    dir.write(name, (0..rows).map(line).collect::<String>());
}

fn play(row: usize, second: i64) -> String {
    let ts = (1_478_512_800 + second) * 1_000;
    format!("{}\n", json!({ "event_id": format!("e{row}"), "ts": ts, "profile_id": 1, "video_id": 1 }))
}

fn ended(ran: &Ran, said: &[&str]) {
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    said.iter().for_each(|said| assert!(ran.err.contains(said), "{said}: {}", ran.err));
}

const INGEST: &str = "ingest --schema plays --in plays.jsonl --out out";

#[test]
fn a_share_ends_a_run_from_a_thousand_rows_on_and_a_count_or_all_of_them_always() {
    let cases = [
        // Rows, of which bad, flags, whether the run ends.
        (2_000, 21, "", true),
        (2_000, 20, "", false),
        (2_000, 21, "--max-rejected 2%", false),
        (2_000, 21, "--max-rejected 0.5%", true),
        (2_000, 21, "--max-rejected 20", true),
        (2_000, 21, "--max-rejected 21", false),
        (999, 500, "", false),
        (999, 500, "--max-rejected 10%", true),
        (999, 1, "--max-rejected 0", true),
        (3, 3, "", true),
        (3, 3, "--max-rejected 3", false),
        (3, 3, "--max-rejected 100%", false),
        (0, 0, "", false),
    ];
    for (rows, bad, flags, ends) in cases {
        let dir = Workdir::new();
        plays(&dir, "plays.jsonl", rows, |row| row < bad);
        let ran = dir.run(&format!("{INGEST} {flags}"));
        let case = format!("{bad} of {rows} {flags}: {}", ran.err);
        assert_eq!(ran.code, Some(if ends { 65 } else { 0 }), "{case}");
        if ends {
            let said = [&format!("events: {bad} of {rows} rows were rejected")[..], "plays.jsonl/0:0, json_truncated"];
            ended(&ran, &said);
            assert_eq!((dir.epoch("out"), dir.files("out")), ((0, 0), vec![]), "{case}");
        } else {
            assert_eq!(dir.ledger("out")["events"]["rejected"], bad, "{case}");
        }
    }
}

#[test]
fn the_commonest_reasons_are_named_each_with_an_example() {
    let dir = Workdir::new();
    plays(&dir, "plays.jsonl", 50, |row| row == 7 || row == 9);
    let strange = "{\"event_id\":\"x\",\"ts\":0,\"profile_id\":1.5}\n".repeat(3);
    dir.write("plays.jsonl", dir.read("plays.jsonl") + &strange);
    let ran = dir.run(&format!("{INGEST} --max-rejected 1"));
    ended(&ran, &["3 as at plays.jsonl/0:50, lossy_number: profile_id: 1.5", "; 2 as at plays.jsonl/0:7, json_trunc"]);
}

#[test]
fn what_was_committed_before_stands_and_a_run_that_may_reject_more_goes_on() {
    let dir = Workdir::new();
    plays(&dir, "plays.jsonl", 6_000, |row| row >= 5_000 && row % 2 == 0);
    let cut = "--watermark-delay 30m --max-rows 500 --commit-interval 0s";
    ended(&dir.run(&format!("{INGEST} {cut}")), &["rows were rejected, and --max-rejected is 1%"]);
    let (epochs, read) = dir.epoch("out");
    assert!(epochs >= 8 && read >= 4_500, "{epochs} {read}");
    dir.ok(&format!("{INGEST} {cut} --max-rejected 100%"));
    dir.ok(&INGEST.replace("--out out", "--max-rejected 10% --out whole"));
    assert_eq!(dir.ledger("out"), dir.ledger("whole"));
    assert_eq!(dir.parts("out"), dir.parts("whole"));
}

#[test]
fn standard_input_is_judged_as_files_are() {
    let dir = Workdir::new();
    plays(&dir, "plays.jsonl", 1_500, |row| row % 50 == 0);
    let mut command = dir.command("ingest --schema plays --in - --out out");
    command.stdin(std::fs::File::open(dir.path("plays.jsonl")).unwrap());
    ended(&Ran::of(command.output().unwrap()), &["30 of 1500 rows were rejected", "json_truncated"]);
}

/// Hours of 500 impressions, of which ten in each have an impossible propensity: over all hours that is enough to judge.
#[test]
fn hours_are_judged_together_and_none_too_many_is_committed() {
    let dir = Workdir::new();
    let impression = |row: usize| {
        let ts = (1_478_512_800 + row as i64 * 7) * 1_000;
        let propensity = if row.is_multiple_of(50) { 1.5 } else { 0.5 };
        let id = format!("i{row:04}");
        let event = json!({ "event_id": id, "ts": ts, "request_id": id, "profile_id": 1, "video_id": row, "rank": 1,
                            "propensity": propensity });
        format!("{event}\n")
    };
    dir.write("impressions.jsonl", (0..1_540).map(impression).collect::<String>());
    dir.write("plays.jsonl", play(0, 3_600));
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --out archive/{name}"));
    }
    let tuples = "attribute --tuples --lookback 1s --in impressions=archive/impressions --in plays=archive/plays";
    for flags in ["--threads 1", "--threads 4", "--replay"] {
        let ran = dir.run(&format!("{tuples} --allow-incomplete {flags} --out out"));
        ended(
            &ran,
            &["impressions: ", " of 1540 rows were rejected", " as at impressions.jsonl/0:", ", propensity: it is"],
        );
        let sealed = dir.files("out").iter().filter(|file| file.ends_with("_SUCCESS")).count();
        assert!(sealed < 3, "{flags}: all hours are sealed");
        std::fs::remove_dir_all(dir.path("out")).ok();
        dir.ok(&format!("{tuples} --allow-incomplete {flags} --max-rejected 3% --out out"));
        assert_eq!(dir.rows("out").len(), 1_509, "{flags}");
        std::fs::remove_dir_all(dir.path("out")).unwrap();
    }
    let hour = format!("{tuples} --hour 2016-11-07T10 --allow-incomplete --out hour");
    dir.ok(&hour);
}

/// Every other row is four hours older than the row before it.
fn late(dir: &Workdir) {
    let line = |row: usize| play(row, row as i64 - if row % 2 == 1 { 4 * 3_600 } else { 0 });
    dir.write("plays.jsonl", (0..2_000).map(line).collect::<String>());
}

#[test]
fn much_that_is_late_is_warned_of_with_its_cause_and_with_what_would_have_kept_it() {
    let dir = Workdir::new();
    late(&dir);
    let ran = dir.ok(&format!("{INGEST} --watermark-delay 30m"));
    let cause = "1000 of 2000 rows of events came late, and are in out/_rescan/late: plays.jsonl/0:1 of \
                 2016-11-07T06:00:01 came after plays.jsonl/0:0 of 2016-11-07T10:00:00";
    assert!(ran.err.contains(cause) && ran.err.contains("--watermark-delay 4h would have kept"), "{}", ran.err);
    let json = dir.ok(&INGEST.replace("--out out", "--watermark-delay 30m --json --out json")).json();
    assert!(json["warnings"][0].as_str().unwrap().contains("came late"), "{json}");
    let kept = dir.ok(&INGEST.replace("--out out", "--watermark-delay 4h --out kept"));
    assert!(!kept.err.contains("came late"), "{}", kept.err);
    assert_eq!(dir.ledger("kept")["events"]["late"], 0);
    for (limit, ends) in [("10%", true), ("999", true), ("1000", false)] {
        let ran = dir.run(&format!("{INGEST}-{limit} --watermark-delay 30m --max-late {limit}"));
        assert_eq!(ran.code, Some(if ends { 65 } else { 0 }), "{limit}: {}", ran.err);
        if ends {
            ended(&ran, &["events: 1000 of 2000 rows came late, and --max-late is", "--watermark-delay 4h"]);
        }
    }
}

#[test]
fn what_is_no_limit_is_refused() {
    let dir = Workdir::new();
    plays(&dir, "plays.jsonl", 1, |_| false);
    for limit in ["1.5", "-1", "101%", "x%", "%"] {
        let ran = dir.run(&format!("{INGEST} --max-rejected={limit}"));
        assert!(ran.code == Some(2) && ran.err.contains("write a share, 1%, or a number"), "{limit}: {}", ran.err);
    }
}
