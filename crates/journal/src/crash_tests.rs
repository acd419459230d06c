//! A small job, stopped at every step and cut from power at every step, once and twice, must end as if it never was.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::crash::{cut_power, restart, steps, stop_at};
use crate::durable::{create_dirs, write_unsynced};
use crate::op::{Op, folder};
use crate::{Epoch, Journal, JournalError, Ledger, Marker, Publish, SourceFacts, StateFile, Sum};

const LAST: u64 = 4;
const SEALING: u64 = 2;
const SEALING_AGAIN: u64 = 3;
const ROWS_AN_EPOCH: u64 = 3;

/// Visible files by path.
type Files = BTreeMap<String, String>;

/// In memory where there is such a place: the power cut is a model, so that waiting for a disk would show nothing more.
fn fresh() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(root: &Path) -> Result<Journal, JournalError> {
    Journal::open(root, Path::new("_rescan/journal/stream"), BTreeMap::new())
}

/// Writes a file that is synced with all others of its epoch.
fn write(root: &Path, journal: &Journal, path: &str, content: &str) -> Result<Sum, JournalError> {
    let full = root.join(path);
    let written = create_dirs(folder(&full)).and_then(|()| write_unsynced(&full, content.as_bytes()));
    journal.syncs().add(&full, written.map_err(JournalError::at(&full))?);
    Ok(Sum::of(content.as_bytes()))
}

/// Epoch 1 reads rows into two output partitions, epoch 2 reads more and seals both, epoch 3 seals one of them again,
/// with other rows, epoch 4 changes nothing.
fn next_epoch(root: &Path, journal: &Journal, attempt: &str) -> Result<Epoch, JournalError> {
    let last = journal.last().cloned().unwrap_or_default();
    let mut epoch = Epoch { number: journal.next_number(), ..last };
    epoch.token = format!("{attempt}{}", epoch.number);
    (epoch.publish, epoch.remove, epoch.markers) = (vec![], vec![], vec![]);
    if epoch.number == LAST {
        return Ok(epoch);
    }
    if epoch.number == SEALING_AGAIN {
        stage(root, journal, &mut epoch, "hr=1/part-1".into(), "1:again")?;
        epoch.remove.push("hr=1/part-0".into());
        epoch.markers.push(Marker { path: "hr=1/_SUCCESS".into(), content: json!({"rows": "again"}) });
        return Ok(epoch);
    }
    let rows = read_rows(root, journal, &mut epoch)?;
    if epoch.number == SEALING {
        // A sealed partition without rows: its marker is all that is in it.
        epoch.markers.push(Marker { path: "hr=9/_SUCCESS".into(), content: json!({"rows": 0}) });
    }
    for hour in 0..2 {
        let name = if epoch.number == SEALING { "part-0" } else { "open-1" };
        stage(root, journal, &mut epoch, format!("hr={hour}/{name}"), &format!("{hour}:{rows}"))?;
        if epoch.number == SEALING {
            epoch.remove.push(format!("hr={hour}/open-1"));
            let content = json!({"rows": rows, "fraction": 0.1});
            epoch.markers.push(Marker { path: format!("hr={hour}/_SUCCESS"), content });
        }
    }
    Ok(epoch)
}

/// Reads on from the last offset; the new state file is all rows so far.
fn read_rows(root: &Path, journal: &Journal, epoch: &mut Epoch) -> Result<String, JournalError> {
    let source = epoch.sources.entry("plays/0".into()).or_default();
    let from = source.offset.as_u64().unwrap_or(0);
    *source = SourceFacts { offset: json!(from + ROWS_AN_EPOCH), ..Default::default() };
    let counts = Ledger { read: ROWS_AN_EPOCH, accepted: 2, late: 1, ..Default::default() };
    epoch.ledger.entry("plays".into()).or_default().add(&counts);
    let before = epoch.state.iter().map(|file| fs::read_to_string(root.join(&file.path)));
    let before: String = before.collect::<io::Result<_>>().map_err(JournalError::at(root))?;
    let rows = (from..from + ROWS_AN_EPOCH).fold(before, |rows, row| format!("{rows}{row};"));
    let path = format!("{}/{}", journal.state(), epoch.token);
    let Sum { bytes, checksum } = write(root, journal, &path, &rows)?;
    epoch.state = vec![StateFile { table: "plays".into(), path, rows: 3, bytes, checksum, newest: 0 }];
    Ok(rows)
}

fn stage(root: &Path, journal: &Journal, epoch: &mut Epoch, path: String, content: &str) -> Result<(), JournalError> {
    let staged = format!("{}/{}/{path}", journal.stage(), epoch.token);
    let Sum { bytes, checksum } = write(root, journal, &staged, content)?;
    epoch.publish.push(Publish { staged, path, bytes, checksum });
    Ok(())
}

