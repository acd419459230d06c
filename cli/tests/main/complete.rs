//! Which hours a batch run writes: those that every input has in full, with those around them. What vanishes from an
//! input takes no output with it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::errors::failed;
use super::workdir::{Workdir, walk};

const HOUR: &str = "dt=2016-11-07/hr=";

/// Five hours of everything, and a directory for what is away.
fn five() -> Workdir {
    let dir = Workdir::new();
    dir.archive("--hours 5 --impressions-per-hour 300 --malformed 0");
    fs::create_dir(dir.path("away")).unwrap();
    dir.write("mine.sql", dir.ok("sql join").out);
    dir
}

/// Takes an hour of an input away, or brings it back: `plays/03`.
fn take(dir: &Workdir, hour: &str) {
    fs::rename(dir.path(&place(hour)), dir.path(&away(hour))).unwrap();
}

fn restore(dir: &Workdir, hour: &str) {
    fs::rename(dir.path(&away(hour)), dir.path(&place(hour))).unwrap();
}

fn place(hour: &str) -> String {
    let (input, hour) = hour.split_once('/').unwrap();
    format!("archive/{input}/{HOUR}{hour}")
}

fn away(hour: &str) -> String {
    format!("away/{}", hour.replace('/', "-"))
}

pub const TWO: &str = "--in impressions=archive/impressions --in plays=archive/plays";

/// Every command over hours, each with whether an hour of its output reaches to the hours around it.
pub fn commands() -> Vec<(String, bool)> {
    let two = [
        ("join", true),
        ("join --type full --within 1h", true),
        ("aggregate --epoch 1h --by country", false),
        ("aggregate --epoch 2h --by country", true),
        ("attribute --model linear --lookback 90m", true),
        ("attribute --tuples --lookback 1h", true),
        ("run mine.sql --param type=left", true),
    ];
    let one = [("stratify --size 50 --in archive/plays", true), ("ingest --in archive/plays", true)];
    let merge = [("merge archive/plays archive/plays", true)];
    let two = two.map(|(command, around)| (format!("{command} {TWO} --out out"), around));
    let one = one.into_iter().chain(merge).map(|(command, around)| (format!("{command} --out out"), around));
    two.into_iter().chain(one).collect()
}

