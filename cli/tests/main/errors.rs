//! How things fail: the exit code of the manual, and one line that names what was wrong, where, and what to do.

use std::fs;
use std::path::PathBuf;

use super::workdir::{Ran, Workdir, walk};

pub const JOIN: &str = "join --in impressions=archive/impressions --in plays=archive/plays --out out";
pub const STREAM: &str = "join --type full --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl --out out";

/// That a run failed with this code, saying all this in one line.
#[track_caller]
pub fn failed(ran: &Ran, code: i32, said: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("rescan: ")).collect();
    let [line] = lines.as_slice() else { panic!("not one line: {}", ran.err) };
    assert!(ran.err.ends_with(&format!("{line}\n")), "more after it: {}", ran.err);
    said.iter().for_each(|said| assert!(line.contains(said), "not {said:?} in {line}"));
    let lower = ran.err.to_lowercase();
    ["panic", "backtrace", "unwrap"].iter().for_each(|word| assert!(!lower.contains(word), "{}", ran.err));
    assert_eq!(ran.out, "");
}

pub fn demo() -> Workdir {
    let dir = Workdir::new();
    dir.archive("--hours 2 --impressions-per-hour 300");
    dir
}

/// The Parquet file of an hour of an archive.
fn part(dir: &Workdir, hour: &str) -> PathBuf {
    let files = walk(&dir.path(hour)).into_iter();
    files.into_iter().find(|file| file.extension().is_some_and(|end| end == "parquet")).unwrap()
}

#[test]
fn usage() {
    let dir = demo();
    for flag in [
        "--within soon",
        "--hour 2016-11-07T24",
        "--max-rows few",
        "--max-rows 0",
        "--threads 0",
        "--colour red",
        "--memory-limit lots",
        "--memory-limit 0",
        "--memory-limit 1023K",
    ] {
        let ran = dir.run(&format!("{JOIN} {flag}"));
        assert_eq!(ran.code, Some(2), "{flag}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(flag.split(' ').next().unwrap()), "{}", ran.err);
    }
    for line in [
        format!("{JOIN} --within 300000d"),
        format!("{} --lookback 300000d", JOIN.replace("join", "attribute")),
        "ingest --in raw/plays.jsonl --schema plays --dedup 300000d --out out".to_owned(),
    ] {
        let ran = dir.run(&line);
        assert!(ran.code == Some(2) && ran.err.contains("at most 36500days"), "{line}: {}", ran.err);
    }
    failed(&dir.run(&format!("{JOIN} --follow")), 2, &["--follow", "archive/impressions", "run it again"]);
    failed(&dir.run(&JOIN.replace("archive/plays", "ftp://host/plays")), 2, &["ftp://host/plays"]);
    for flag in ["--replay", "--hour 2016-11-07T01", "--from 2016-11-07T01"] {
        failed(&dir.run(&format!("{STREAM} {flag}")), 2, &["--replay and a range of hours", "ingest first"]);
    }
    failed(&dir.run("inspect ftp://host/plays"), 2, &["ftp://host/plays"]);
    let hours = dir.run(&format!("{JOIN} --from 2016-11-07T02 --to 2016-11-07T02"));
    failed(&hours, 2, &["--from 2016-11-07T02 is not before --to 2016-11-07T02"]);
    failed(&dir.run(&format!("{JOIN} --day 2016-02-31")), 2, &["2016-02-31", "2026-11-20"]);
    failed(&dir.run("join --in impressions=archive/impressions --out out"), 2, &["plays", "--in plays=URI"]);
    failed(&dir.run(&format!("{JOIN} --in clicks=archive/plays")), 2, &["clicks", "impressions, plays"]);
    failed(&dir.run(&format!("{JOIN} --in plays=archive/plays")), 2, &["--in plays is there twice"]);
    let twice = dir.run("attribute --in archive/plays --in archive/plays --policy p=1 --policy p=0 --out out");
    failed(&twice, 2, &["--policy p is there twice"]);
    failed(&dir.run(&JOIN.replace("--out out", "--out archive/plays/in")), 2, &["overlap", "--out"]);
    failed(&dir.run(&format!("aggregate --epoch 7h {}", JOIN.trim_start_matches("join"))), 2, &["--epoch", "30m"]);
    for out in ["s3://bucket/out", "kafka://host/topic", "-"] {
        let ran = dir.run(&JOIN.replace("--out out", &format!("--out {out}")));
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(out) && ran.err.contains("a local directory"), "{}", ran.err);
        assert!(!dir.path(out).exists());
    }
    for (line, said) in [
        ("ingest --in kafka://localhost:1 --schema plays --out out", "kafka://host:port/topic"),
        ("ingest --in kafka://localhost:1/plays --kafka foo --schema plays --out out", "KEY=VALUE"),
        ("ingest --in kafka://localhost:1/plays --kafka sasl.pasword=x --schema plays --out out", "sasl.pasword"),
        ("ingest --in gs://bucket/a --schema plays --out out", "gs is no store for files"),
        ("ingest --in - --schema infer --out out", "--schema"),
        ("ingest --in - --schema plays --format parquet --out pipe", "standard input"),
        ("ingest --in raw/plays.jsonl --schema plays --time nope --out out", "no time column nope"),
        ("generate --start 1969-01-01T00 --to made", "--start 1969-01-01T00 is before 1970"),
        ("reconcile --batch archive/plays --stream archive/plays --tolerance duration_s=nan", "nan is no number"),
        ("reconcile --batch archive/plays --stream archive/plays --tolerance duration_s=-1", "-1 is no number"),
    ] {
        failed(&dir.run(line), 2, &[said]);
    }
    dir.write("bad.schema", "event_id text\nts moment\n");
    let schema = dir.run("ingest --in raw/plays.jsonl --schema bad.schema --out out");
    failed(&schema, 78, &["--schema bad.schema", "line 2", "no type moment"]);
    failed(&dir.run("sql nothing"), 2, &["nothing", "aggregate, attribute, facts"]);
    failed(&dir.run("man nothing"), 2, &["nothing"]);
    assert!(!dir.path("out").exists());
}

