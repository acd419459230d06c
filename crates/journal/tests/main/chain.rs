//! A chain opened, committed to, resumed, and refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use journal::{
    Checksum, Decision, Epoch, Journal, JournalError, Ledger, Marker, Publish, SourceFacts, StateFile, Sum,
    create_dirs, look, recover, vouches,
};
use serde_json::json;
use tempfile::TempDir;

const CHAIN: &str = "_rescan/journal/stream";
const PART: &str = "dt=2026-11-20/hr=05/part-0.parquet";

fn config() -> BTreeMap<String, String> {
    [("command".to_owned(), "join".to_owned()), ("within".to_owned(), "2h".to_owned())].into()
}

fn open(root: &Path) -> Result<Journal, JournalError> {
    Journal::open(root, Path::new(CHAIN), config())
}

fn write(root: &Path, path: &str, content: &str) -> Sum {
    let path = root.join(path);
    create_dirs(path.parent().unwrap()).unwrap();
    let mut writer = Checksum::new(fs::File::create(path).unwrap());
    writer.write_all(content.as_bytes()).unwrap();
    let sum = writer.sum();
    writer.into_inner().sync_all().unwrap();
    sum
}

/// The next epoch: one row more, one state file more.
fn next(root: &Path, journal: &Journal) -> Epoch {
    let number = journal.next_number();
    let path = format!("{}/{number}", journal.state());
    let Sum { bytes, checksum } = write(root, &path, "state");
    let mut state = journal.last().map(|last| last.state.clone()).unwrap_or_default();
    state.push(StateFile { table: "plays".into(), path, rows: 1, bytes, checksum, newest: 0 });
    Epoch {
        number,
        token: format!("token-{number}"),
        config: config(),
        sources: [("plays/topic-0".into(), SourceFacts { offset: json!(number), ..Default::default() })].into(),
        ledger: [("plays".into(), Ledger { read: number, accepted: number, ..Default::default() })].into(),
        state,
        ..Default::default()
    }
}

fn with_part(root: &Path, journal: &Journal, content: &str) -> Epoch {
    let staged = format!("{}/part", journal.stage());
    let Sum { bytes, checksum } = write(root, &staged, content);
    Epoch { publish: vec![Publish { staged, path: PART.into(), bytes, checksum }], ..next(root, journal) }
}

fn chain_of(epochs: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path()).unwrap();
    for _ in 0..epochs {
        let epoch = next(dir.path(), &journal);
        journal.commit(epoch).unwrap();
    }
    dir
}

fn names(dir: PathBuf) -> Vec<String> {
    let entries = fs::read_dir(dir).map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect());
    let mut names: Vec<String> = entries.unwrap_or_default();
    names.sort();
    names
}

/// Nothing was decided, and the same journal takes the number again.
fn assert_undecided(root: &Path, journal: &mut Journal) {
    let number = journal.next_number();
    assert!(!root.join(CHAIN).join(format!("{number:010}.json")).exists());
    let epoch = next(root, journal);
    journal.commit(epoch).unwrap();
    assert_eq!(journal.last().unwrap().number, number);
}

#[test]
fn what_was_committed_is_there_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path()).unwrap();
    assert!(journal.last().is_none());
    let mut epoch = with_part(dir.path(), &journal, "rows");
    epoch.markers.push(Marker { path: "dt=2026-11-20/hr=05/_SUCCESS".into(), content: json!({"rows": 1}) });
    journal.commit(epoch.clone()).unwrap();
    assert_eq!(journal.last(), Some(&epoch));
    drop(journal);
    assert_eq!(fs::read(dir.path().join(PART)).unwrap(), b"rows");
    let marker = dir.path().join("dt=2026-11-20/hr=05/_SUCCESS");
    let text = fs::read_to_string(marker).unwrap();
    assert!(text.starts_with("{\n  \"checksum\": \"xxh3-128:") && text.ends_with("\",\n  \"rows\": 1\n}\n"), "{text}");
    assert_eq!(vouches(text.as_bytes()), Ok(()));
    assert_eq!(names(dir.path().join("_rescan/stage/stream")), [""; 0]);
    let journal = open(dir.path()).unwrap();
    assert_eq!(journal.last(), Some(&epoch));
    assert_eq!(journal.next_number(), 2);
}

