//! Same plan, same bytes, on every machine; another seed, others.

use std::fs;
use std::path::{Path, PathBuf};

use generator::{Format, Plan};
use twox_hash::XxHash3_128;

use super::plan::{small, write};

/// Every file below the directory, with a hash of its bytes.
fn hashes(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut ways = vec![directory.to_owned()];
    while let Some(way) = ways.pop() {
        for entry in fs::read_dir(way).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                ways.push(path);
            } else {
                let hash = format!("{:032x}", XxHash3_128::oneshot(&fs::read(&path).unwrap()));
                found.push((path.strip_prefix(directory).unwrap().to_owned(), hash));
            }
        }
    }
    found.sort();
    found
}

fn written(plan: &Plan) -> Vec<(PathBuf, String)> {
    let directory = tempfile::tempdir().unwrap();
    write(plan, directory.path());
    hashes(directory.path())
}

/// A change of these is a change of everybody's data: raise the truth's version with it.
#[test]
fn seed_7_is_known_by_heart() {
    let golden = [
        ("impressions.jsonl", "163320f9e5e0500b4ce4a16ba2ba3b2b"),
        ("plays.jsonl", "1d892b8fa52b9582d874286c1e6103c2"),
    ];
    let found = written(&Plan { impressions_per_hour: 2_000, ..small(7) });
    for (name, hash) in golden {
        assert!(found.contains(&(name.into(), hash.into())), "{name} is {found:?}");
    }
}

#[test]
fn the_same_plan_gives_the_same_files() {
    for format in [Format::Json, Format::Parquet] {
        let plan = Plan { format, impressions_per_hour: 5_000, ..small(7) };
        assert_eq!(written(&plan), written(&plan));
    }
}

#[test]
fn another_seed_gives_other_files() {
    for (one, other) in written(&small(7)).into_iter().zip(written(&small(8))) {
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1, "{:?}", one.0);
    }
}

#[test]
fn no_file_is_half_written_or_left_hidden() {
    let names = written(&Plan { format: Format::Parquet, ..small(7) });
    assert_eq!(names.len(), 2 * 3 + 4 + 1, "{names:?}");
    assert!(names.iter().all(|(path, _)| !path.file_name().unwrap().to_str().unwrap().starts_with('.')));
}
