//! Files that rotation moves, copies and compresses while they are followed: every row once.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use connector::Source;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::files::{append, ids, open, rest};
use super::followed::{restarted, row, rows};

pub fn gzip(from: &Path, to: &Path) {
    let mut packed = GzEncoder::new(File::create(to).unwrap(), Compression::fast());
    packed.write_all(&fs::read(from).unwrap()).unwrap();
    packed.finish().unwrap();
}

/// As logrotate does it, looked at after every step.
#[tokio::test]
async fn rotation_is_followed_step_by_step() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let log = |ending: &str| path.join(format!("app.jsonl{ending}"));
    for single in [false, true] {
        let input = if single { log("") } else { path.to_owned() };
        fs::write(log(""), rows(&["a", "b"])).unwrap();
        let mut source = open(&input, true).unwrap();
        assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
        // By renaming; the writer goes on with the old file for a while.
        append(&log(""), &row("c"));
        fs::rename(log(""), log(".1")).unwrap();
        append(&log(".1"), &row("d"));
        assert_eq!(ids(&rest(&mut source).await), ["c", "d"]);
        append(&log(""), &rows(&["e", "f"]));
        append(&log(".1"), &row("g"));
        let seen = rest(&mut source).await;
        assert_eq!(seen[0], ("app.jsonl".to_owned(), 4, "g".to_owned()), "under its first name, and where it stands");
        assert_eq!(ids(&seen[1..]), ["e", "f"]);
        // By compressing: first beside the file, then in place of it.
        gzip(&log(".1"), &log(".1.gz"));
        let whole = fs::read(log(".1.gz")).unwrap();
        for bytes in [5, whole.len() - 3, whole.len()] {
            fs::write(log(".1.gz"), &whole[..bytes]).unwrap();
            assert!(rest(&mut source).await.is_empty());
        }
        fs::remove_file(log(".1")).unwrap();
        assert!(rest(&mut source).await.is_empty());
        // By copying and truncating.
        append(&log(""), &row("h"));
        let whole = fs::read(log("")).unwrap();
        for bytes in [10, whole.len() - 1, whole.len()] {
            fs::write(log(".1"), &whole[..bytes]).unwrap();
            assert_eq!(rest(&mut source).await.len(), usize::from(bytes == 10));
        }
        let mut again = restarted(&input, &source, true).await.unwrap();
        fs::write(log(""), "").unwrap();
        append(&log(""), &row("i"));
        for source in [&mut source, &mut again] {
            assert_eq!(ids(&rest(source).await), ["i"]);
        }
        for ending in ["", ".1", ".1.gz"] {
            fs::remove_file(log(ending)).unwrap();
        }
    }
}

/// Copies that are kept hold what was read, also once the file that they were made of is gone, and in the next run.
#[tokio::test]
async fn copies_that_are_kept_are_not_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let log = |ending: &str| path.join(format!("app.jsonl{ending}"));
    append(&log(""), &rows(&["a", "b"]));
    fs::copy(log(""), log(".2")).unwrap();
    let mut source = open(path, true).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"], "also where none of both was read");
    append(&log(""), &row("c"));
    fs::copy(log(""), log(".1")).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["c"]);
    gzip(&log(".1"), &log(".1.gz"));
    let warnings = source.warnings();
    assert!(rest(&mut source).await.is_empty());
    assert_eq!((warnings.len(), source.warnings().len()), (2, 1), "each is named once");
    fs::remove_file(log("")).unwrap();
    let mut again = restarted(path, &source, true).await.unwrap();
    for source in [&mut source, &mut again] {
        assert!(rest(source).await.is_empty());
    }
    fs::rename(log(".2"), path.join("kept.jsonl")).unwrap();
    assert!(rest(&mut source).await.is_empty());
    let mut again = restarted(path, &source, true).await.unwrap();
    append(&path.join("kept.jsonl"), &row("d"));
    append(&log(""), &row("e"));
    assert_eq!(ids(&rest(&mut again).await), ["e", "d"], "what comes behind a copy is new");
}

/// The copy then stands for the file, and the file for its copy.
#[tokio::test]
async fn a_file_that_goes_elsewhere_compressed_is_known_again_although_a_copy_of_it_is_nearer() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    append(&path.join("app.jsonl"), &rows(&["a", "b"]));
    let mut source = open(path, true).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
    fs::copy(path.join("app.jsonl"), path.join("app.jsonl.1")).unwrap();
    assert!(rest(&mut source).await.is_empty());
    gzip(&path.join("app.jsonl"), &path.join("_packed"));
    fs::rename(path.join("_packed"), path.join("kept.jsonl.gz")).unwrap();
    fs::remove_file(path.join("app.jsonl")).unwrap();
    let mut again = restarted(path, &source, true).await.unwrap();
    for source in [&mut source, &mut again] {
        assert!(rest(source).await.is_empty());
    }
}

/// A file has the name of one that is deleted: `rotate 1` of logrotate.
#[tokio::test]
async fn the_name_of_a_file_that_is_gone_may_be_used_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let log = |ending: &str| path.join(format!("app.jsonl{ending}"));
    append(&log(".1"), &row("a"));
    append(&log(""), &row("b"));
    let mut source = open(path, true).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
    fs::remove_file(log(".1")).unwrap();
    append(&log(".1"), &row("never seen under another name"));
    assert_eq!(rest(&mut source).await.len(), 1);
    for round in ["c", "d"] {
        fs::rename(log(""), log(".1")).unwrap();
        append(&log(""), &row(round));
        let mut again = restarted(path, &source, true).await.unwrap();
        for source in [&mut source, &mut again] {
            assert_eq!(ids(&rest(source).await), [round]);
        }
    }
}

/// A file of which nothing was read is like any other, so it must not count another's rows as its own.
#[tokio::test]
async fn an_empty_file_takes_no_other_files_rows() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let packed = |n: u32| path.join(format!("app.jsonl.{n}.gz"));
    for (n, text) in [(3, row("a")), (2, String::new()), (1, row("b"))] {
        fs::write(path.join("_text"), text).unwrap();
        gzip(&path.join("_text"), &packed(n));
    }
    let mut source = open(path, true).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
    for n in [3, 2, 1] {
        fs::rename(packed(n), packed(n + 1)).unwrap();
    }
    let mut again = restarted(path, &source, true).await.unwrap();
    for source in [&mut source, &mut again] {
        assert!(rest(source).await.is_empty());
    }
}
