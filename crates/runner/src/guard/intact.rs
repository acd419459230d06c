//! Whether the sealed hours of an output on this disk are as they were sealed.
//!
//! By size and time where that is enough: a run writes `_SUCCESS` after the files that it names, so a file that changed
//! later than it is read and compared with its checksum. A copy of an output has later files too; what was found to be
//! the same bytes is written down, and not read again.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use connector::{Hour, SUCCESS, SealedFile, SourceError, Success};
use journal::{Epoch, checksum_of, create_dirs, look};
use serde::{Deserialize, Serialize};

use crate::output::gaps::to_seal;
use crate::output::layout::{CHECKED, JOURNALS, OWN, STREAM_JOURNAL, hour_of_journal, partition, token};
use crate::output::sealed_to::SealedTo;

/// How many damaged hours an error names.
const NAMED: usize = 3;

/// Length and times of a file, in nanoseconds: whoever writes to it or puts another in its place changes the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Stamp { bytes: file.len(), modified, changed }
    }
}

/// The sealed hours of an output.
pub struct Intact<'a> {
    root: &'a Path,
    /// Reads every file, whatever its time.
    by_hash: bool,
    /// Files that are later than their `_SUCCESS` and were found to be the same.
    seen: BTreeMap<String, Stamp>,
    new: bool,
}

impl<'a> Intact<'a> {
    /// Of an output's root; `by_hash` to read every file.
    pub fn of(root: &'a Path, by_hash: bool) -> Intact<'a> {
        // What cannot be read is found out again.
        let text = fs::read(root.join(CHECKED)).unwrap_or_default();
        Intact { root, by_hash, seen: serde_json::from_slice(&text).unwrap_or_default(), new: false }
    }

    /// What is wrong with an hour that has a `_SUCCESS`, by its path below the root; none where nothing is.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn damage(&mut self, partition: &str) -> Result<Option<String>> {
        Ok(self.sealed(partition)?.and_then(Result::err))
    }

