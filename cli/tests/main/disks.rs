//! Disks that are full, may not be written, or have something else where the output is to go.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::errors::{JOIN, STREAM, demo, failed};
use super::workdir::{Ran, Workdir, walk};

/// Runs where `disk` is a file system of its own, made with these options.
fn on_a_disk(dir: &Workdir, options: &str, words: &str) -> Option<Ran> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount"]).current_dir(dir.path("")).stdin(Stdio::null());
    let mount = format!("mount -t tmpfs -o {options} none disk");
    fs::create_dir_all(dir.path("disk")).unwrap();
    if !unshare.args(["sh", "-c"]).arg(&mount).output().is_ok_and(|done| done.status.success()) {
        // Not by `eprintln!`, which a test that passes keeps to itself.
        writeln!(std::io::stderr(), "SKIPPED: this machine lets nobody mount a tmpfs: rescan {words}").unwrap();
        return None;
    }
    let mut run = Command::new("unshare");
    run.args(["--map-root-user", "--mount", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    run.arg(env!("CARGO_BIN_EXE_rescan")).args(words.split_whitespace()).current_dir(dir.path("")).stdin(Stdio::null());
    // What operators spill goes to the directory for temporary files.
    if !words.contains("--out disk") {
        run.env("TMPDIR", dir.path("disk"));
    }
    Some(Ran::of(run.output().unwrap()))
}

#[test]
fn a_full_disk() {
    let dir = Workdir::new();
    dir.archive("--hours 2 --impressions-per-hour 20000");
    for line in [STREAM, JOIN] {
        let Some(ran) = on_a_disk(&dir, "size=128k", &line.replace("--out out", "--out disk/out")) else { return };
        failed(&ran, 74, &["disk/out", "No space left on device"]);
    }
}

/// Full at any point of a run: in a lock, the journal, a staged file, state, rows put aside, or a copy of a side input.
#[test]
fn a_disk_that_is_full_at_any_point() {
    let dir = Workdir::new();
    dir.archive("--hours 2 --impressions-per-hour 300 --malformed 0.1");
    dir.ok(&format!("{STREAM} --keep-state").replace("--out out", "--out kept"));
    let lines = [
        STREAM.to_owned() + " --max-rows 100 --commit-interval 0s",
        JOIN.to_owned(),
        "stratify --in archive/plays --size 9 --out out".to_owned(),
        "ingest --in raw/plays.jsonl --schema plays --side facts=archive/impressions --side-key facts=request_id --out out"
            .to_owned(),
        "merge archive/plays archive/plays --out out".to_owned(),
        "merge --state kept kept --out out".to_owned(),
    ];
    let (mut full, mut done) = (0, 0);
    for line in lines {
        let line = line.replace("--out out", "--out disk/out");
        for options in [
            "nr_blocks=1",
            "nr_blocks=2",
            "nr_blocks=4",
            "nr_blocks=9",
            "nr_blocks=17",
            "nr_blocks=33",
            "nr_inodes=12",
            "nr_inodes=25",
        ] {
            let Some(ran) = on_a_disk(&dir, options, &line) else { return };
            match ran.code {
                Some(0) => done += 1,
                code => {
                    let said = ran.err.contains("No space left on device") && !ran.err.contains("panic");
                    assert!(code == Some(74) && said, "{line} {options}: {code:?} {}", ran.err);
                    full += 1;
                }
            }
        }
    }
    println!("{full} full, {done} done");
    assert!(full > 20);
}

#[test]
fn a_disk_that_is_too_small_for_what_is_spilled() {
    let dir = Workdir::new();
    dir.archive("--hours 1 --impressions-per-hour 30000");
    let line = "ingest --in archive/impressions --replay --memory-limit 1M --out out";
    for line in [line, "merge archive/impressions archive/impressions --memory-limit 4M --out out"] {
        let Some(ran) = on_a_disk(&dir, "size=256k", line) else { return };
        let lines: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("rescan: ")).collect();
        assert!(matches!(ran.code, Some(0 | 74)), "{:?} {lines:?}", ran.code);
        fs::remove_dir_all(dir.path("out")).ok();
    }
}

/// Whoever may read an output, by the umask, may not read what was rejected of its input, or came late.
#[test]
fn who_may_read_what() {
    let dir = Workdir::new();
    dir.generate("--hours 3 --impressions-per-hour 2000 --late 0.02 --malformed 0.01");
    let script = dir.ok("sql ingest").out;
    let reject = "reject case when event_id like ''%0'' then ''zero: ends in it'' ";
    dir.write("picky.sql", script.replace("reject case ", reject));
    dir.ok("ingest --in raw/plays.jsonl --schema plays --out archive");
    for (umask, file, folder) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("002", 0o664, 0o775)] {
        for line in
            ["ingest --in raw/plays.jsonl --schema plays --out out", "run picky.sql --in events=archive --out out"]
        {
            let mut run = Command::new("sh");
            run.args(["-c", &format!("umask {umask} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_rescan")]);
            let ran = Ran::of(run.args(line.split_whitespace()).current_dir(dir.path("")).output().unwrap());
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let files = walk(&dir.path("out"));
            let aside = |path: &Path| {
                ["_rescan/late", "_rescan/rejected"].iter().any(|name| path.starts_with(dir.path("out").join(name)))
            };
            assert!(files.iter().any(|path| aside(path)), "{line}");
            for path in &files {
                let wanted = if aside(path) { 0o600 } else { file };
                assert_eq!(mode(path), wanted, "{:o} umask {umask} {}", mode(path), path.display());
                assert_eq!(mode(path.parent().unwrap()), folder, "{}", path.display());
            }
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
    }
}

#[test]
fn a_disk_that_may_not_be_written() {
    let dir = demo();
    for line in [STREAM, JOIN] {
        let Some(ran) = on_a_disk(&dir, "ro", &line.replace("--out out", "--out disk/out")) else { return };
        failed(&ran, 77, &["disk/out", "Read-only file system"]);
    }
}

#[test]
fn an_output_that_is_no_directory() {
    let dir = demo();
    dir.write("out", "mine");
    failed(&dir.run(STREAM), 2, &["--out out is a file", "give a directory"]);
    failed(&dir.run(JOIN), 2, &["--out out is a file", "give a directory"]);
    assert_eq!(dir.read("out"), "mine");
}
