//! What somebody else has below an output's hours: a run names it, writes nothing beside it, and deletes nothing of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::errors::{JOIN, STREAM, demo, failed};
use super::workdir::{Workdir, walk};

/// Every way to write into `out`; each works where nothing foreign is there.
fn lines(dir: &Workdir) -> Vec<String> {
    dir.ok("merge archive/plays archive/plays --to 2016-11-07T01 --out part");
    [
        JOIN,
        STREAM,
        "join --replay --in impressions=archive/impressions --in plays=archive/plays --out out",
        "aggregate --in impressions=archive/impressions --in plays=archive/plays --out out",
        "attribute --in impressions=archive/impressions --in plays=archive/plays --out out",
        "stratify --in archive/plays --size 9 --out out",
        "stratify --in raw/plays.jsonl --schema plays --size 9 --out out",
        "ingest --in raw/plays.jsonl --schema plays --out out",
        "merge archive/plays part --out out",
    ]
    .map(str::to_owned)
    .into()
}

/// Everything below a directory: files with their bytes, and where links point to.
fn all(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> =
        walk(dir).into_iter().map(|file| (file.display().to_string(), fs::read(&file).unwrap_or_default())).collect();
    all.retain(|(file, _)| !file.ends_with("LOCK"));
    all.sort();
    all
}

type Case = (&'static str, fn(&Workdir), &'static [&'static str]);

const HOUR: &str = "out/dt=2016-11-07/hr=01";

fn put(dir: &Workdir, name: &str) {
    fs::create_dir_all(dir.path(name).parent().unwrap()).unwrap();
    dir.write(name, "mine");
}

/// What may be there, and what the run says of it.
const CASES: [Case; 9] = [
    ("a file", |dir| put(dir, &format!("{HOUR}/mine.parquet")), &["1 file that no run", "hr=01/mine.parquet"]),
    ("of another kind", |dir| put(dir, &format!("{HOUR}/notes.csv")), &["hr=01/notes.csv"]),
    ("many", |dir| (0..9).for_each(|n| put(dir, &format!("{HOUR}/{n}.parquet"))), &["9 files", "and 6 more"]),
    ("in an hour of its own", |dir| put(dir, "out/dt=2030-01-01/hr=07/a.parquet"), &["dt=2030-01-01/hr=07/a.parquet"]),
    ("unpadded", |dir| put(dir, "out/dt=2016-11-07/hr=1/a.parquet"), &["hr=1/a.parquet"]),
    ("deeper", |dir| put(dir, &format!("{HOUR}/country=NL/a.parquet")), &["hr=01/country=NL/a.parquet"]),
    ("partitioned otherwise", |dir| put(dir, "out/date=2016-11-07/a.parquet"), &["date=2016-11-07/a.parquet"]),
    (
        "a linked file",
        |dir| {
            fs::create_dir_all(dir.path(HOUR)).unwrap();
            symlink(dir.path("mine.parquet"), dir.path(&format!("{HOUR}/mine.parquet"))).unwrap();
        },
        &["hr=01/mine.parquet is a symbolic link", "--out"],
    ),
    (
        "a linked day",
        |dir| {
            fs::create_dir_all(dir.path("out")).unwrap();
            fs::create_dir_all(dir.path("elsewhere")).unwrap();
            symlink(dir.path("elsewhere"), dir.path("out/dt=2016-11-08")).unwrap();
        },
        &["dt=2016-11-08 is a symbolic link"],
    ),
];

fn refused(dir: &Workdir, line: &str, case: &Case) {
    let (name, lay, said) = case;
    lay(dir);
    let before = all(&dir.path(""));
    for line in [line.to_owned(), format!("{line} --dry-run"), format!("{line} --force")] {
        println!("{name}: {line}");
        failed(&dir.run(&line), 65, said);
        assert!(all(&dir.path("")) == before, "{name}: {line} changed something");
    }
}

#[test]
fn an_output_that_holds_files_of_others() {
    let dir = demo();
    dir.write("mine.parquet", "mine");
    for line in lines(&dir) {
        for case in &CASES {
            refused(&dir, &line, case);
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
        // The same beside hours of its own.
        dir.ok(&line);
        refused(&dir, &line, &CASES[0]);
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// A data set without `_rescan` is somebody's, however well it is laid out; one that this command sealed is not.
#[test]
fn a_data_set_of_somebody() {
    let dir = demo();
    for (line, command) in [(JOIN, "join"), (STREAM, "join")] {
        for name in ["a.parquet", "year=2016/month=11/day=07/hour=01/a.parquet", "dt=2016-11-07/hr=01/_SUCCESS"] {
            put(&dir, &format!("out/{name}"));
            failed(&dir.run(line), 65, &[&format!("out/{name}"), "give another --out"]);
            assert!(!dir.path("out/_rescan").exists());
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
        fs::create_dir(dir.path("out")).unwrap();
        let mut copy = std::process::Command::new("cp");
        copy.args(["-r", "archive/plays/dt=2016-11-07", "out"]).current_dir(dir.path(""));
        assert!(copy.status().unwrap().success());
        failed(&dir.run(line), 65, &["out/dt=2016-11-07/hr=00/", "4 files"]);
        fs::remove_dir_all(dir.path("out")).unwrap();
        println!("{command}: bookkeeping of others may stay");
        for name in ["_committed_1", ".part-0.parquet.crc", "part-0.crc", "_temporary/0/a.parquet"] {
            put(&dir, &format!("{HOUR}/{name}"));
        }
        put(&dir, "out/README.md");
        dir.ok(line);
        assert_eq!(dir.read(&format!("{HOUR}/_committed_1")), "mine");
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
    fs::create_dir(dir.path("out")).unwrap();
    put(&dir, &format!("{HOUR}/a.parquet"));
    dir.ok("join --keep-state --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl --out kept");
    failed(&dir.run("merge --state kept kept --out out"), 65, &["hr=01/a.parquet"]);
}

/// Nothing is swept up through a link where rescan keeps its own files.
#[test]
fn links_below_rescan() {
    let dir = demo();
    for link in ["_rescan", "_rescan/stage", "_rescan/stage/stream", "_rescan/journal", "_rescan/state"] {
        put(&dir, "elsewhere/stream/mine");
        put(&dir, "elsewhere/mine");
        fs::create_dir_all(dir.path(&format!("out/{link}")).parent().unwrap()).unwrap();
        symlink(dir.path("elsewhere"), dir.path(&format!("out/{link}"))).unwrap();
        failed(
            &dir.run(STREAM),
            65,
            &[&format!("out/{link} is a symbolic link").replace(" is", ": is"), "through one"],
        );
        assert!(dir.read("elsewhere/mine") == "mine" && dir.read("elsewhere/stream/mine") == "mine", "{link}");
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}
