//! Files that change under way: every row once, whatever rotation, late arrival and restarts do, and what is not any more
//! what was read is named.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use connector::{FileSource, Offset, Poll, Source, SourceError};
use tempfile::TempDir;

use super::files::{append, at, chunk, ids, open, parquet, rest};

pub fn row(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"ts\":0}}\n")
}

pub fn rows(ids: &[&str]) -> String {
    ids.iter().map(|id| row(id)).collect()
}

fn said(error: &anyhow::Error) -> &str {
    match error.downcast_ref() {
        Some(SourceError::BadData(text)) => text,
        other => panic!("{other:?}: {error:#}"),
    }
}

/// As an epoch writes it down and the next run reads it.
fn place(path: &Path, source: &FileSource) -> BTreeMap<String, Offset> {
    let text = serde_json::to_string(&source.place(0).unwrap()).unwrap();
    at(path, serde_json::from_str(&text).unwrap())
}

pub async fn restarted(path: &Path, source: &FileSource, follow: bool) -> anyhow::Result<FileSource> {
    let mut again = open(path, follow)?;
    again.seek(&place(path, source)).await?;
    Ok(again)
}

/// Reads until an error, which there must be.
async fn error(source: &mut FileSource) -> anyhow::Error {
    loop {
        match source.read(0, 1).await {
            Ok(Poll::Chunk(_)) => {}
            Ok(other) => panic!("no error: {other:?}"),
            Err(error) => return error,
        }
    }
}

/// Other bytes in place of a file's, at another time, in the same inode.
fn rewrite(path: &Path, text: &str) {
    let later = fs::metadata(path).unwrap().modified().unwrap() + Duration::from_secs(7);
    fs::write(path, text).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_modified(later).unwrap();
}

#[tokio::test]
async fn a_followed_file_gives_whole_lines_as_they_come() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.csv");
    append(&file, "id,t");
    let mut source = open(&file, true).unwrap();
    assert!(chunk(&mut source, 9).await.unwrap().is_none(), "not even the header is whole");
    append(&file, "s,n\n1,0,\n2,0");
    assert_eq!(ids(&rest(&mut source).await), ["1"]);
    append(&file, ",\n\"3\n");
    assert_eq!(ids(&rest(&mut source).await), ["2"]);
    append(&file, "\",0,\n");
    let (rows, next) = chunk(&mut source, 9).await.unwrap().unwrap();
    assert_eq!(ids(&rows), ["3\n"]);
    assert!(matches!(source.read(0, 9).await.unwrap(), Poll::Waiting));
    append(&file, "4,0,\n");
    for from in [at(&file, next), place(&file, &source)] {
        let mut again = open(&file, true).unwrap();
        again.seek(&from).await.unwrap();
        assert_eq!(rest(&mut again).await, [("a.csv".to_owned(), 3, "4".to_owned())]);
    }
}

#[tokio::test]
async fn new_files_and_new_lines_are_read_wherever_they_sort() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let mut source = open(path, true).unwrap();
    assert!(matches!(source.read(0, 9).await.unwrap(), Poll::Waiting));
    append(&path.join("10.jsonl"), &row("10"));
    append(&path.join("9.jsonl"), row("9").trim_end());
    assert_eq!(ids(&rest(&mut source).await), ["9", "10"], "a whole object needs no line end");
    append(&path.join("1.jsonl"), &row("1"));
    assert_eq!(ids(&rest(&mut source).await), ["1"]);
    append(&path.join("9.jsonl"), &("\n".to_owned() + &row("9b")));
    for follow in [true, false] {
        let mut again = restarted(path, &source, follow).await.unwrap();
        append(&path.join("9.jsonl"), "\n");
        assert_eq!(rest(&mut again).await, [("9.jsonl".to_owned(), 1, "9b".to_owned())]);
    }
    assert_eq!(ids(&rest(&mut source).await), ["9b"]);
    let mut done = restarted(path, &source, false).await.unwrap();
    append(&path.join("0.jsonl"), &row("0"));
    assert!(rest(&mut done).await.is_empty(), "what came after its beginning is another run's");
    let mut next = restarted(path, &done, false).await.unwrap();
    assert_eq!(ids(&rest(&mut next).await), ["0"]);
}