    /// The rows of an hour that has a `_SUCCESS`, or what is wrong with it.
    fn sealed(&mut self, partition: &str) -> Result<Option<Result<u64, String>>> {
        let path = self.root.join(partition).join(SUCCESS);
        let (text, sealed) = match fs::read(&path).and_then(|text| Ok((text, fs::metadata(&path)?))) {
            // A directory in its place says nothing.
            Err(e) if [ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&e.kind()) => return Ok(None),
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        let success = match Success::read(&text) {
            Ok(Some(success)) => success,
            Ok(None) => return Ok(Some(Err(format!("{} is none that rescan wrote", path.display())))),
            Err(what) => return Ok(Some(Err(format!("{} {what}", path.display())))),
        };
        for file in &success.files {
            if let Some(what) = self.file(&format!("{partition}/{}", file.name), file, &Stamp::of(&sealed))? {
                return Ok(Some(Err(what)));
            }
        }
        Ok(Some(Ok(success.rows)))
    }

    fn file(&mut self, name: &str, file: &SealedFile, sealed: &Stamp) -> Result<Option<String>> {
        let path = self.root.join(name);
        let there = match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(format!("{} is gone", path.display()))),
            there => Stamp::of(&there.with_context(|| format!("read {}", path.display()))?),
        };
        if there.bytes != file.bytes {
            let (has, had) = (there.bytes, file.bytes);
            return Ok(Some(format!("{} has {has} bytes, and was sealed with {had}", path.display())));
        }
        let early = there.changed <= sealed.changed && there.modified <= sealed.modified;
        if !self.by_hash && (early || self.seen.get(name) == Some(&there)) {
            return Ok(None);
        }
        let found = checksum_of(&path).with_context(|| format!("read {}", path.display()))?;
        if found != file.sum() {
            let (has, had) = (found.checksum, &file.checksum);
            return Ok(Some(format!("{} has checksum {has}, and was sealed with {had}", path.display())));
        }
        if !early && self.seen.insert(name.to_owned(), there) != Some(there) {
            self.new = true;
        }
        Ok(None)
    }

    /// What is wrong with hours, by hour; `place` is what their paths below the root begin with.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn damaged(&mut self, place: &str) -> Result<BTreeMap<Hour, String>> {
        let hours = self.hours(place)?.into_iter();
        Ok(hours.filter_map(|(hour, found)| Some((hour, found.err()?))).collect())
    }

    /// Hours that a stream has sealed, between others or after them, and that are gone. Those before all others are not:
    /// what is old may be deleted. `end` is the hour after the last one that it sealed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn lost(&mut self, place: &str, end: Hour) -> Result<Vec<Hour>> {
        let hours = self.hours(place)?;
        let Some(first) = hours.keys().next().copied() else { return Ok(Vec::new()) };
        let rows =
            |(hour, found): (&Hour, &Result<u64, String>)| found.as_ref().is_ok_and(|rows| *rows > 0).then_some(*hour);
        let rows: Vec<Hour> = hours.iter().filter_map(rows).collect();
        let mut lost = to_seal(first..end, &rows, None);
        // Its files are still there, so nobody deleted the hour because it is old.
        lost.extend(self.directories(place)?.into_iter().filter(|hour| *hour < first.min(end)));
        lost.retain(|hour| !hours.contains_key(hour));
        Ok(lost)
    }

    fn hours(&mut self, place: &str) -> Result<BTreeMap<Hour, Result<u64, String>>> {
        let mut hours = BTreeMap::new();
        for hour in self.directories(place)? {
            hours.extend(self.sealed(&partition(place, hour))?.map(|found| (hour, found)));
        }
        Ok(hours)
    }

    /// The hours that have a directory with something in it.
    fn directories(&self, place: &str) -> Result<Vec<Hour>> {
        let mut hours = Vec::new();
        for date in names(&self.root.join(place))?.into_iter().filter(|name| name.starts_with("dt=")) {
            for hour in names(&self.root.join(place).join(&date))? {
                let Some(hour) = Hour::from_path(&format!("{date}/{hour}")) else { continue };
                hours.extend((!names(&self.root.join(partition(place, hour)))?.is_empty()).then_some(hour));
            }
        }
        Ok(hours)
    }

    /// Sealed hours that are gone, in order, each with what is gone: the journals of the output say what was sealed. An hour before all
    /// others is not missed where nothing of it is there: what is old may be deleted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn gone(&mut self) -> Result<Vec<(Hour, String)>> {
        let mut gone = Vec::new();
        if let Some(epoch) = published(&self.root.join(STREAM_JOURNAL))? {
            for (output, end) in SealedTo::read(&epoch)?.ends() {
                // Several outputs have a directory each.
                let place = if self.root.join(output).is_dir() { format!("{output}/") } else { String::new() };
                gone.extend(self.lost(&place, end)?.into_iter().map(|hour| (hour, self.what_is_gone(&place, hour))));
            }
        }
        // By place: the first sealed hour. All hours are looked at for it, so once and not for each that is gone.
        let mut firsts: BTreeMap<String, Option<Hour>> = BTreeMap::new();
        for (place, hour) in self.unsealed_by_batch()? {
            let first = match firsts.get(&place) {
                Some(first) => *first,
                None => self.hours(&place)?.keys().next().copied(),
            };
            let there = self.root.join(partition(&place, hour)).exists();
            if there || first.is_some_and(|first| first < hour) {
                gone.push((hour, self.what_is_gone(&place, hour)));
            }
            firsts.insert(place, first);
        }
        gone.sort();
        gone.dedup();
        Ok(gone)
    }

    /// Hours that a batch run has sealed and that have no `_SUCCESS`, with what their paths begin with. Each hour has
    /// its own journal, and a sample has one.
    fn unsealed_by_batch(&self) -> Result<Vec<(String, Hour)>> {
        let journals = self.root.join(JOURNALS);
        let mut unsealed = Vec::new();
        for name in names(&journals)? {
            let hour = hour_of_journal(&name);
            let there = |hour: Hour| self.root.join(hour.path()).join(SUCCESS).is_file();
            if hour.is_some_and(there) || hour.is_none() && name != "sample" {
                continue;
            }
            for marker in published(&journals.join(&name))?.into_iter().flat_map(|epoch| epoch.markers) {
                let Some(path) = marker.path.strip_suffix(SUCCESS).and_then(|path| path.strip_suffix('/')) else {
                    continue;
                };
                let (place, path) = path.split_at(path.rfind("dt=").unwrap_or(0));
                let hour = Hour::from_path(path).filter(|_| !self.root.join(&marker.path).is_file());
                unsealed.extend(hour.map(|hour| (place.to_owned(), hour)));
            }
        }
        Ok(unsealed)
    }

    fn what_is_gone(&self, place: &str, hour: Hour) -> String {
        let path = self.root.join(partition(place, hour));
        format!("{} is gone", if path.exists() { path.join(SUCCESS) } else { path }.display())
    }

    /// That all hours are there and as they were sealed, for a run that cannot make them again. `places` are what their
    /// paths begin with, and the hours up to which they are sealed.
    ///
    /// # Errors
    /// [`SourceError::BadData`]; those of the disk.
    pub(crate) fn refuse_damaged(&mut self, places: impl Iterator<Item = (String, Option<Hour>)>) -> Result<()> {
        let mut damaged = Vec::new();
        for (place, end) in places {
            damaged.extend(self.damaged(&place)?.into_values());
            let lost = end.map(|end| self.lost(&place, end)).transpose()?.unwrap_or_default();
            damaged.extend(lost.into_iter().map(|hour| self.what_is_gone(&place, hour)));
        }
        match damage(&damaged) {
            Some(what) => bail!(SourceError::BadData(format!("{what}: restore it, or start over with another --out"))),
            None => Ok(()),
        }
    }

    /// Writes down what was read, so that it is not read again.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn remember(self) -> Result<()> {
        if !self.new {
            return Ok(());
        }
        let path = self.root.join(CHECKED);
        let made = path.with_file_name(format!("checked-{}.json.tmp", token()));
        let written = create_dirs(&self.root.join(OWN))
            .and_then(|()| fs::write(&made, serde_json::to_vec(&self.seen)?))
            .and_then(|()| fs::rename(&made, &path));
        written.with_context(|| format!("write {}", path.display()))
    }
}

/// The first few of what is wrong, and how many more there are; none where nothing is.
pub fn damage(damaged: &[String]) -> Option<String> {
    let more = match damaged.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!damaged.is_empty()).then(|| format!("{}{more}", damaged[..damaged.len().min(NAMED)].join("; ")))
}

/// The newest epoch of a journal, where it is published to the end.
///
/// # Errors
/// The directory cannot be listed. Damage to the record is found when the journal is opened.
pub(crate) fn published(chain: &Path) -> Result<Option<Epoch>> {
    let facts = look(chain, &BTreeMap::new())?;
    let done = facts.decided.last().is_some_and(|last| facts.done.contains(last));
    Ok(facts.newest.filter(|_| done).and_then(Result::ok))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    match fs::read_dir(dir) {
        Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => Ok(Vec::new()),
        entries => {
            let names = entries.and_then(|entries| {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            });
            names.with_context(|| format!("list {}", dir.display()))
        }
    }
}
