//! `reconcile` names the cause of what differs, and f proves it: each kind of fault alone, in pairs, and faults that no
//! record of the outputs explains.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::workdir::Workdir;

const BATCH: &str = "--in impressions=archive/impressions --in plays=archive/plays";
const COMMANDS: [&str; 3] = ["join --type full", "aggregate --by country --epoch 1h", "attribute"];

fn made() -> Workdir {
    made_with("")
}

fn made_with(flags: &str) -> Workdir {
    let dir = Workdir::new();
    dir.generate(&format!("--late 0 --hours 3 --impressions-per-hour 600 {flags}"));
    dir.write("raw/plays.jsonl", belated(dir.read("raw/plays.jsonl").lines().map(str::to_owned).collect()).join("\n"));
    fs::create_dir(dir.path("fed")).unwrap();
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --out archive/{name}"));
        fs::copy(dir.path(&format!("raw/{name}.jsonl")), dir.path(&format!("fed/{name}.jsonl"))).unwrap();
    }
    dir.write("old.csv", videos("news"));
    dir.write("new.csv", videos("sport"));
    dir
}

fn videos(genre: &str) -> String {
    let of = |video: u64| format!("{video},2016-11-07T00:10:00Z,{genre}\n");
    ["video_id,valid_from,genre\n".to_owned()].into_iter().chain((80_000_000..80_000_060).map(of)).collect()
}

/// Lines of a file that a stream is fed with, changed.
fn feed(dir: &Workdir, name: &str, change: impl Fn(Vec<String>) -> Vec<String>) {
    let lines = dir.read(&format!("raw/{name}.jsonl")).lines().map(str::to_owned).collect();
    dir.write(&format!("fed/{name}.jsonl"), change(lines).join("\n") + "\n");
}

/// Every seventh line comes after the thirty that follow it.
fn belated(lines: Vec<String>) -> Vec<String> {
    let late = |at: usize| if at % 7 == 3 { at + 30 } else { at };
    let mut lines: Vec<(usize, String)> = lines.into_iter().enumerate().map(|(at, line)| (late(at), line)).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What reconcile says of the outputs of one command: exit code, causes, differences, and the summary.
fn compared(dir: &Workdir, command: &str, batch: &str, stream: &str) -> (i32, BTreeSet<String>, Vec<Value>) {
    for out in ["batch", "stream"] {
        _ = fs::remove_dir_all(dir.path(out));
    }
    dir.ok(&format!("{command} {batch} --out batch"));
    dir.ok(&format!("{command} {stream} --max-rejected 100% --out stream"));
    let ran = dir.run("reconcile --batch batch --stream stream --json");
    let mut found: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = found.pop().unwrap();
    let causes = summary["differences"].as_object().unwrap().keys().cloned().collect();
    (ran.code.unwrap(), causes, found)
}

const STREAM: &str = "--in impressions=fed/impressions.jsonl --in plays=fed/plays.jsonl";

#[test]
fn each_kind_of_fault_is_named_and_proven_in_every_command() {
    for command in COMMANDS {
        let dir = made();
        let within = if command == "attribute" { "--lookback" } else { "--within" };
        let config = if command.starts_with("aggregate") { String::new() } else { format!("{STREAM} {within} 20m") };
        let late = format!("{STREAM} --watermark-delay 1s");
        let kinds: [(&str, &dyn Fn(), String); 4] = [
            ("late", &|| feed(&dir, "plays", |lines| lines), late),
            ("rejected", &|| feed(&dir, "plays", |lines| broken(&lines)), STREAM.to_owned()),
            ("gap", &|| feed(&dir, "plays", |lines| lines[..lines.len() / 2].to_vec()), STREAM.to_owned()),
            ("config", &|| feed(&dir, "plays", |lines| lines), config),
        ];
        for (cause, fault, stream) in kinds {
            if stream.is_empty() {
                continue;
            }
            fault();
            let (code, causes, differences) = compared(&dir, command, BATCH, &stream);
            assert!(code == 1 && causes == [cause.to_owned()].into(), "{command}: {cause}: {code} {causes:?}");
            assert!(
                differences.iter().all(|of| of["proven"] == true && of["causes"][0] == cause),
                "{command}: {cause}"
            );
            let named = differences.iter().filter(|of| of["event_count"].as_u64() > Some(0)).count();
            assert_eq!(named > 0, cause != "config", "{command}: {cause}");
        }
    }
}

#[test]
fn late_rows_are_known_by_what_they_say_where_positions_are_those_of_other_rows() {
    let dir = made_with("--duplicates 0");
    feed(&dir, "plays", belated);
    let (code, causes, _) = compared(&dir, COMMANDS[0], BATCH, &format!("{STREAM} --watermark-delay 1s"));
    assert!(code == 1 && causes == ["late".to_owned()].into(), "{code} {causes:?}");
}

/// Every thirtieth line is cut.
fn broken(lines: &[String]) -> Vec<String> {
    let cut =
        |(at, line): (usize, &String)| if at % 30 == 7 { line[..line.len() / 2].to_owned() } else { line.clone() };
    lines.iter().enumerate().map(cut).collect()
}

#[test]
fn causes_that_explain_only_together_are_several() {
    let dir = made();
    feed(&dir, "plays", |lines| broken(&lines));
    let stream = format!("{STREAM} --within 40m --watermark-delay 1s");
    let (code, causes, differences) = compared(&dir, "join --type full", BATCH, &stream);
    let left: Vec<&Value> = differences.iter().filter(|of| of["cause"] == "unexplained").collect();
    assert_eq!(code, 1, "{causes:?}: {} left, {:#?}", left.len(), left.first());
    assert!(causes.contains("late") && causes.contains("config"), "{causes:?}");
    assert!(differences.iter().all(|of| of["proven"] == true));
}

#[test]
fn another_version_of_a_side_input_is_a_cause() {
    let dir = made();
    for command in ["join --type full", "aggregate --by videos_genre"] {
        let (batch, stream) = (format!("{BATCH} --side videos=old.csv"), format!("{STREAM} --side videos=new.csv"));
        let (code, causes, _) = compared(&dir, command, &batch, &stream);
        assert!(code == 1 && causes == ["side-input".to_owned()].into(), "{command}: {code} {causes:?}");
    }
}

#[test]
fn input_that_is_not_what_it_was_is_a_cause() {
    let dir = made();
    dir.ok(&format!("aggregate {BATCH} --by country --epoch 1h --out batch"));
    feed(&dir, "plays", |lines| lines.into_iter().skip(40).collect());
    dir.ok(&format!("aggregate {STREAM} --by country --epoch 1h --out stream"));
    let unlike = dir.run("reconcile --batch batch --stream stream");
    assert_eq!(unlike.code, Some(3), "{}", unlike.out);
    fs::remove_dir_all(dir.path("archive/plays")).unwrap();
    let gone = dir.run("reconcile --batch batch --stream stream");
    assert_eq!(gone.code, Some(3));
    assert!(gone.err.contains("not proven in") && gone.err.contains("no hours any more"), "{}", gone.err);
    dir.ok("ingest --in fed/plays.jsonl --schema plays --out archive/plays");
    let (code, out) = {
        let ran = dir.run("reconcile --batch batch --stream stream");
        (ran.code, ran.out)
    };
    assert!(code == Some(1) && out.contains("input"), "{out}");
}

/// The outputs have no record of it: it must not be explained away, whatever other evidence there is.
#[test]
fn a_fault_behind_the_back_of_f_is_unexplained() {
    for command in COMMANDS {
        let dir = made();
        // The stream reads other rows in the same places.
        feed(&dir, "plays", |mut lines| {
            lines.drain(lines.len() / 3..lines.len() / 3 + 9);
            lines
        });
        let (code, causes, _) = compared(&dir, command, BATCH, STREAM);
        assert!(code == 3 && causes.contains("unexplained"), "{command}: {code} {causes:?}");
    }
}

#[test]
fn people_see_the_hours_the_first_differences_and_the_events_behind_them() {
    let dir = made();
    let late = format!("{STREAM} --watermark-delay 1s");
    compared(&dir, "aggregate --by video_id --epoch 1h", BATCH, &late);
    let ran = dir.run("reconcile --batch batch --stream stream");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].split_whitespace().eq(["hour", "late"]), "{}", ran.out);
    let event = |line: &&str| line.starts_with("    ") && line.contains("s.jsonl-0 at ");
    assert!(lines.iter().any(event), "{}", ran.out);
    assert!(lines.last().unwrap().contains("--all shows them"), "{}", ran.out);
    let all = dir.run("reconcile --batch batch --stream stream --all");
    assert!(all.out.lines().count() > lines.len() && !all.out.contains("--all"), "{}", all.out);
}

