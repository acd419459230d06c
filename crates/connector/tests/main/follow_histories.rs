//! Random histories of a followed directory: whatever happens to its files, every row is read once.
//!
//! Every run begins at a seed of its own, which it prints. `RESCAN_TEST_SEED=7` begins at another one, and
//! `RESCAN_TEST_HISTORIES=3000` says how many.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use connector::FileSource;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use tempfile::TempDir;

use super::files::{Seen, append, chunk, ids, open};
use super::followed::{restarted, row};
use super::rotation::gzip;

/// One thing that happens to a directory.
#[derive(Clone, Debug)]
enum Event {
    Append {
        file: u8,
        rows: u8,
        open: bool,
    },
    /// The beginning of a row, which its writer ends before anything else that it does.
    Half(u8),
    New,
    Empty(u8),
    Rename,
    /// The file takes the place of the one that was rotated before it.
    RenameOver,
    CopyTruncate,
    /// Rotation by a copy that stays beside the file.
    Copy,
    Compress {
        keep: bool,
    },
    /// A longer file with the same beginning in place of one.
    Replace(u8),
    Swap,
    Move(prop::sample::Index),
    /// Another file of the same rows, which count once more.
    Twin(u8),
    Delete(prop::sample::Index),
    Read(usize),
    /// One chunk only, so that a restart finds files half read.
    Some(usize),
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let file = || 0..3_u8;
    let which = any::<prop::sample::Index>;
    let event = prop_oneof![
        6 => (file(), 1..6_u8, any::<bool>()).prop_map(|(file, rows, open)| Event::Append { file, rows, open }),
        1 => file().prop_map(Event::Half),
        1 => Just(Event::New),
        1 => file().prop_map(Event::Empty),
        2 => Just(Event::Rename),
        1 => Just(Event::RenameOver),
        2 => Just(Event::CopyTruncate),
        1 => Just(Event::Copy),
        3 => any::<bool>().prop_map(|keep| Event::Compress { keep }),
        1 => file().prop_map(Event::Replace),
        1 => Just(Event::Swap),
        1 => which().prop_map(Event::Move),
        1 => file().prop_map(Event::Twin),
        1 => which().prop_map(Event::Delete),
        4 => (1..50_usize).prop_map(Event::Read),
        3 => (1..5_usize).prop_map(Event::Some),
        3 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..50)
}

const LOG: &str = "app.jsonl";
const FILES: [&str; 3] = [LOG, "a.jsonl", "z.jsonl"];

/// The directory as its writers see it.
struct Feed {
    directory: TempDir,
    /// The ids of all rows.
    written: Vec<usize>,
    next: usize,
    clock: u64,
    /// What is to end a row, and where.
    half: Option<(File, &'static str)>,
    twins: bool,
}

impl Feed {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), written: vec![], next: 0, clock: 0, half: None, twins: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn row(&mut self) -> String {
        self.written.push(self.next);
        self.next += 1;
        row(&(self.next - 1).to_string())
    }