#[test]
fn words_that_fit_no_column_and_no_place() {
    let dir = demo();
    let plays = "ingest --in raw/plays.jsonl --schema plays --out out";
    for (flags, said) in [
        ("--where nope>1", ["--where nope>1: ", "No field named nope. Valid fields are event_id"]),
        ("--where video_id>>>1", ["--where video_id>>>1: ", "Expected: an expression"]),
        ("--select nope", ["--select nope: ", "No field named nope"]),
        ("--where count(*)>1", ["--where count(*)>1: ", "is of many rows"]),
        ("--select row_number()over()", ["--select row_number()over(): ", "is of many rows"]),
        ("--where exists(select(1))", ["--where exists(select(1)) asks a query", "one row"]),
        ("--where video_id=(select(1))", ["--where video_id=(select(1)) asks a query", "one row"]),
        ("--where regexp_like(country,'(')", ["--where regexp_like(country,'('): ", "regex parse error"]),
    ] {
        failed(&dir.run(&format!("{plays} {flags}")), 78, &said);
    }
    std::fs::copy(dir.path("raw/plays.jsonl"), dir.path("plain.jsonl.gz")).unwrap();
    failed(&dir.run("ingest --in plain.jsonl.gz --schema plays --out gz"), 65, &["plain.jsonl.gz", "gzip"]);
    dir.write("begun.jsonl.gz", "");
    failed(&dir.run("ingest --in begun.jsonl.gz --schema plays --out gz"), 65, &["begun.jsonl.gz"]);
    failed(&dir.run("ingest --in raw/plays.jsonl --schema plays --out raw/plays.jsonl"), 2, &["is a file"]);
    failed(&dir.run("ingest --in raw/impressions.jsonl --schema plays --out raw/plays.jsonl"), 2, &["is a file"]);
    let report = dir.run("stratify --in archive/plays --size 9 --strata device --report nowhere/a.html --out out");
    assert!(report.code == Some(2) && report.err.contains("there is no directory nowhere"), "{}", report.err);
    failed(
        &dir.run("reconcile --batch archive/plays --stream archive/impressions --key event_id --tolerance nope=1"),
        2,
        &["tolerance of nope"],
    );
    let equal = "reconcile --batch archive/plays --stream archive/plays";
    failed(&dir.run(&format!("{equal} --tolerance nope=1")), 2, &["tolerance of nope"]);
    assert!(!dir.path("out").exists());
}