/// Goes on to the end. `committed` is the last epoch whose commit was reported.
fn run(root: &Path, attempt: &str, committed: &mut u64) -> Result<(), JournalError> {
    let mut journal = open(root)?;
    while journal.next_number() <= LAST {
        let epoch = next_epoch(root, &journal, attempt)?;
        journal.commit(epoch)?;
        *committed = journal.next_number() - 1;
        journal.collect_garbage()?;
    }
    Ok(())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.map(|e| e.unwrap().path()).collect::<Vec<_>>());
    entries
        .unwrap_or_default()
        .into_iter()
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

fn visible(root: &Path) -> Files {
    let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let all = files(root).into_iter().map(|path| (relative(path.clone()), fs::read_to_string(path).unwrap()));
    all.filter(|(path, _)| !path.starts_with("_rescan") && !path.contains("/.")).collect()
}

/// What an uninterrupted run shows after each epoch, and the number of its steps.
fn uninterrupted() -> (Vec<Files>, usize) {
    let dir = fresh();
    stop_at(None);
    let mut seen = vec![Files::new()];
    let mut journal = open(dir.path()).unwrap();
    while journal.next_number() <= LAST {
        let epoch = next_epoch(dir.path(), &journal, "whole").unwrap();
        journal.commit(epoch).unwrap();
        journal.collect_garbage().unwrap();
        seen.push(visible(dir.path()));
    }
    (seen, steps().len())
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// kill -9: the disk has all.
    Kill,
    /// The power goes, and with it all that is not synced.
    Power,
    /// The power goes, and with it some of what is not synced; chosen by this seed.
    Some(u32),
}

fn end(how: End, root: &Path) {
    match how {
        End::Kill => restart(None),
        End::Power => cut_power(|_| false),
        End::Some(seed) => cut_power(|path| {
            let mut hasher = DefaultHasher::new();
            (seed, path.strip_prefix(root).unwrap()).hash(&mut hasher);
            hasher.finish().is_multiple_of(2)
        }),
    }
}

/// What readers may rely on whatever happened: a marker has its partition's one file beside it, whole.
fn check_markers(root: &Path, expected: &[Files], case: &str) {
    let now = visible(root);
    for hour in ["hr=0/", "hr=1/"] {
        if now.contains_key(&format!("{hour}_SUCCESS")) {
            let of = |files: &Files| {
                files.clone().into_iter().filter(|(path, _)| path.starts_with(hour)).collect::<Vec<_>>()
            };
            let sealed = expected.iter().filter(|files| files.contains_key(&format!("{hour}_SUCCESS")));
            assert!(sealed.map(of).any(|files| files == of(&now)), "{case}: sealed {now:?}");
        }
    }
}

/// After a crash: some epoch is whole, and no reported one is lost; then the job ends as if nothing had been.
fn check_resumes(root: &Path, expected: &[Files], committed: u64, case: &str) {
    check_markers(root, expected, case);
    let number = open(root).unwrap_or_else(|e| panic!("{case}: {e}")).next_number() - 1;
    assert!((committed..=committed + 1).contains(&number), "{case}: epoch {committed} reported, {number} found");
    assert_eq!(visible(root), expected[number as usize], "{case}: epoch {number}");
    run(root, "after", &mut 0).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(visible(root), expected[LAST as usize], "{case}: the end");
    check_clean(root, case);
}

