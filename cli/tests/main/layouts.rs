//! Hours in directories as other engines name them: the same rows, and what is no data of an hour is named.

use std::fs;

use serde_json::Value;

use super::commands::{JOIN, demo};
use super::workdir::Workdir;

/// The directory of the hour of a date.
type Layout = fn(&str, u32) -> String;

/// Copies an archive, with each hour, of the date `2016-11-07` and the hour `1`, in a directory of another name.
fn lay_out(dir: &Workdir, archive: &str, copy: &str, name: Layout) {
    for file in dir.files(archive) {
        let parts: Vec<&str> = file.split('/').collect();
        let [date, hour, file] = parts.as_slice() else { panic!("{file} is in no hour") };
        let to = dir.path(copy).join(name(&date[3..], hour[3..].parse().unwrap())).join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(dir.path(archive).join(parts.join("/")), to).unwrap();
    }
}

/// Batch, replay and a side of hours read each layout.
#[test]
fn hours_as_other_engines_name_them() {
    let dir = demo();
    let rows = |out: &str, line: &str| -> Vec<Value> {
        dir.ok(&format!("{line} --out {out}"));
        dir.rows(out)
    };
    let expected = rows("expected", JOIN);
    assert!(!expected.is_empty());
    let layouts: [(&str, Layout); 3] = [
        ("no zero", |date, hour| format!("dt={date}/hr={hour}")),
        ("date and hour", |date, hour| format!("date={}/hour={hour:02}", date.replace('-', ""))),
        ("four levels", |date, hour| {
            let parts: Vec<u32> = date.split('-').map(|part| part.parse().unwrap()).collect();
            format!("year={}/month={}/day={}/hour={hour}", parts[0], parts[1], parts[2])
        }),
    ];
    for (i, (name, layout)) in layouts.into_iter().enumerate() {
        for input in ["impressions", "plays"] {
            lay_out(&dir, &format!("archive/{input}"), &format!("other{i}/{input}"), layout);
        }
        let line = JOIN.replace("archive", &format!("other{i}"));
        assert_eq!(rows(&format!("batch{i}"), &line), expected, "{name}");
        assert_eq!(rows(&format!("replay{i}"), &format!("{line} --replay")), expected, "{name}");
    }
}

/// Files below an hour are of it; what is none of its data ends the run that reads the hour.
#[test]
fn what_lies_in_an_hour_is_read_or_named() {
    let dir = demo();
    let expected = dir.ok(&format!("{JOIN} --hour 2016-11-07T01 --out expected"));
    assert!(expected.err.contains("1 hours"), "{}", expected.err);
    let hour = dir.path("archive/plays/dt=2016-11-07/hr=02");
    for (name, said) in [("notes.txt", "notes.txt is not read"), ("more/x.json", "more/x.json is not read")] {
        let path = hour.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        for line in [JOIN.to_owned(), format!("{JOIN} --replay"), "stratify --in archive/plays --size 9".to_owned()] {
            let ran = dir.run(&format!("{line} --out out"));
            assert!(ran.code == Some(65) && ran.err.contains(said), "{line}: {}", ran.err);
        }
        dir.ok(&format!("{JOIN} --hour 2016-11-07T00 --out elsewhere-{}", name.len()));
        fs::rename(&path, path.with_file_name("_hidden")).unwrap();
    }
    dir.ok(&format!("{JOIN} --out out"));
    let below = hour.join("country=US");
    fs::create_dir(&below).unwrap();
    let part = fs::read_dir(&hour).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet")).unwrap();
    fs::remove_file(hour.join("_SUCCESS")).unwrap();
    let rows = dir.rows("out");
    fs::rename(&part, below.join("x.parquet")).unwrap();
    dir.ok(&format!("{JOIN} --allow-incomplete --out deeper"));
    assert_eq!(dir.rows("deeper"), rows);
}
