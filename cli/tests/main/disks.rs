//! Disks that are full, may not be written, or have something else where the output is to go.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::errors::{JOIN, STREAM, demo, failed};
use super::workdir::{Ran, Workdir};

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
