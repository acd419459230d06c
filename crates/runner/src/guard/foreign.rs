//! Whose files lie below an output's hours. Those that a decided epoch of the output names, in `_SUCCESS` or in its
//! journal, are its own; all others are somebody's. A run writes beside none of them and deletes none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use connector::{Hour, SUCCESS, SourceError, Success};
use journal::{Epoch, Publish, checksum_of, create_dirs, look};

use crate::job::Job;
use crate::output::layout::{self, SAMPLE_JOURNAL, STREAM_JOURNAL, hour_journal, partition, token};

/// How many files an error names.
const NAMED: usize = 3;

/// An output, and which files of it are its own.
pub(crate) struct OwnFiles<'a> {
    root: &'a Path,
    /// The prefixes of its outputs' hours: empty, or the output's name and a slash.
    places: Vec<String>,
    /// Without an owner on record, `_SUCCESS` vouches for what this command sealed and for nothing else.
    command: Option<&'a str>,
}

impl<'a> OwnFiles<'a> {
    /// Of a job; `owned` says whether the output's owner is on record.
    pub(crate) fn of(job: &'a Job, owned: bool) -> OwnFiles<'a> {
        let places = job.scan.outputs().iter().map(|output| job.place(output)).collect();
        OwnFiles { root: &job.out, places, command: (!owned).then_some(job.command.as_str()) }
    }

    /// Of an output that no f makes.
    pub(crate) fn of_no_job(root: &'a Path, owned: bool) -> OwnFiles<'a> {
        OwnFiles { root, places: vec![String::new()], command: (!owned).then_some("") }
    }

    /// That nothing below the hours is somebody else's. Bookkeeping (`_x`, `.x`, `x.crc`) may be there.
    ///
    /// # Errors
    /// [`SourceError::BadData`] for files of others, or links; those of the disk.
    pub(crate) fn refuse_foreign(&self) -> Result<()> {
        let mut foreign = self.foreign()?;
        if !foreign.is_empty() {
            // Beside a run that publishes an hour, the first look may find a file before what names it.
            foreign = self.foreign()?;
        }
        let Some(first) = foreign.first() else { return Ok(()) };
        let out = self.root.display();
        if fs::symlink_metadata(self.root.join(first)).is_ok_and(|found| found.is_symlink()) {
            let why = "is a symbolic link, and nothing is written or deleted through one: put a directory in its place";
            bail!(SourceError::BadData(format!("{out}/{first} {why}, or give another --out")));
        }
        let named: Vec<String> = foreign.iter().take(NAMED).map(|path| format!("{out}/{path}")).collect();
        let more = match foreign.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = match foreign.len() {
            1 => "1 file that no run into it is known".to_owned(),
            count => format!("{count} files that no run into it is known"),
        };
        let next = "restore the _SUCCESS that names them, move them away, or give another --out";
        bail!(SourceError::BadData(format!("{out} holds {what} to have written, {}{more}: {next}", named.join(", "))))
    }

    /// The files below the hours that are not the output's own, relative to its root, sorted.
    fn foreign(&self) -> Result<Vec<String>> {
        let mut below = Below { own: self, journals: Journals::default(), foreign: BTreeSet::new() };
        for place in &self.places {
            for entry in entries(&self.root.join(place))? {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.contains('=') && !name.starts_with(['_', '.']) {
                    below.walk(place, &name, &entry)?;
                } else if self.command.is_some() && name.ends_with(".parquet") && !bookkeeping(&name) {
                    below.foreign.insert(format!("{place}{name}"));
                }
            }
        }
        Ok(below.foreign.into_iter().collect())
    }

    /// The files that the `_SUCCESS` of a partition names, itself among them.
    fn sealed(&self, partition: &str) -> BTreeSet<String> {
        let text = fs::read(self.root.join(partition).join(SUCCESS)).unwrap_or_default();
        let success = Success::read(&text).ok().flatten();
        let ours = success.filter(|success| self.command.is_none_or(|command| command == success.command));
        let names = ours.map(|success| success.files.into_iter().map(|file| file.name).chain([SUCCESS.to_owned()]));
        names.into_iter().flatten().map(|name| format!("{partition}/{name}")).collect()
    }
}

/// The data of an hour that decided epochs name, and that a new one takes the place of. `place` is what the hour's path
/// begins with; what lies below `_rescan` is the output's own.
///
/// # Errors
/// [`SourceError::BadData`] for a file of somebody that came while the run went on; those of the disk.
pub(crate) fn superseded(job: &Job, place: &str, hour: Hour, published: Option<&str>) -> Result<Vec<String>> {
    let (own, partition) = (OwnFiles::of(job, true), partition(place, hour));
    let (sealed, mut journals) = (own.sealed(&partition), Journals::default());
    let mut files = Vec::new();
    for entry in entries(&job.out.join(&partition))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{partition}/{name}");
        if bookkeeping(&name) || Some(path.as_str()) == published {
            continue;
        }
        let named = sealed.contains(&path) || journals.name(&job.out, Some(hour), &path);
        if !named && !place.starts_with(layout::OWN) {
            let what = "came into an hour that is being written: move it away";
            bail!(SourceError::BadData(format!("{}/{path} {what}", job.out.display())));
        }
        files.push(path);
    }
    Ok(files)
}

/// Moves a damaged file out of the way of the one that takes its place: they have one name, by what it held.
///
/// # Errors
/// Those of the disk.
pub(crate) fn set_aside(job: &Job, place: &str, hour: Hour, publish: &Publish) -> Result<()> {
    let path = job.out.join(&publish.path);
    let Ok(there) = checksum_of(&path) else { return Ok(()) };
    let partition = partition(place, hour);
    let own = OwnFiles::of(job, true).sealed(&partition).contains(&publish.path)
        || Journals::default().name(&job.out, Some(hour), &publish.path);
    if !own || (there.bytes, &there.checksum) == (publish.bytes, &publish.checksum) {
        return Ok(());
    }
    let dir = layout::damaged(&job.out, &partition);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // An hour without its file is not sealed: a run that is killed here leaves nothing that says otherwise.
    match fs::remove_file(job.out.join(&partition).join(SUCCESS)) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).with_context(|| format!("unseal {partition}")),
        _ => {}
    }
    let moved = create_dirs(&dir).and_then(|()| fs::rename(&path, dir.join(format!("{name}.{}", token()))));
    moved.with_context(|| format!("move {} away", path.display()))
}