/// What happens to `a.jsonl` with rows a to d, which was read to its end, and how it is named.
#[tokio::test]
async fn what_is_not_what_was_read_is_named() {
    let long: Vec<String> = (0..3000).map(|i| format!("{i}")).collect();
    let long = rows(&long.iter().map(String::as_str).collect::<Vec<_>>());
    let other = &|file: &Path, text: &str| {
        fs::write(file.with_file_name(".new"), text).unwrap();
        fs::rename(file.with_file_name(".new"), file).unwrap();
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Change); 7] = [
        ("truncated", &|file| rewrite(file, &rows(&["a", "b"]))),
        ("rewritten", &|file| rewrite(file, &rows(&["a", "b", "c", "x"]))),
        ("rewritten", &|file| rewrite(file, &rows(&["x", "b", "c", "d", "e"]))),
        ("rewritten", &|file| rewrite(file, &long)),
        ("replaced", &|file| other(file, &rows(&["a", "b", "x", "d"]))),
        ("replaced", &|file| other(file, &rows(&["y", "a", "b", "c", "d"]))),
        ("rewritten", &|file| rewrite(file, &(rows(&["a", "b", "c"]) + row("d").trim_end() + "x\n"))),
    ];
    for (number, (word, change)) in cases.into_iter().enumerate() {
        for alive in [true, false] {
            let directory = TempDir::new().unwrap();
            let (path, file) = (directory.path(), directory.path().join("a.jsonl"));
            append(&file, rows(&["a", "b", "c", "d"]).trim_end());
            append(&path.join("b.jsonl"), &row("other"));
            let mut source = open(path, alive).unwrap();
            assert_eq!(rest(&mut source).await.len(), 5);
            change(&file);
            let error = match alive {
                true => error(&mut source).await,
                false => restarted(path, &source, false).await.err().unwrap_or_else(|| panic!("case {number}")),
            };
            let said = said(&error);
            assert!(said.contains("a.jsonl was") && said.contains(word), "case {number}: {said}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_otherwise_is_no_change() {
    let directory = TempDir::new().unwrap();
    let (path, file) = (directory.path(), directory.path().join("a.jsonl"));
    append(&file, &rows(&["a", "b"]));
    let mut source = open(path, true).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
    rewrite(&file, &rows(&["a", "b"]));
    assert!(rest(&mut source).await.is_empty(), "touched");
    fs::write(path.join("_copy"), rows(&["a", "b", "c"])).unwrap();
    fs::rename(path.join("_copy"), &file).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["c"], "copied over by what has grown");
    let mut again = restarted(path, &source, true).await.unwrap();
    assert!(rest(&mut again).await.is_empty());
    fs::remove_file(&file).unwrap();
    assert!(rest(&mut again).await.is_empty(), "read to its end, it may go");
    assert!(rest(&mut restarted(path, &again, true).await.unwrap()).await.is_empty());
    append(&file, &row("new"));
    assert_eq!(rest(&mut again).await, [("a.jsonl".to_owned(), 0, "new".to_owned())]);
}

#[tokio::test]
async fn rows_that_go_unread_are_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    append(&path.join("a.jsonl"), &rows(&["a", "b", "c"]));
    let mut source = open(path, false).unwrap();
    let Poll::Chunk(_) = source.read(0, 1).await.unwrap() else { panic!("no row") };
    fs::remove_file(path.join("a.jsonl")).unwrap();
    append(&path.join("b.jsonl"), &row("d"));
    let error = restarted(path, &source, true).await.err().unwrap();
    assert!(said(&error).contains("a.jsonl is gone, and was read only up to row 1"), "{error:#}");
}

/// Between two reads of one run.
#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_named() {
    let ids: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
    let old = rows(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    for (new, word) in [(old.replace('0', "5"), "rewritten"), (old[..200].to_owned(), "truncated")] {
        for follow in [true, false] {
            let directory = TempDir::new().unwrap();
            let file = directory.path().join("a.jsonl");
            fs::write(&file, &old).unwrap();
            let mut source = open(directory.path(), follow).unwrap();
            for _ in 0..20 {
                assert!(matches!(source.read(0, 1).await.unwrap(), Poll::Chunk(_)));
            }
            rewrite(&file, &new);
            let error = error(&mut source).await;
            assert!(said(&error).contains(word), "{error:#}");
        }
    }
}

#[tokio::test]
async fn half_a_parquet_file_is_waited_for_or_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    parquet(&path.join("_whole"), &[(Some("a"), Some(0)), (Some("b"), Some(0))]);
    let whole = fs::read(path.join("_whole")).unwrap();
    let file = path.join("x.parquet");
    let mut source = open(path, true).unwrap();
    for bytes in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..bytes]).unwrap();
        assert!(rest(&mut source).await.is_empty());
        let error = error(&mut open(path, false).unwrap()).await;
        assert!(said(&error).contains("x.parquet is not whole: it is still being written, or was cut"), "{error:#}");
    }
    let [warning] = &source.warnings()[..] else { panic!("not one warning") };
    assert!(warning.contains("x.parquet is not whole yet"), "{warning}");
    fs::write(&file, &whole).unwrap();
    assert_eq!(ids(&rest(&mut source).await), ["a", "b"]);
    let mut again = restarted(path, &source, true).await.unwrap();
    fs::rename(&file, path.join("y.parquet")).unwrap();
    assert!(rest(&mut again).await.is_empty());
    parquet(&path.join("y.parquet"), &[(Some("a"), Some(0)), (Some("c"), Some(0))]);
    let error = restarted(path, &again, true).await.err().unwrap();
    assert!(said(&error).contains("y.parquet was replaced"), "{error:#}");
}