/// Nothing is left over: one more open has nothing to do, and what stands is what the last two epochs name.
fn check_clean(root: &Path, case: &str) {
    let journal = open(root).unwrap();
    assert_eq!(files(&root.join(journal.stage())), Vec::<PathBuf>::new(), "{case}");
    assert_eq!(files(&root.join(journal.state())).len(), 1, "{case}");
    assert_eq!(journal.last().unwrap().ledger["plays"].read, 2 * ROWS_AN_EPOCH, "{case}");
    let hidden = files(root).into_iter().filter(|path| path.extension().is_some_and(|e| e == "tmp"));
    assert_eq!(hidden.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{case}");
}

#[test]
fn a_stop_at_any_step_leaves_no_trace() {
    let (expected, count) = uninterrupted();
    assert!(count > 100, "{count} steps");
    for step in 0..=count as u32 {
        for how in [End::Kill, End::Power, End::Some(0), End::Some(1), End::Some(2), End::Some(3)] {
            let dir = fresh();
            let mut committed = 0;
            stop_at(Some(step));
            let result = run(dir.path(), "first", &mut committed);
            assert_eq!(result.is_ok(), step as usize == count, "step {step}");
            let at = steps().pop();
            end(how, dir.path());
            check_resumes(dir.path(), &expected, committed, &format!("step {step}, after {at:?}, {how:?}"));
        }
    }
}

#[test]
fn a_second_stop_while_recovering_leaves_no_trace() {
    let (expected, count) = uninterrupted();
    for first in 0..count as u32 {
        let ends = (0..).flat_map(|second| [(second, End::Power), (second, End::Some(first))]);
        // Every second stop under the worst loss, every fourth under another one too.
        for (second, how) in ends.filter(|(second, how)| matches!(how, End::Power) || second % 4 == 0) {
            let dir = fresh();
            let mut committed = 0;
            stop_at(Some(first));
            run(dir.path(), "first", &mut committed).unwrap_err();
            // Killed, and started again before the disk has caught up; then the second stop.
            restart(Some(second));
            let recovered = open(dir.path()).is_ok();
            end(how, dir.path());
            check_resumes(dir.path(), &expected, committed, &format!("steps {first} and {second}, {how:?}"));
            if recovered {
                break;
            }
        }
    }
}

#[test]
fn our_own_record_of_a_failed_attempt_is_ours() {
    let (dir, trial) = (fresh(), fresh());
    let commit_in = |root: &Path, step| {
        let mut journal = open(root).unwrap();
        let epoch = next_epoch(root, &journal, "a").unwrap();
        stop_at(step);
        (journal.commit(epoch.clone()), journal, epoch)
    };
    commit_in(trial.path(), None).0.unwrap();
    let decision = steps().iter().position(|(op, path)| *op == Op::Link && path.ends_with("0000000001.json")).unwrap();
    // The create reaches the disk, and its success is lost.
    let (failed, mut journal, epoch) = commit_in(dir.path(), Some(decision as u32 + 1));
    failed.unwrap_err();
    stop_at(None);
    journal.commit(epoch.clone()).unwrap();
    assert_eq!(journal.last(), Some(&epoch));
    assert_eq!(visible(dir.path()).len(), 2);
}

#[test]
fn a_number_that_another_run_decided_is_fenced() {
    stop_at(None);
    let (dir, other) = (fresh(), fresh());
    let mut zombie = open(dir.path()).unwrap();
    let epoch = next_epoch(dir.path(), &zombie, "zombie").unwrap();
    let mut winner = open(other.path()).unwrap();
    winner.commit(next_epoch(other.path(), &winner, "winner").unwrap()).unwrap();
    let record = "_rescan/journal/stream/0000000001.json";
    fs::copy(other.path().join(record), dir.path().join(record)).unwrap();
    assert!(matches!(zombie.commit(epoch), Err(JournalError::Fenced { .. })));
    assert_eq!(visible(dir.path()), Files::new());
    assert_eq!(zombie.last(), None);
}

/// The hours of two epochs that replace one another: the second leaves one out.
fn drawn(root: &Path, journal: &Journal, word: &str, hours: &[u32]) -> Result<Epoch, JournalError> {
    let mut epoch = Epoch { number: journal.next_number(), token: word.into(), ..Epoch::default() };
    for hour in hours {
        stage(root, journal, &mut epoch, format!("hr={hour}/part-{word}"), word)?;
        let content = json!({"file": format!("part-{word}")});
        epoch.markers.push(Marker { path: format!("hr={hour}/_SUCCESS"), content });
    }
    for hour in visible(root).keys().filter_map(|path| path.strip_suffix("/_SUCCESS")) {
        epoch.remove.push(format!("{hour}/part-old"));
        if !epoch.markers.iter().any(|marker| marker.path.starts_with(hour)) {
            epoch.unseal.push(format!("{hour}/_SUCCESS"));
        }
    }
    Ok(epoch)
}

/// Every sealed partition holds the one file that its marker names, and all that are sealed are of one epoch.
fn check_one_draw(root: &Path, case: &str) {
    let files = visible(root);
    let mut draws: Vec<&str> = Vec::new();
    for (path, marker) in files.iter().filter(|(path, _)| path.ends_with("_SUCCESS")) {
        let hour = path.strip_suffix("_SUCCESS").unwrap();
        let parts: Vec<_> = files.iter().filter(|(path, _)| path.starts_with(&format!("{hour}part-"))).collect();
        let [(part, word)] = parts.as_slice() else { panic!("{case}: {hour} is sealed with {parts:?}") };
        assert!(marker.contains(part.strip_prefix(hour).unwrap()), "{case}: {marker} beside {part}");
        draws.push(word);
    }
    draws.dedup();
    assert!(draws.len() <= 1, "{case}: {draws:?}");
}

#[test]
fn partitions_sealed_anew_are_never_seen_beside_those_of_before() {
    for step in 0.. {
        let mut done = false;
        for how in [End::Kill, End::Power, End::Some(0), End::Some(1), End::Some(2), End::Some(3)] {
            let dir = fresh();
            stop_at(None);
            let mut journal = open(dir.path()).unwrap();
            journal.commit(drawn(dir.path(), &journal, "old", &[0, 1, 2]).unwrap()).unwrap();
            let epoch = drawn(dir.path(), &journal, "new", &[1, 2]).unwrap();
            stop_at(Some(step));
            done = journal.commit(epoch).is_ok();
            drop(journal);
            let case = format!("step {step}, after {:?}, {how:?}", steps().pop());
            check_one_draw(dir.path(), &case);
            end(how, dir.path());
            check_one_draw(dir.path(), &case);
            open(dir.path()).unwrap();
            check_one_draw(dir.path(), &case);
            let sealed = visible(dir.path()).keys().filter(|path| path.ends_with("_SUCCESS")).count();
            assert!(sealed == 2 || sealed == 3 && !done, "{case}: {sealed} sealed");
        }
        if done {
            return assert!(step > 20, "{step} steps");
        }
    }
}