    /// What must stand before the next row of a file.
    fn before(path: &Path) -> &'static str {
        let text = fs::read(path).unwrap_or_default();
        if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" }
    }

    /// Rows at the end of a file, the last one perhaps without its line end.
    fn append(&mut self, name: &str, rows: u8, open: bool) {
        let path = self.path(name);
        let text = Self::before(&path).to_owned() + &(0..rows).map(|_| self.row()).collect::<String>();
        append(&path, if open { text.trim_end() } else { &text });
        self.touch(&path);
    }

    fn time(&mut self) -> SystemTime {
        self.clock += 1;
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + self.clock)
    }

    /// Every change has a time of its own.
    fn touch(&mut self, path: &Path) {
        let time = self.time();
        OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn half(&mut self, name: &str) {
        let path = self.path(name);
        let (before, text) = (Self::before(&path), self.row());
        append(&path, &(before.to_owned() + &text[..9]));
        self.touch(&path);
        let rest = text[9..].to_owned().leak();
        self.half = Some((OpenOptions::new().append(true).open(path).unwrap(), rest));
    }

    /// Ends the row that was begun, wherever its file is by now.
    fn end_half(&mut self) {
        if let Some((mut file, rest)) = self.half.take() {
            file.write_all(rest.as_bytes()).unwrap();
            file.set_modified(self.time()).unwrap();
        }
    }

    /// Every `app.jsonl.N` becomes `N + 1`, so that 1 is free.
    fn shift(&self) {
        for n in (1..60).rev() {
            for ending in ["", ".gz"] {
                let name = |n: u32| self.path(&format!("{LOG}.{n}{ending}"));
                if name(n).exists() {
                    fs::rename(name(n), name(n + 1)).unwrap();
                }
            }
        }
    }

    fn copy(&mut self) {
        let copy = self.path(&format!("{LOG}.1"));
        self.shift();
        fs::copy(self.path(LOG), &copy).unwrap();
        self.touch(&copy);
    }

    fn compress(&mut self, keep: bool) {
        let mut names = (1..60).map(|n| self.path(&format!("{LOG}.{n}")));
        let Some(last) = names.rfind(|path| path.exists()) else { return };
        let packed = PathBuf::from(format!("{}.gz", last.display()));
        gzip(&last, &packed);
        self.touch(&packed);
        if !keep {
            fs::remove_file(last).unwrap();
        }
    }

    fn replace(&mut self, name: &str) {
        let (path, new) = (self.path(name), self.path("_new"));
        fs::copy(&path, &new).unwrap();
        self.append("_new", 2, false);
        fs::rename(new, path).unwrap();
    }

    fn twin(&mut self, name: &str) {
        self.twins = true;
        let twin = self.path("twin.jsonl");
        fs::copy(self.path(name), &twin).unwrap();
        self.touch(&twin);
        let ids = fs::read_to_string(twin).unwrap();
        let ids = ids.lines().map(|line| line.split('"').nth(3).unwrap().parse::<usize>().unwrap());
        self.written.extend(ids);
    }

    /// A file that is there, by a number.
    fn which(&self, which: prop::sample::Index) -> Option<PathBuf> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        (!names.is_empty()).then(|| which.get(&names).clone())
    }

    fn happens(&mut self, event: &Event) {
        let log = self.path(LOG);
        let name = |file: &u8| FILES[usize::from(*file)];
        let is_there = |file: &u8| self.path(name(file)).exists();
        match event {
            Event::Append { file, rows, open } => self.append(name(file), *rows, *open),
            Event::Half(file) => self.half(name(file)),
            Event::New => self.append(&format!("new-{}.jsonl", self.next), 2, false),
            Event::Empty(file) if !is_there(file) => drop(File::create(self.path(name(file))).unwrap()),
            Event::Rename if log.exists() => {
                self.shift();
                fs::rename(&log, self.path(&format!("{LOG}.1"))).unwrap();
            }
            Event::RenameOver if log.exists() => {
                let _ = fs::remove_file(self.path(&format!("{LOG}.1.gz")));
                fs::rename(&log, self.path(&format!("{LOG}.1"))).unwrap();
            }
            Event::Copy if log.exists() => self.copy(),
            Event::CopyTruncate if log.exists() => {
                self.copy();
                fs::write(&log, "").unwrap();
                self.touch(&log);
            }
            Event::Compress { keep } => self.compress(*keep),
            Event::Replace(file) if is_there(file) => self.replace(name(file)),
            Event::Swap if is_there(&1) && is_there(&2) => {
                fs::rename(self.path("a.jsonl"), self.path("swapped.jsonl")).unwrap();
                fs::rename(self.path("z.jsonl"), self.path("a.jsonl")).unwrap();
                fs::rename(self.path("swapped.jsonl"), self.path("z.jsonl")).unwrap();
            }
            Event::Move(which) => {
                if let Some(from) = self.which(*which) {
                    self.clock += 1;
                    let packed = if from.extension().is_some_and(|ending| ending == "gz") { ".gz" } else { "" };
                    fs::rename(from, self.path(&format!("moved-{}.jsonl{packed}", self.clock))).unwrap();
                }
            }
            Event::Twin(file) if is_there(file) && !self.twins => self.twin(name(file)),
            Event::Delete(which) => {
                if let Some(path) = self.which(*which) {
                    fs::remove_file(path).unwrap();
                }
            }
            _ => {}
        }
    }
}

/// All that is there. What the source looked at ahead may be from before the last change, so it is asked twice.
async fn drained(source: &mut FileSource, rows_max: usize) -> Vec<Seen> {
    let (mut all, mut nothing) = (vec![], 0);
    while nothing < 2 {
        match chunk(source, rows_max).await.unwrap() {
            Some((rows, _)) => all.extend(rows),
            None => nothing += 1,
        }
    }
    all
}

/// What was written, and what was read.
async fn history(events: &[Event]) -> (Vec<usize>, Vec<usize>) {
    let mut feed = Feed::new();
    let path = feed.directory.path().to_owned();
    let mut source = open(&path, true).unwrap();
    let mut seen: Vec<Seen> = vec![];
    for event in events {
        match event {
            Event::Read(_) | Event::Some(_) | Event::Restart | Event::Rename | Event::Move(_) | Event::Swap => {}
            _ => feed.end_half(),
        }
        match event {
            Event::Restart => source = restarted(&path, &source, true).await.unwrap(),
            Event::Read(rows_max) => seen.extend(drained(&mut source, *rows_max).await),
            Event::Some(rows_max) => {
                seen.extend(chunk(&mut source, *rows_max).await.unwrap().into_iter().flat_map(|(rows, _)| rows));
            }
            // What is gone must have been read; and what holds the same rows in two places, or is gone and comes again,
            // can be told apart only by who looks in between.
            Event::Delete(_)
            | Event::RenameOver
            | Event::Copy
            | Event::Compress { keep: true }
            | Event::Replace(_)
            | Event::Twin(_) => {
                seen.extend(drained(&mut source, 100).await);
                feed.happens(event);
                let new = drained(&mut source, 100).await;
                assert!(new.is_empty() || matches!(event, Event::Replace(_) | Event::Twin(_)), "{event:?}: {new:?}");
                seen.extend(new);
            }
            event => feed.happens(event),
        }
    }
    feed.end_half();
    seen.extend(drained(&mut source, 9).await);
    let mut read: Vec<usize> = ids(&seen).into_iter().map(|id| id.parse().unwrap()).collect();
    read.sort_unstable();
    feed.written.sort_unstable();
    (feed.written, read)
}

#[test]
fn every_row_is_read_once_whatever_happens_to_its_file() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number("RESCAN_TEST_SEED").unwrap_or(u64::from(since.subsec_nanos()));
    let cases = number("RESCAN_TEST_HISTORIES").unwrap_or(200) as u32;
    println!("RESCAN_TEST_SEED={seed} RESCAN_TEST_HISTORIES={cases}");
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let checked = TestRunner::new(config).run(&events(), |events| {
        let (written, read) = runtime.block_on(history(&events));
        prop_assert_eq!(written, read);
        Ok(())
    });
    assert!(checked.is_ok(), "RESCAN_TEST_SEED={seed}: {}", checked.unwrap_err());
}