/// A walk below the hours of an output.
struct Below<'a> {
    own: &'a OwnFiles<'a>,
    journals: Journals,
    foreign: BTreeSet<String>,
}

impl Below<'_> {
    /// Looks at a file or a directory at `path`, relative to the place of an output.
    fn walk(&mut self, place: &str, path: &str, entry: &DirEntry) -> Result<()> {
        let whole = format!("{place}{path}");
        let kind = entry.file_type().with_context(|| format!("read {}", entry.path().display()))?;
        if !kind.is_dir() {
            self.foreign.insert(whole);
            return Ok(());
        }
        let (hour, mut sealed) = (Hour::from_path(path), None);
        for entry in entries(&entry.path())? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().with_context(|| format!("read {}", entry.path().display()))?;
            // A directory in the place of `_SUCCESS` says nothing.
            let seal = hour.is_some() && name == SUCCESS && !kind.is_dir();
            if bookkeeping(&name) && !seal {
                continue;
            }
            let file = format!("{whole}/{name}");
            let own = hour.is_some()
                && kind.is_file()
                && (sealed.get_or_insert_with(|| self.own.sealed(&whole)).contains(&file)
                    || self.journals.name(self.own.root, hour, &file));
            if !own {
                self.walk(place, &format!("{path}/{name}"), &entry)?;
            }
        }
        Ok(())
    }
}

/// What the last epochs of an output's journals name. They are read where `_SUCCESS` does not say whose a file is: while
/// an epoch is being published, and after somebody damaged it.
#[derive(Default)]
struct Journals {
    named: BTreeMap<String, BTreeSet<String>>,
}

impl Journals {
    fn name(&mut self, root: &Path, hour: Option<Hour>, path: &str) -> bool {
        let of_hour = hour.map(hour_journal);
        let chains = [STREAM_JOURNAL.to_owned(), SAMPLE_JOURNAL.to_owned()].into_iter().chain(of_hour);
        chains.into_iter().any(|chain| {
            let named = self.named.entry(chain).or_insert_with_key(|chain| {
                let newest = look(&root.join(chain), &BTreeMap::new()).ok().and_then(|facts| facts.newest);
                newest.and_then(Result::ok).map(named_by).unwrap_or_default()
            });
            named.contains(path)
        })
    }
}

fn named_by(epoch: Epoch) -> BTreeSet<String> {
    let published = epoch.publish.into_iter().map(|file| file.path);
    let markers = epoch.markers.into_iter().map(|marker| marker.path);
    published.chain(markers).chain(epoch.remove).chain(epoch.unseal).collect()
}

/// What is no data, whoever keeps it.
fn bookkeeping(name: &str) -> bool {
    name.starts_with(['_', '.']) || name.ends_with(".crc")
}

/// What is in a directory; nothing where it is not there.
fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let entries = entries.and_then(Iterator::collect);
            entries.with_context(|| format!("list {}", dir.display()))
        }
    }
}
