//! Equality with an independent engine: what each command puts out, in batch and in stream, is row for row what DuckDB
//! makes of the same events in SQL of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::workdir::Workdir;

/// Hours of events, and how they were made.
struct Made {
    flags: &'static str,
    /// Minutes that a play comes after its impression at most.
    within: &'static str,
}

/// As events are when nothing goes wrong.
const CLEAN: Made = Made { flags: "--late 0 --duplicates 0 --malformed 0", within: "120" };

/// As they come; the shorter bound has many plays on its far side.
const ROUGH: Made = Made { flags: "--seed 11 --late 0.05 --duplicates 0.05 --malformed 0.01", within: "10" };

#[test]
fn inner() {
    join("inner");
}

#[test]
fn left() {
    join("left");
}

#[test]
fn right() {
    join("right");
}

#[test]
fn full() {
    join("full");
}

#[test]
fn semi() {
    join("semi");
}

#[test]
fn anti() {
    join("anti");
}

#[test]
fn aggregate() {
    for made in [&CLEAN, &ROUGH] {
        check(made, "aggregate", "30", "aggregate --epoch 30m");
    }
}

#[test]
fn attribute() {
    for (made, minutes) in [(&CLEAN, "1440"), (&ROUGH, "40")] {
        check(made, "attribute", minutes, &format!("attribute --model last,first,linear --lookback {minutes}m"));
    }
}

/// The facts of a play are the impressions before it.
#[test]
fn facts() {
    for (made, minutes) in [(&CLEAN, "1440"), (&ROUGH, "40")] {
        let command = format!("facts --on profile_id,video_id --within {minutes}m");
        check_over(["facts", "labels"], made, "facts", minutes, &command);
    }
}

#[test]
fn ingest() {
    let Some(python) = python() else { return };
    let dir = CLEAN.make();
    equal(python, &dir, "raw", "ingest", "0", &["archive/impressions"]);
}

fn join(kind: &str) {
    for made in [&CLEAN, &ROUGH] {
        check(made, kind, made.within, &format!("join --type {kind} --within {}m", made.within));
    }
}

/// Runs a command over the same events in three ways.
fn check(made: &Made, job: &str, minutes: &str, command: &str) {
    check_over(["impressions", "plays"], made, job, minutes, command);
}

/// The same, where impressions and plays are these inputs of the command.
fn check_over([impressions, plays]: [&str; 2], made: &Made, job: &str, minutes: &str, command: &str) {
    let Some(python) = python() else { return };
    let dir = made.make();
    let lines = format!(
        "--in {impressions}=raw/impressions.jsonl --in {plays}=raw/plays.jsonl \
         --schema {impressions}=impressions --schema {plays}=plays"
    );
    dir.ok(&format!("{command} --in {impressions}=archive/impressions --in {plays}=archive/plays --out batch"));
    dir.ok(&format!("{command} {lines} --max-rows 777 --out stream-777"));
    dir.ok(&format!("{command} {lines} --max-rows 50000 --out stream-50000"));
    equal(python, &dir, "archive", job, minutes, &["batch", "stream-777", "stream-50000"]);
}

impl Made {
    /// Four hours of JSON lines in `raw`, and what ingest keeps of them in `archive`.
    fn make(&self) -> Workdir {
        let dir = Workdir::new();
        dir.generate(&format!("--hours 4 --impressions-per-hour 5000 {}", self.flags));
        for name in ["impressions", "plays"] {
            dir.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --out archive/{name}"));
        }
        dir
    }
}

fn equal(python: &Path, dir: &Workdir, archive: &str, job: &str, minutes: &str, outputs: &[&str]) {
    let script = std::path::absolute("tests/main/duckdb_rows.py").unwrap();
    let mut command = Command::new(python);
    command.arg(script).args([archive, job, minutes]).args(outputs).current_dir(dir.path(""));
    let compared = command.output().unwrap();
    let said = [compared.stdout, compared.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(compared.status.success(), "{job} differs from DuckDB:\n{said}");
}

/// A Python with DuckDB. Without one the test is skipped aloud, unless `RESCAN_TEST_REQUIRE_DUCKDB=1`.
fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let script = "benches/venv.sh";
        let made = Command::new("sh").arg(script).output().map_err(|error| error.to_string())?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().replace('\n', "; "));
        }
        Ok(Path::new(String::from_utf8_lossy(&made.stdout).trim()).join("bin/python"))
    });
    match found {
        Ok(python) => Some(python),
        Err(why) => {
            assert!(std::env::var_os("RESCAN_TEST_REQUIRE_DUCKDB").is_none(), "DuckDB cannot be had: {why}");
            let test = std::thread::current();
            // Past the capture of output: a test that proves nothing says so.
            writeln!(std::io::stderr(), "SKIPPED duckdb: {}: {why}", test.name().unwrap_or("a test")).unwrap();
            None
        }
    }
}