#[test]
fn a_look_needs_no_lock_and_changes_nothing() {
    let dir = chain_of(2);
    let _held = open(dir.path()).unwrap();
    let facts = look(&dir.path().join(CHAIN), &config()).unwrap();
    assert_eq!(recover(&facts), Decision::Continue { epoch: 2 });
    assert_eq!(facts.newest.unwrap().unwrap().sources["plays/topic-0"].offset, json!(2));
    let none = dir.path().join("none");
    assert_eq!(recover(&look(&none, &config()).unwrap()), Decision::Fresh);
    assert!(!none.exists());
}

#[test]
fn a_second_run_is_locked_out() {
    let dir = chain_of(0);
    let _held = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(JournalError::Locked { .. })));
    Journal::open(dir.path(), Path::new("_rescan/journal/other"), config()).unwrap();
}

#[test]
fn another_configuration_is_refused_with_the_difference() {
    let dir = chain_of(1);
    let mut other = config();
    other.insert("within".into(), "1h".into());
    let error = Journal::open(dir.path(), Path::new(CHAIN), other).unwrap_err();
    assert!(matches!(error, JournalError::ConfigChanged { epoch: 1, .. }));
    assert!(error.to_string().contains("within was 2h, now 1h"), "{error}");
    open(dir.path()).unwrap();
}

#[test]
fn an_unbalanced_ledger_decides_nothing() {
    let dir = chain_of(1);
    let mut journal = open(dir.path()).unwrap();
    let mut epoch = next(dir.path(), &journal);
    epoch.ledger.insert("impressions".into(), Ledger { read: 2, accepted: 1, ..Default::default() });
    let error = journal.commit(epoch).unwrap_err();
    assert!(matches!(error, JournalError::Unbalanced(_)));
    assert!(error.to_string().contains("input impressions"), "{error}");
    assert_undecided(dir.path(), &mut journal);
}

#[test]
fn an_epoch_that_cannot_be_is_refused() {
    let dir = chain_of(1);
    let mut journal = open(dir.path()).unwrap();
    let good = next(dir.path(), &journal);
    let repeated = Epoch { number: 1, ..good.clone() };
    let skipped = Epoch { number: 3, ..good.clone() };
    let other_config = Epoch { config: BTreeMap::new(), ..good.clone() };
    let outside = Epoch { remove: vec!["../other/part-0.parquet".into()], ..good };
    for epoch in [repeated, skipped, other_config, outside] {
        let error = journal.commit(epoch).unwrap_err();
        assert!(matches!(error, JournalError::Refused { .. }), "{error}");
    }
    assert_eq!(names(dir.path().join(CHAIN)), ["0000000001.done", "0000000001.json", "LOCK"]);
    assert_undecided(dir.path(), &mut journal);
}

#[test]
fn files_that_are_not_ready_decide_nothing() {
    let dir = chain_of(1);
    let mut journal = open(dir.path()).unwrap();
    let mut unstaged = with_part(dir.path(), &journal, "rows");
    unstaged.publish[0].staged.push('x');
    let mut half_staged = with_part(dir.path(), &journal, "rows");
    half_staged.publish[0].bytes += 1;
    let mut no_state = next(dir.path(), &journal);
    no_state.state[1].path.push('x');
    let mut half_state = next(dir.path(), &journal);
    half_state.state[1].bytes += 1;
    for epoch in [unstaged, half_staged, no_state, half_state] {
        let error = journal.commit(epoch).unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    }
    assert_undecided(dir.path(), &mut journal);
}

#[test]
fn a_foreign_file_in_the_way_is_named_and_kept() {
    for foreign in ["other", "else"] {
        let dir = chain_of(1);
        let mut journal = open(dir.path()).unwrap();
        let epoch = with_part(dir.path(), &journal, "rows!".get(..foreign.len()).unwrap());
        write(dir.path(), PART, foreign);
        let error = journal.commit(epoch).unwrap_err();
        assert!(matches!(&error, JournalError::Corrupt { path, .. } if path.ends_with(PART)), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(PART)).unwrap(), foreign);
        assert_undecided(dir.path(), &mut journal);
    }
}