#[test]
fn a_run_of_which_nothing_is_taken_says_so() {
    let dir = Workdir::new();
    dir.write("plays.jsonl", "{\"event_id\":1}\n{\"event_id\":2}\n");
    failed(&dir.run("ingest --in plays.jsonl --schema plays --out out"), 65, &["2 of 2 rows were rejected"]);
    let ran = dir.ok("ingest --in plays.jsonl --schema plays --max-rejected 2 --out out");
    assert!(ran.err.contains("no row of events was taken: out/_rescan/rejected says why"), "{}", ran.err);
}

#[test]
fn a_run_to_which_most_rows_come_late_says_so() {
    let dir = Workdir::new();
    let rows = [9, 1, 2].map(|hour| format!("{{\"event_id\":\"{hour}\",\"ts\":\"2016-11-07T0{hour}:00:00Z\"}}\n"));
    dir.write("plays.jsonl", rows.concat());
    let ran = dir.ok("ingest --in plays.jsonl --schema plays --watermark-delay 30m --out out");
    assert!(ran.err.contains("2 of 3 rows of events came late, and are in out/_rescan/late"), "{}", ran.err);
    assert!(!dir.ok("ingest --in plays.jsonl --schema plays --out there").err.contains("late, and"));
    dir.write("plays.jsonl", rows[1..].concat());
    let ran = dir.ok("ingest --in plays.jsonl --schema plays --watermark-delay 30m --out other");
    assert!(!ran.err.contains("came late"));
}

#[test]
fn missing_input() {
    let dir = demo();
    failed(&dir.run("ingest --in nowhere.jsonl --schema plays --out out"), 66, &["nowhere.jsonl", "No such file"]);
    failed(&dir.run(&JOIN.replace("archive/plays", "nowhere")), 66, &["nowhere", "No such file"]);
    failed(&dir.run(&format!("{JOIN} --hour 2016-11-07T09")), 66, &["2016-11-07T09", "wait", "--allow-incomplete"]);
    failed(&dir.run(&format!("{JOIN} --from 2030-01-01T00")), 66, &["nothing in this range", "2016-11-07T02"]);
    failed(&dir.run(&format!("{JOIN} --to 2001-01-01T00")), 66, &["nothing in this range", "2016-11-07T00"]);
    failed(&dir.run("inspect nowhere"), 66, &["nowhere"]);
    // No input is missing: the output cannot be there.
    for line in [JOIN, STREAM] {
        failed(&dir.run(&line.replace("--out out", "--out /proc/nowhere")), 74, &["/proc/nowhere"]);
    }
    failed(&dir.run("reconcile --batch nowhere --stream archive/plays"), 66, &["nowhere", "dt=YYYY-MM-DD/hr=HH"]);
    failed(&dir.run("run nowhere.sql --in events=raw/plays.jsonl --out out"), 66, &["nowhere.sql"]);
    fs::create_dir(dir.path("empty")).unwrap();
    failed(&dir.run(&JOIN.replace("archive/plays", "empty")), 66, &["empty"]);
    assert!(!dir.path("out").exists());
}

