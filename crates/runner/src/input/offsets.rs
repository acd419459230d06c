//! How far the files of a source partition were read, as epochs record it. There may be thousands of files, and few of
//! them change from one epoch to the next: beyond some number an epoch names those that have changed since a file was
//! written that names all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use connector::{Offset, Source};
use journal::{Epoch, JournalError, OffsetFile, Sum, Syncs};

use crate::output::files::write_bytes;

/// So many files are named by every epoch, and so many changed ones at least before all are written anew.
const FILES_MAX: usize = 256;

/// How many changed files an epoch names of so many: a share of them, since files that are written to all the time would
/// otherwise have all written anew by every epoch.
fn changed_max(files: usize) -> usize {
    FILES_MAX.max(files / 8)
}

/// Where an epoch may write down offsets.
pub(crate) struct Place<'a> {
    pub root: &'a Path,
    /// The path of a file below the root, but for what tells the source partitions of an epoch apart.
    pub path: String,
    pub syncs: &'a Syncs,
}

/// What an epoch recorded of a source partition.
#[derive(Default)]
pub(crate) struct Recorded {
    /// The file that names all.
    pub file: Option<OffsetFile>,
    /// The names of those that have changed since it was written.
    changed: BTreeSet<String>,
}

impl Recorded {
    /// The whole offset of a source partition as the last epoch left it, `name` being that of the partition there.
    ///
    /// # Errors
    /// What was recorded is damaged.
    pub(crate) fn read(root: &Path, last: Option<&Epoch>, name: &str) -> Result<(Recorded, Option<Offset>)> {
        let nothing = (Recorded::default(), None);
        let Some((last, facts)) = last.and_then(|last| Some((last, last.sources.get(name)?))) else {
            return Ok(nothing);
        };
        let offset: Offset =
            serde_json::from_value(facts.offset.clone()).with_context(|| format!("the journal's offset of {name}"))?;
        let Some(file) = last.offsets.get(name) else { return Ok((Recorded::default(), Some(offset))) };
        let changed = offset.files.keys().chain(&offset.without).cloned().collect();
        let path = root.join(&file.path);
        let bytes = fs::read(&path).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        let sum = Sum { bytes: file.bytes, checksum: file.checksum.clone() };
        ensure!(Sum::of(&bytes) == sum, JournalError::Corrupt { path, what: "is not what was written".to_owned() });
        let older = serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.path))?;
        Ok((Recorded { file: Some(file.clone()), changed }, Some(offset.since(older))))
    }

    /// What the next epoch is to record; `None` where the source partition is none of files.
    ///
    /// # Errors
    /// The file that names all cannot be written.
    pub(crate) fn next(&mut self, source: &mut dyn Source, partition: usize, place: &Place) -> Result<Option<Offset>> {
        self.changed.append(&mut source.changed(partition));
        let Some(files) = source.files(partition) else { return Ok(None) };
        let whole = || Offset { files: files.clone(), ..Offset::default() };
        if files.len() <= FILES_MAX {
            *self = Recorded::default();
            return Ok(Some(whole()));
        }
        if self.file.is_none() || self.changed.len() > changed_max(files.len()) {
            let bytes = serde_json::to_vec(&whole())?;
            let sum = write_bytes(&place.root.join(&place.path), &bytes, place.syncs)?;
            let file = OffsetFile { path: place.path.clone(), bytes: sum.bytes, checksum: sum.checksum };
            *self = Recorded { file: Some(file), changed: BTreeSet::new() };
        }
        let (there, without): (BTreeSet<String>, _) =
            self.changed.iter().cloned().partition(|name| files.contains_key(name));
        let files = there.into_iter().filter_map(|name| Some((name.clone(), files.get(&name)?.clone())));
        Ok(Some(Offset { files: files.collect(), without, ..Offset::default() }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::{Schema, SchemaRef};
    use async_trait::async_trait;
    use connector::{FileMark, Poll};
    use journal::SourceFacts;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tempfile::TempDir;

    use super::*;

    const SOURCE: &str = "events/feed";

    /// Files that are followed; a test says what becomes of them.
    #[derive(Default)]
    struct Followed {
        files: BTreeMap<String, FileMark>,
        changed: BTreeSet<String>,
    }

    #[async_trait]
    impl Source for Followed {
        fn schema(&self) -> SchemaRef {
            Schema::empty().into()
        }

        fn partitions(&self) -> &[String] {
            &[]
        }

        async fn seek(&mut self, _offsets: &BTreeMap<String, Offset>) -> Result<()> {
            Ok(())
        }

        async fn read(&mut self, _partition: usize, _rows_max: usize) -> Result<Poll> {
            Ok(Poll::Finished)
        }

        fn files(&self, _partition: usize) -> Option<&BTreeMap<String, FileMark>> {
            Some(&self.files)
        }

        fn changed(&mut self, _partition: usize) -> BTreeSet<String> {
            std::mem::take(&mut self.changed)
        }
    }

    impl Followed {
        fn of(files: usize) -> Self {
            let mut followed = Self::default();
            (0..files).for_each(|file| followed.read_to(file, 0));
            followed
        }

        fn set(&mut self, file: usize, mark: Option<FileMark>) {
            let name = format!("{file:05}.jsonl");
            self.changed.insert(name.clone());
            match mark {
                Some(mark) => self.files.insert(name, mark),
                None => self.files.remove(&name),
            };
        }

        fn read_to(&mut self, file: usize, row: u64) {
            let mark = format!("0 {row} {:032x} {:016x} 0 0 0 0 00 0 {file}", 0, 0);
            self.set(file, Some(FileMark::try_from(mark).unwrap()));
        }

        /// One file is read on, is new, is gone, or has another's name.
        fn change(&mut self, rng: &mut ChaCha8Rng) {
            let file = rng.random_range(0..2 * FILES_MAX);
            match rng.random_range(0..6) {
                0 => self.set(file, None),
                1 => {
                    let mark = self.files.get(&format!("{file:05}.jsonl")).cloned();
                    self.set(file, None);
                    self.set(rng.random_range(0..2 * FILES_MAX), mark);
                }
                _ => self.read_to(file, rng.random()),
            }
        }
    }

    /// The epoch after which a source stands there.
    fn epoch(root: &Path, number: u64, recorded: &mut Recorded, source: &mut Followed) -> Epoch {
        let place = Place { root, path: format!("{number}-offsets.json"), syncs: &Syncs::default() };
        let offset = recorded.next(source, 0, &place).unwrap().unwrap();
        let facts = SourceFacts { offset: serde_json::to_value(offset).unwrap(), ..SourceFacts::default() };
        let offsets = recorded.file.clone().map(|file| (SOURCE.to_owned(), file));
        Epoch {
            sources: [(SOURCE.to_owned(), facts)].into(),
            offsets: offsets.into_iter().collect(),
            ..Epoch::default()
        }
    }

    /// Whatever became of the files, and after whichever epochs the run was stopped and resumed.
    #[test]
    fn an_epoch_says_where_all_files_stand() {
        for seed in 0..16 {
            let (root, mut rng) = (TempDir::new().unwrap(), ChaCha8Rng::seed_from_u64(seed));
            let mut source = Followed::of(FILES_MAX - 50 + rng.random_range(0..150));
            let mut recorded = Recorded::default();
            for number in 1..20 {
                let changes = if rng.random_bool(0.1) { 2 * FILES_MAX } else { rng.random_range(0..10) };
                (0..changes).for_each(|_| source.change(&mut rng));
                let last = epoch(root.path(), number, &mut recorded, &mut source);
                let (resumed, whole) = Recorded::read(root.path(), Some(&last), SOURCE).unwrap();
                let expected = Offset { files: source.files.clone(), ..Offset::default() };
                assert!(whole == Some(expected), "seed {seed}, epoch {number}");
                if rng.random() {
                    recorded = resumed;
                }
            }
        }
    }

    #[test]
    fn all_are_written_anew_once_a_share_of_them_has_changed() {
        let root = TempDir::new().unwrap();
        let (files, active) = (16 * FILES_MAX, FILES_MAX + 50);
        let (mut source, mut recorded) = (Followed::of(files), Recorded::default());
        let mut path_after = |number, changed| {
            (0..changed).for_each(|file| source.read_to(file, number));
            let last = epoch(root.path(), number, &mut recorded, &mut source);
            last.offsets[SOURCE].path.clone()
        };
        let first = path_after(1, 0);
        assert!((2..10).all(|number| path_after(number, active) == first));
        assert_eq!(path_after(10, changed_max(files)), first);
        assert_ne!(path_after(11, changed_max(files) + 1), first);
    }
}