#[test]
fn an_equal_file_in_the_way_is_taken() {
    let dir = chain_of(1);
    let mut journal = open(dir.path()).unwrap();
    let epoch = with_part(dir.path(), &journal, "rows");
    write(dir.path(), PART, "rows");
    journal.commit(epoch).unwrap();
    assert_eq!(names(dir.path().join(journal.stage())), [""; 0]);
}

#[test]
fn a_roll_forward_that_lost_its_file_names_it() {
    let dir = chain_of(0);
    let mut journal = open(dir.path()).unwrap();
    let epoch = with_part(dir.path(), &journal, "rows");
    journal.commit(epoch).unwrap();
    drop(journal);
    fs::remove_file(dir.path().join(CHAIN).join("0000000001.done")).unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join(CHAIN).join("0000000001.done")).unwrap();
    fs::remove_file(dir.path().join(PART)).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, JournalError::Corrupt { path, .. } if path.ends_with(PART)), "{error}");
}

#[test]
fn damage_to_the_chain_is_found_and_left_alone() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("is damaged", |chain| {
            let record = chain.join("0000000003.json");
            let text = fs::read_to_string(&record).unwrap();
            fs::write(record, text.replace("token-3", "token-4")).unwrap();
        }),
        ("epochs 2 to 2 are missing", |chain| fs::remove_file(chain.join("0000000002.json")).unwrap()),
        ("epoch 3 was published", |chain| fs::remove_file(chain.join("0000000003.json")).unwrap()),
        ("epoch 2 has a successor", |chain| fs::remove_file(chain.join("0000000002.done")).unwrap()),
        ("state of epoch 3 is missing", |chain| fs::remove_file(chain.join("../../state/stream/1")).unwrap()),
    ];
    for (expected, damage) in damages {
        let dir = chain_of(3);
        let rubbish = "_rescan/stage/stream/rubbish";
        write(dir.path(), rubbish, "");
        damage(&dir.path().join(CHAIN));
        let before = names(dir.path().join(CHAIN));
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }));
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(names(dir.path().join(CHAIN)), before);
        assert!(dir.path().join(rubbish).exists());
    }
}

#[test]
fn what_an_undecided_attempt_left_is_swept_up() {
    let dir = chain_of(3);
    let rubbish = [
        "_rescan/stage/stream/4-a.parquet",
        "_rescan/stage/stream/dt=2026-11-20/hr=05/4-a.parquet",
        "_rescan/state/stream/4-a.arrow",
        "_rescan/journal/stream/.0000000004.json.0-0.tmp",
    ];
    let others = [
        "_rescan/stage/batch/4-a.parquet",
        "_rescan/state/batch/4-a.arrow",
        "_rescan/late/4-a.parquet",
        "dt=2026-11-20/hr=05/open-4-a.parquet",
    ];
    rubbish.iter().chain(&others).for_each(|path| drop(write(dir.path(), path, "")));
    open(dir.path()).unwrap();
    for path in rubbish {
        assert!(!dir.path().join(path).exists(), "{path}");
    }
    for path in others {
        assert!(dir.path().join(path).exists(), "{path}");
    }
    assert_eq!(names(dir.path().join("_rescan/state/stream")), ["1", "2", "3"]);
}

#[test]
fn garbage_is_what_the_last_two_epochs_do_not_name() {
    let dir = chain_of(3);
    let mut journal = open(dir.path()).unwrap();
    journal.collect_garbage().unwrap();
    assert_eq!(
        names(dir.path().join(CHAIN)),
        ["0000000002.done", "0000000002.json", "0000000003.done", "0000000003.json", "LOCK"]
    );
    assert_eq!(names(dir.path().join(journal.state())), ["1", "2", "3"]);
    for (number, left) in [(4, vec!["1", "2", "3", "4"]), (5, vec!["4", "5"])] {
        let mut epoch = next(dir.path(), &journal);
        epoch.state.drain(..epoch.state.len() - 1);
        assert_eq!(epoch.number, number);
        journal.commit(epoch).unwrap();
        journal.collect_garbage().unwrap();
        assert_eq!(names(dir.path().join(journal.state())), left);
    }
    drop(journal);
    assert_eq!(open(dir.path()).unwrap().next_number(), 6);
}

#[test]
fn what_the_system_said_can_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("file");
    fs::write(&root, "").unwrap();
    let error = open(&root).unwrap_err();
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
}