/// Whether or not another hour beside it is asked for and sealed.
#[test]
fn hours_that_are_not_sealed() {
    let dir = demo();
    fs::remove_file(dir.path("archive/plays/dt=2016-11-07/hr=01/_SUCCESS")).unwrap();
    for range in ["--from 2016-11-07T00 --to 2016-11-07T02", "--hour 2016-11-07T01"] {
        let said = ["archive/plays", "not sealed", "2016-11-07T01", "--allow-incomplete"];
        failed(&dir.run(&format!("{JOIN} {range}")), 66, &said);
    }
    assert!(!dir.path("out").exists());
    dir.ok(&format!("{JOIN} --hour 2016-11-07T01 --allow-incomplete"));
}

#[test]
fn damaged_parquet() {
    let dir = demo();
    let path = part(&dir, "archive/plays/dt=2016-11-07/hr=01");
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let whole = fs::read(&path).unwrap();
    for damaged in [&[][..], b"PAR1", &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
        fs::write(&path, damaged).unwrap();
        failed(&dir.run(JOIN), 65, &["plays", &name]);
        let relative = path.strip_prefix(dir.path("")).unwrap().display().to_string();
        failed(&dir.run(&format!("ingest --in {relative} --schema plays --out out")), 65, &[&name]);
    }
}

/// An input by any of its names, and the directory that it is in.
#[test]
fn output_over_its_own_input() {
    let dir = demo();
    let before = dir.parts("archive");
    let file = format!("file://{}", dir.path("archive/plays").display());
    std::os::unix::fs::symlink(dir.path("archive"), dir.path("link")).unwrap();
    for (input, out) in [(file.as_str(), "archive/plays"), ("link/plays", "archive/plays"), ("archive/plays", "link")] {
        let ran = dir.run(&format!("stratify --in {input} --size 9 --out {out}"));
        failed(&ran, 2, &["overlap", input]);
        let ran = dir.run(&format!("merge archive/impressions {input} --out {out}"));
        failed(&ran, 2, &["overlap"]);
    }
    assert_eq!(dir.parts("archive"), before);
    let line = |pattern: &str, out: &str| format!("ingest --in {pattern} --schema plays --out {out}");
    for (pattern, out) in [("raw/**", "raw/out"), ("raw/*", "raw/out"), ("r*/*/*.parquet", "raw/out"), ("*", "out")] {
        failed(&dir.run(&line(pattern, out)), 2, &["overlap", pattern]);
    }
    dir.ok(&line("raw/p*.jsonl", "raw/out"));
    assert_eq!(dir.run(&line("raw/p*.jsonl", "raw/out")).code, Some(0));
}

/// What somebody put beside the rows of a sealed hour is neither counted nor passed over.
#[test]
fn a_foreign_file_in_a_sealed_hour() {
    let dir = demo();
    let path = part(&dir, "archive/plays/dt=2016-11-07/hr=01");
    fs::copy(&path, path.with_file_name("mine.parquet")).unwrap();
    let replay = format!("{JOIN} --replay");
    for line in [JOIN, &replay] {
        failed(&dir.run(line), 65, &["archive/plays/dt=2016-11-07/hr=01/mine.parquet", "is none of the files"]);
    }
    fs::remove_file(path.with_file_name("mine.parquet")).unwrap();
    fs::rename(&path, path.with_file_name("_hidden")).unwrap();
    failed(&dir.run(JOIN), 65, &[path.file_name().unwrap().to_str().unwrap(), "is not there"]);
}