#[test]
fn an_input_that_vanishes_takes_no_output_with_it() {
    let dir = five();
    for (line, _) in commands() {
        dir.ok(&line);
        let whole = dir.parts("out");
        for gone in [
            &["plays/00"][..],
            &["impressions/00", "plays/00"],
            &["plays/02"],
            &["plays/04"],
            &["plays/03", "plays/04"],
        ] {
            gone.iter().for_each(|hour| take(&dir, hour));
            let ran = dir.ok(&format!("{line} --json"));
            assert!(dir.parts("out") == whole, "{line} without {gone:?}: {}", ran.err);
            let report = ran.json();
            assert_eq!((&report["sealed"], report.get("waiting")), (&json!([]), None), "{line} without {gone:?}");
            // An hour that no input has any more is none of the run.
            if gone.len() == 1 && (line.contains("impressions") || *gone == ["plays/02"]) {
                assert!(report["kept"][0]["hours"].as_u64() > Some(0), "{line} without {gone:?}: {report}");
                assert!(ran.err.contains(" kept as ") && ran.err.contains("(gone)"), "{line}: {}", ran.err);
            }
            gone.iter().for_each(|hour| restore(&dir, hour));
        }
        assert!(dir.ok(&line).err.contains("up to date"), "{line}");
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// A place stays the one that an output was made of when the input gets another one, and when it is spelled otherwise.
#[test]
fn another_place_hides_no_hour_that_has_vanished() {
    let dir = five();
    for copy in ["eu", "asia"] {
        let copied = Command::new("cp").args(["-r", "plays", copy]).current_dir(dir.path("archive")).status();
        assert!(copied.unwrap().success());
    }
    let absolute = dir.path("archive/plays").to_str().unwrap().to_owned();
    let before = "archive/plays archive/eu";
    for after in [
        before.to_owned(),
        "archive/asia archive/plays archive/eu".to_owned(),
        format!("archive/eu {absolute}"),
        format!("{absolute} archive/asia archive/eu"),
    ] {
        dir.ok(&format!("merge {before} --out out"));
        take(&dir, "plays/00");
        let ran = dir.ok(&format!("merge {after} --out out --json"));
        let report = ran.json();
        let sealed: Vec<&str> = report["sealed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        // An hour of output reaches to the hours around it.
        assert!(!sealed.iter().any(|hour| hour.ends_with("hr=00") || hour.ends_with("hr=01")), "{after}: {sealed:?}");
        assert_eq!(report["kept"][0]["hours"], 2, "{after}: {report}");
        assert!(ran.err.contains("(gone)"), "{}", ran.err);
        restore(&dir, "plays/00");
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

#[test]
fn an_hour_waits_until_every_input_has_it() {
    let dir = five();
    for (line, around) in commands() {
        if line.starts_with("merge") || !line.contains("impressions") {
            continue;
        }
        dir.ok(&line.replace("--out out", "--out whole"));
        for (lacks, waits) in [("plays/04", &["04"][..]), ("impressions/04", &["04"]), ("plays/00", &["00"])] {
            take(&dir, lacks);
            let ran = dir.ok(&format!("{line} --json"));
            assert!(ran.err.contains(&format!("{} waits for ", waits[0])), "{line} without {lacks}: {}", ran.err);
            let report = ran.json();
            let (input, hour) = lacks.split_once('/').unwrap();
            let lacking = format!("{input}/2016-11-07T{hour}");
            assert!(report["waiting"].to_string().contains(&lacking), "{line}: {report}");
            for hour in waits {
                assert!(!dir.path(&format!("out/{HOUR}{hour}")).exists(), "{line} without {lacks}: {hour} is there");
            }
            restore(&dir, lacks);
            dir.ok(&line);
            assert!(dir.parts("out") == dir.parts("whole"), "{line} after {lacks} is there again");
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
        // One that is lost between others: those that reach to it wait too.
        take(&dir, "impressions/02");
        let ran = dir.ok(&format!("{line} --json")).json();
        let waiting: u64 = ran["waiting"].as_array().unwrap().iter().map(|of| of["hours"].as_u64().unwrap()).sum();
        assert_eq!(waiting > 1, around, "{line}: {ran}");
        assert_eq!(ran["sealed"].as_array().unwrap().len() as u64 + waiting, 5, "{line}: {ran}");
        restore(&dir, "impressions/02");
        fs::remove_dir_all(dir.path("out")).unwrap();
        fs::remove_dir_all(dir.path("whole")).unwrap();
    }
}

#[test]
fn hours_that_are_not_sealed_wait() {
    let dir = five();
    let seal = dir.path(&format!("archive/plays/{HOUR}04/_SUCCESS"));
    let sealed = fs::read(&seal).unwrap();
    for (line, _) in commands() {
        fs::remove_file(&seal).unwrap();
        let ran = dir.ok(&line);
        assert!(ran.err.contains("/2016-11-07T04 (not sealed)") || line.starts_with("merge"), "{line}: {}", ran.err);
        assert!(!dir.path(&format!("out/{HOUR}04")).exists(), "{line}");
        fs::write(&seal, &sealed).unwrap();
        dir.ok(&line);
        assert!(dir.path(&format!("out/{HOUR}04/_SUCCESS")).exists(), "{line}");
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// What a range asks for is there, or the run says what is not and writes nothing.
#[test]
fn a_range_is_complete_or_refused() {
    let dir = five();
    let join = format!("join {TWO} --type left --out out");
    dir.ok(&join);
    let whole = dir.parts("out");
    for (lacks, hour, code) in [
        ("plays/02", "02", 66),
        ("impressions/02", "02", 66),
        // In reach, between others.
        ("impressions/01", "02", 66),
        ("plays/03", "02", 66),
        // It was the first or the last, and the output says that it was there.
        ("impressions/00", "02", 66),
        ("plays/04", "02", 66),
        ("impressions/04", "02", 0),
    ] {
        take(&dir, lacks);
        let range = format!("{join} --hour 2016-11-07T{hour}");
        let ran = dir.run(&range);
        assert_eq!(ran.code, Some(code), "{lacks}: {}", ran.err);
        let incomplete = dir.run(&format!("{range} --allow-incomplete"));
        assert_eq!(incomplete.code, Some(code), "{lacks}: {}", incomplete.err);
        if code == 66 {
            let (input, lacking) = lacks.split_once('/').unwrap();
            failed(
                &ran,
                66,
                &[&format!("archive/{input} no longer has hour 2016-11-07T{lacking}"), "--allow-incomplete --force"],
            );
            failed(&incomplete, 66, &["no longer has", "--force"]);
        }
        assert!(dir.parts("out") == whole, "{lacks}");
        restore(&dir, lacks);
    }
    take(&dir, "impressions/01");
    let ran = dir.ok(&format!("{join} --hour 2016-11-07T02 --allow-incomplete --force"));
    assert!(ran.err.contains("2016-11-07T02 is made again without impressions/2016-11-07T01 (gone)"), "{}", ran.err);
    assert!(dir.parts("out") != whole);
    restore(&dir, "impressions/01");
    dir.ok(&join);
    assert!(dir.parts("out") == whole, "what came back is taken");
}

#[test]
fn where_nothing_can_be_written_the_run_fails() {
    let dir = five();
    let keep = |input: &str, kept: &str| {
        for hour in ["00", "01", "02", "03", "04"].into_iter().filter(|hour| !kept.contains(hour)) {
            take(&dir, &format!("{input}/{hour}"));
        }
    };
    keep("impressions", "00 01");
    keep("plays", "03 04");
    let ran = dir.run(&format!("join {TWO} --out out"));
    failed(&ran, 66, &["nothing can be written", "2016-11-07T00 to 2016-11-07T01 wait for plays/2016-11-07T00"]);
    assert!(!dir.path("out").exists());
    dir.ok(&format!("join {TWO} --allow-incomplete --out out"));
}

/// README's line for cron, for ever: hours come at the end, one input after the other, and go at the begin.
#[test]
fn a_run_without_a_range_is_right_for_ever() {
    let dir = Workdir::new();
    dir.archive("--hours 9 --impressions-per-hour 200 --malformed 0");
    fs::create_dir(dir.path("away")).unwrap();
    let lines = ["join --type full --within 1h", "aggregate --epoch 2h", "attribute --lookback 2h"];
    let lines = lines.map(|line| format!("{line} {TWO} --out"));
    for (n, line) in lines.iter().enumerate() {
        dir.ok(&format!("{line} whole-{n}"));
    }
    let hours: Vec<String> = (0..9).map(|hour| format!("{hour:02}")).collect();
    for hour in &hours {
        take(&dir, &format!("impressions/{hour}"));
        take(&dir, &format!("plays/{hour}"));
    }
    let run = || {
        for (n, line) in lines.iter().enumerate() {
            let ran = dir.run(&format!("{line} out-{n}"));
            assert!(matches!(ran.code, Some(0 | 66)), "{line}: {}", ran.err);
        }
    };
    for step in 0..12 {
        for (input, behind) in [("impressions", 0), ("plays", 1)] {
            if let Some(hour) = (step as usize).checked_sub(behind).and_then(|step| hours.get(step)) {
                restore(&dir, &format!("{input}/{hour}"));
                run();
            }
        }
        // Longer than anything reaches.
        for (input, kept) in [("plays", 5), ("impressions", 6)] {
            if let Some(hour) = (step as usize).checked_sub(kept).and_then(|step| hours.get(step)) {
                take(&dir, &format!("{input}/{hour}"));
                run();
            }
        }
    }
    for (n, line) in lines.iter().enumerate() {
        let (out, whole) = (dir.parts(&format!("out-{n}")), dir.parts(&format!("whole-{n}")));
        assert_eq!(out.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "{line}");
        assert!(out == whole, "{line}");
    }
}

/// An output whose `_SUCCESS` files do not say yet of which input hours they are.
#[test]
fn an_output_of_an_older_rescan_is_as_safe() {
    let dir = five();
    let join = format!("join {TWO} --out out");
    dir.ok(&join);
    for success in walk(&dir.path("out")).iter().filter(|file| file.ends_with("_SUCCESS")) {
        let mut old: Value = serde_json::from_slice(&fs::read(success).unwrap()).unwrap();
        old["inputs"].as_object_mut().unwrap().remove("hours").unwrap();
        old.as_object_mut().unwrap().remove("checksum").unwrap();
        fs::write(success, old.to_string()).unwrap();
    }
    let whole: BTreeMap<_, _> = dir.parts("out");
    assert!(dir.ok(&join).err.contains("up to date"));
    take(&dir, "impressions/00");
    let ran = dir.ok(&join);
    assert!(ran.err.contains("2016-11-07T00 to 2016-11-07T02 are kept as they are"), "{}", ran.err);
    assert!(dir.parts("out") == whole);
}