#[test]
fn two_batches_are_explained_too() {
    let dir = made();
    dir.ok(&format!("join {BATCH} --out batch"));
    dir.ok(&format!("join {BATCH} --within 20m --out narrow"));
    let ran = dir.run("reconcile --batch batch --stream narrow");
    assert!(ran.code == Some(1) && ran.out.lines().next().unwrap().contains("config"), "{}", ran.out);
}

/// After each batch run the view has its hours, and the stream's for the rest; it never goes back.
#[test]
fn a_serving_view_goes_forward_only() {
    let dir = made();
    let command = "aggregate --by country --epoch 1h";
    dir.ok(&format!("{command} {STREAM} --watermark-delay 1s --out stream"));
    let merge = "reconcile --batch batch --stream stream --merge view";
    let side = |hour: &str| -> String {
        let success = dir.read(&format!("view/dt=2016-11-07/hr={hour}/_SUCCESS"));
        serde_json::from_str::<Value>(&success).unwrap()["inputs"]["side"].as_str().unwrap().to_owned()
    };
    let sides = || ["00", "01", "02"].map(side);
    for (to, said, sides_then) in [
        ("01", "1 hours of the batch, 2 of the stream, 0 up to date", ["batch", "stream", "stream"]),
        ("01", "0 hours of the batch, 0 of the stream, 3 up to date", ["batch", "stream", "stream"]),
        ("03", "2 hours of the batch, 0 of the stream, 1 up to date", ["batch"; 3]),
    ] {
        dir.ok(&format!("{command} {BATCH} --from 2016-11-07T00 --to 2016-11-07T{to} --out batch"));
        let ran = dir.run(merge);
        assert!(ran.err.contains(said), "{to}: {}", ran.err);
        assert_eq!(sides(), sides_then, "{to}");
    }
    assert_eq!(dir.rows("view"), dir.rows("batch"));
    fs::remove_dir_all(dir.path("batch/dt=2016-11-07/hr=01")).unwrap();
    let ran = dir.run(merge);
    assert!(ran.err.contains("0 of the stream, 3 up to date"), "{}", ran.err);
    assert_eq!(sides(), ["batch"; 3]);
    assert_eq!(dir.run(&merge.replace("view", "batch/view")).code, Some(2));
    assert_eq!(dir.run(&format!("{command} {BATCH} --out view")).code, Some(78));
    dir.write("view/dt=2016-11-07/hr=00/foreign.parquet", "x");
    assert_eq!(dir.run(merge).code, Some(65));
}