/// What is wrong with a setting is its owner's to correct, and no bug.
#[test]
fn settings_that_cannot_be_used() {
    let dir = demo();
    dir.write("key.pem", (0..3000u32).map(|n| (n * n % 251) as u8).collect::<Vec<_>>());
    for key in ["ssl.ca.location", "ssl.key.location", "ssl.certificate.location", "ssl.crl.location"] {
        for file in ["key.pem", "nowhere.pem"] {
            let line = "ingest --in kafka://127.0.0.1:1/plays --schema plays --kafka security.protocol=ssl --out out";
            failed(&dir.run(&format!("{line} --kafka {key}={file}")), 78, &["kafka://127.0.0.1:1/plays", "setting"]);
        }
    }
    dir.write(
        "bad.sql",
        dir.ok("sql ingest")
            .out
            .replace("reject case ", "reject case when event_id ~ ''((a{100}){100}){100}'' then ''large: it'' "),
    );
    dir.write("rules.toml", "size = 9\n[[rule]]\nstrata = [\"event_id ~ '((a{100}){100}){100}'\"]\nmin_each = 1\n");
    let said = ["a regular expression cannot be used: it is too large: write a simpler one"];
    for line in [
        "ingest --in raw/plays.jsonl --schema plays --where event_id~'((a{100}){100}){100}' --out out",
        "ingest --in archive/plays --where event_id~'((a{100}){100}){100}' --out out",
        "run bad.sql --in events=archive/plays --out out",
        "stratify --in archive/plays --rules rules.toml --out out",
    ] {
        failed(&dir.run(line), 78, &said);
    }
}

#[test]
fn a_side_input_without_columns() {
    let dir = demo();
    dir.write("nested.jsonl", "{\"a\":{\"b\":1}}\n");
    let ran = dir.run("ingest --in raw/plays.jsonl --schema plays --side facts=nested.jsonl --out out");
    failed(&ran, 65, &["no column that can be read"]);
}

/// Damage in the middle of the data: of a sealed hour its checksum shows it, of any other only reading it.
#[test]
fn damaged_pages() {
    let dir = demo();
    let path = part(&dir, "archive/plays/dt=2016-11-07/hr=01");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..200].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    failed(&dir.run(JOIN), 65, &["plays/dt=2016-11-07/hr=01", "is not the file that _SUCCESS names"]);
    fs::remove_file(path.with_file_name("_SUCCESS")).unwrap();
    failed(&dir.run(&format!("{JOIN} --allow-incomplete")), 65, &["plays/dt=2016-11-07/hr=01/part-"]);
}

#[test]
fn other_columns_than_the_schemas() {
    let dir = demo();
    let plays = part(&dir, "archive/plays/dt=2016-11-07/hr=01").strip_prefix(dir.path("")).unwrap().to_owned();
    let line = format!("ingest --in {} --schema impressions --out out", plays.display());
    failed(&dir.run(&line), 65, &[".parquet", "no column row"]);
    dir.write("log.csv", "event_id,when\na,2016-11-07T10:00:00Z\n");
    failed(&dir.run("ingest --in log.csv --schema plays --out out"), 65, &["log.csv", "header has no column ts"]);
    dir.write("log.txt", "a");
    failed(&dir.run("ingest --in log.txt --schema plays --out out"), 65, &["log.txt", "--format"]);
}

#[test]
fn scripts_that_break_the_contract() {
    let dir = demo();
    let script = dir.ok("sql join").out;
    let inputs = JOIN.trim_start_matches("join");
    let clock = script
        .replace("select *, false as retracted\nfrom pair", "select *, now() as at, false as retracted\nfrom pair");
    let cases = [
        ("select 1;", "line 1"),
        (&script.replace("select request_id, impression, true", "select request_id, impresion, true"), "impresion"),
        (&clock, "now"),
        (&script[..script.len() - 40], "line "),
    ];
    for (text, said) in cases {
        assert_ne!(text, script);
        dir.write("mine.sql", text);
        failed(&dir.run(&format!("run mine.sql {inputs}")), 78, &["mine.sql, line ", said]);
    }
    let by = format!("aggregate --by nothing {inputs}");
    failed(&dir.run(&by), 78, &["no column nothing", "video_id"]);
    assert!(!dir.path("out").exists());
}
