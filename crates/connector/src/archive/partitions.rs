//! Hours of Parquet, `ROOT/dt=YYYY-MM-DD/hr=HH/*.parquet` or as other engines name them, on a local disk or in a bucket:
//! which hours there are, their files, which of them are sealed, and what else is there.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use anyhow::{Result, bail};
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use journal::{Sum, vouches};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::layout::{Place, SUCCESS, directory_of, hour_of, hours_of_day, parts};
use crate::archive::location::Location;
use crate::archive::objects::{Below, below, right_in};
use crate::failure::failed;
use crate::fault::SourceError;
use event_time::Hour;

/// How many `_SUCCESS` files are read at the same time.
const READS: usize = 32;

/// How many directories are listed at the same time.
const LISTINGS: usize = 8;

/// One Parquet file of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Where in the store, from its root.
    #[serde(with = "path_text")]
    pub path: Path,
    /// The name within the directory of its hour; with directories, where it lies deeper.
    #[serde(skip)]
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Changes with the content: the store's etag, else the time of the last change.
    pub version: String,
    /// What its bytes are, where the `_SUCCESS` of its hour says it: whoever reads rows of it compares.
    #[serde(skip)]
    pub sum: Option<Sum>,
}

impl DataFile {
    /// A file right in a place, of which no `_SUCCESS` says anything.
    pub fn at(root: &Location, name: &str, bytes: u64) -> DataFile {
        let path = root.prefix.clone().join(name);
        DataFile { path, name: name.to_owned(), bytes, version: String::new(), sum: None }
    }
}

/// What one hour holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HourFiles {
    /// The data, by path.
    pub files: Vec<DataFile>,
    /// There is a `_SUCCESS`, whoever wrote it.
    pub sealed: bool,
    /// The facts in `_SUCCESS`, where rescan wrote it; other engines leave it empty.
    pub success: Option<Success>,
    /// Which `_SUCCESS` is not as rescan wrote it, and why.
    pub damaged: Option<String>,
    /// Its directories, where it has several: `dt=2026-11-20/hr=8` beside `dt=2026-11-20/hr=08`.
    pub directories: Vec<String>,
}

impl HourFiles {
    /// The files that make the hour: where rescan sealed it, exactly those that its `_SUCCESS` names.
    ///
    /// # Errors
    /// [`SourceError::BadData`] for another file beside them, one that is gone, a `_SUCCESS` that was changed, or an hour
    /// in several directories; `root` is where the hour is.
    pub fn data(&self, root: &Location) -> Result<&[DataFile]> {
        if let Some(what) = &self.damaged {
            bail!(SourceError::BadData(format!("{what}: restore it, or make its hour again")));
        }
        if let [one, other, ..] = self.directories.as_slice() {
            let said = "are one hour: move the files into one of them, and its _SUCCESS away; or hide one with a `_`";
            bail!(SourceError::BadData(format!("{root}/{one} and {root}/{other} {said} before its name")));
        }
        let Some(success) = &self.success else { return Ok(&self.files) };
        let named = |name: &str| success.files.iter().any(|file| file.name == name);
        let gone = |name: &str| self.files.iter().all(|file| file.name != name);
        if let Some(file) = self.files.iter().find(|file| !named(&file.name)) {
            let said = "is none of the files that _SUCCESS names: move it away, or make its hour again";
            bail!(SourceError::BadData(format!("{} {said}", root.spelled(&file.path))));
        }
        if let Some(file) = success.files.iter().find(|file| gone(&file.name)) {
            let said = "is named by a _SUCCESS and is not there: restore it, or make its hour again";
            bail!(SourceError::BadData(format!("{} of {root} {said}", file.name)));
        }
        Ok(&self.files)
    }
}

/// The content of a `_SUCCESS` that rescan wrote, last, into a sealed partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// The layout of these facts: 1.
    pub format: u32,
    /// The subcommand.
    pub command: String,
    /// The output's name in the script.
    pub output: String,
    /// The columns that tell rows apart and that files are sorted by.
    pub key: Vec<String>,
    /// How two values of one key merge.
    #[serde(default)]
    pub merge: String,
    /// Of which f they are, for whoever wrote it.
    #[serde(default)]
    pub f: Value,
    /// The checksum of the spec of the run that made it, for whoever wrote it; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// Rows in all files.
    pub rows: u64,
    /// The files; none where the hour has no rows.
    pub files: Vec<SealedFile>,
    /// Which inputs it was made from, for whoever wrote it.
    #[serde(default)]
    pub inputs: Value,
    /// What became of every row read.
    #[serde(default)]
    pub ledger: Value,
}

impl Success {
    /// The facts of a `_SUCCESS`; none where it is of another engine, or of a layout to come.
    ///
    /// # Errors
    /// What is wrong with one that rescan wrote and somebody changed.
    pub fn read(text: &[u8]) -> Result<Option<Success>, String> {
        vouches(text)?;
        match serde_json::from_slice::<Success>(text) {
            Ok(success) => Ok(Some(success).filter(|success| success.format == 1)),
            Err(e) => {
                let says = |field: &str| text.windows(field.len()).any(|window| window == field.as_bytes());
                let json = serde_json::from_slice::<Value>(text).is_ok();
                let ours = says("\"format\"") || says("\"checksum\"") || text.starts_with(b"{") && !json;
                if ours { Err(format!("is not as it was written: {e}")) } else { Ok(None) }
            }
        }
    }
}

/// A file of a sealed partition, which no longer changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFile {
    /// The name within its directory.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hexadecimal digits.
    pub checksum: String,
}

impl SealedFile {
    /// What identifies its content.
    pub fn sum(&self) -> Sum {
        Sum { bytes: self.bytes, checksum: self.checksum.clone() }
    }
}

/// The partitions of these hours (`..` for all), in one listing. An hour is there if it holds a data file, at any depth,
/// or a `_SUCCESS`; what else is there is passed over. A place without any, even one that does not exist, gives none.
///
/// # Errors
/// The store cannot be read, as a [`SourceError`].
pub async fn list(root: &Location, hours: impl RangeBounds<Hour>) -> Result<BTreeMap<Hour, HourFiles>> {
    Ok(listed(root, hours).await?.hours)
}

/// What a place holds of some hours.
#[derive(Debug, Default)]
pub struct Listed {
    /// The hours that are there.
    pub hours: BTreeMap<Hour, HourFiles>,
    /// The paths of what is in one of them and is no data, with the hour, and of what is in no hour; not what is hidden: names
    /// that begin with `_` or `.`, or end in `.crc`.
    pub unread: Vec<(Option<Hour>, Path)>,
    /// How many names were passed over, for they are hidden; a directory on the local disk is one, and what rescan keeps
    /// beside the hours is none.
    pub skipped: u64,
}

impl Listed {
    /// An hour of which there is a file at this path.
    fn hour(&mut self, root: &Location, hour: Hour, path: &Path) -> &mut HourFiles {
        let found = self.hours.entry(hour).or_default();
        let directory = directory_of(root, path).filter(|directory| !found.directories.contains(directory));
        found.directories.extend(directory);
        found
    }

    /// The hours, where nothing is beside the data of those that a run is about, and nothing outside of hours. A run about
    /// all hours is about those that are sealed, where some are.
    ///
    /// # Errors
    /// [`SourceError::BadData`] names the first of what is there besides; `root` is the place.
    pub fn whole(self, root: &Location, about: &impl RangeBounds<Hour>) -> Result<BTreeMap<Hour, HourFiles>> {
        let all = matches!((about.start_bound(), about.end_bound()), (Bound::Unbounded, Bound::Unbounded));
        let open = !all || !self.hours.values().any(|hour| hour.sealed);
        let is_sealed = |hour: &Hour| self.hours.get(hour).is_some_and(|files| files.sealed);
        self.refuse_unread(root, |hour| about.contains(&hour) && (open || is_sealed(&hour)))?;
        Ok(self.hours)
    }

    /// That nothing is beside the data of the hours that are read, and nothing outside of hours.
    ///
    /// # Errors
    /// As of [`Listed::whole`].
    pub fn refuse_unread(&self, root: &Location, is_read: impl Fn(Hour) -> bool) -> Result<()> {
        let unread = self.unread.iter().filter(|(hour, _)| hour.is_none_or(&is_read));
        let unread: Vec<&Path> = unread.map(|(_, path)| path).collect();
        let Some(first) = unread.first() else { return Ok(()) };
        let first = root.spelled(first);
        let more = match unread.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more there)"),
        };
        bail!(SourceError::BadData(format!(
            "{first}{more} is not read: an input of hours holds Parquet files in directories dt=YYYY-MM-DD/hr=HH, \
             date=…/hour=…, or year=…/month=…/day=…/hour=…: move it away, or hide it with a `_` before its name"
        )))
    }
}

/// As [`list`], with what is there and is no data of these hours.
///
/// # Errors
/// As [`list`].
pub async fn listed(root: &Location, hours: impl RangeBounds<Hour>) -> Result<Listed> {
    let (mut found, mut seals) = (Listed::default(), Vec::new());
    let days = days(root, &hours, &mut found).await?;
    let mut days = in_days(root, days);
    while let Some(below) = days.try_next().await? {
        found.skipped += below.hidden;
        for object in below.objects {
            match Place::of(root, &object) {
                Place::Directory => {}
                Place::Hidden => found.skipped += 1,
                Place::Other => found.unread.push((None, object.location)),
                Place::Seal(hour) if hours.contains(&hour) => {
                    found.hour(root, hour, &object.location).sealed = true;
                    seals.push((hour, object));
                }
                Place::Data(hour, name) if hours.contains(&hour) => {
                    found.hour(root, hour, &object.location).files.push(data_file(object, name));
                }
                Place::Unread(hour) if hours.contains(&hour) => found.unread.push((Some(hour), object.location)),
                Place::Seal(_) | Place::Data(..) | Place::Unread(_) => {}
            }
        }
    }
    let mut seals = stream::iter(seals).map(|(hour, object)| success(root, hour, object)).buffer_unordered(READS);
    while let Some((hour, success)) = seals.try_next().await? {
        let found = found.hours.entry(hour).or_default();
        (found.success, found.damaged) = success.map_or_else(|what| (None, Some(what)), |success| (success, None));
    }
    for hour in found.hours.values_mut() {
        hour.files.sort_by(|a, b| a.path.cmp(&b.path));
        let sealed = hour.success.iter().flat_map(|success| &success.files);
        let sums: BTreeMap<&str, Sum> = sealed.map(|file| (file.name.as_str(), file.sum())).collect();
        hour.files.iter_mut().for_each(|file| file.sum = sums.get(file.name.as_str()).cloned());
    }
    Ok(found)
}

/// The hours that are there, each with whether it is sealed, in one listing that reads no file.
///
/// # Errors
/// As [`list`].
pub async fn hours_there(root: &Location) -> Result<BTreeMap<Hour, bool>> {
    let mut found = BTreeMap::new();
    let days = days(root, &.., &mut Listed::default()).await?;
    let mut days = in_days(root, days);
    while let Some(below) = days.try_next().await? {
        for object in below.objects {
            match Place::of(root, &object) {
                Place::Seal(hour) => found.insert(hour, true).map_or((), drop),
                Place::Data(hour, _) => _ = found.entry(hour).or_default(),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Whether the place holds hours of Parquet: a `_SUCCESS` or Parquet in a directory of an hour, or such directories that
/// are empty, where the store knows those. Hours of other files are none: they are read as files.
///
/// # Errors
/// As [`list`].
pub async fn is_partitioned(root: &Location) -> Result<bool> {
    let (mut empty, mut others) = (false, false);
    for under in days(root, &.., &mut Listed::default()).await? {
        for object in below(root, &under).await?.objects {
            match Place::of(root, &object) {
                Place::Seal(_) | Place::Data(..) => return Ok(true),
                Place::Unread(_) | Place::Other => others = true,
                Place::Hidden | Place::Directory => {}
            }
        }
        empty = empty || has_hours(root, &under).await?;
    }
    Ok(empty && !others)
}

/// Whether a directory holds directories of hours.
async fn has_hours(root: &Location, under: &Path) -> Result<bool> {
    let levels = under.prefix_match(&root.prefix).map_or(0, Iterator::count);
    let mut directories = vec![under.clone()];
    for _ in levels..4 {
        let mut below = Vec::new();
        for directory in &directories {
            below.extend(right_in(root, directory).await?.directories);
        }
        if below.iter().any(|path| hour_of(&parts(root, path).iter().map(AsRef::as_ref).collect::<Vec<_>>()).is_some())
        {
            return Ok(true);
        }
        directories = below;
    }
    Ok(false)
}

/// The directories right in the place that may hold some of the hours; what lies beside them and is hidden by nothing
/// is added to what was found unread.
async fn days(root: &Location, hours: &impl RangeBounds<Hour>, found: &mut Listed) -> Result<Vec<Path>> {
    let listed = right_in(root, &root.prefix).await?;
    found.skipped += listed.hidden;
    let beside = listed.objects.into_iter().filter(|object| Place::of(root, object) == Place::Other);
    found.unread.extend(beside.map(|object| (None, object.location)).filter(|(_, path)| *path != root.prefix));
    let in_range = |path: &Path| match path.filename().and_then(hours_of_day) {
        Some((first, end)) => overlap(hours, first, end),
        None => true,
    };
    Ok(listed.directories.into_iter().filter(in_range).collect())
}

/// What lies below directories, one after another.
fn in_days<'a>(root: &'a Location, days: Vec<Path>) -> impl Stream<Item = Result<Below>> + Unpin + 'a {
    let one = move |day| Box::pin(async move { below(root, &day).await });
    stream::iter(days).map(one).buffered(LISTINGS)
}

/// Whether some of the hours lie in `first..end`.
fn overlap(hours: &impl RangeBounds<Hour>, first: Hour, end: Hour) -> bool {
    let begun = match hours.start_bound() {
        Bound::Included(from) => *from < end,
        Bound::Excluded(from) => from.plus(1) < end,
        Bound::Unbounded => true,
    };
    let open = match hours.end_bound() {
        Bound::Included(to) => *to >= first,
        Bound::Excluded(to) => *to > first,
        Bound::Unbounded => true,
    };
    begun && open
}

fn data_file(object: ObjectMeta, name: String) -> DataFile {
    let version = object.e_tag.unwrap_or_else(|| object.last_modified.to_rfc3339());
    DataFile { path: object.location, name, bytes: object.size, version, sum: None }
}

/// The facts of a `_SUCCESS`, or why they are none.
type Facts = Result<Option<Success>, String>;

async fn success(root: &Location, hour: Hour, object: ObjectMeta) -> Result<(Hour, Facts)> {
    if object.size == 0 {
        return Ok((hour, Ok(None)));
    }
    let read = async { root.store.get(&object.location).await?.bytes().await };
    match read.await {
        Ok(text) => {
            Ok((hour, Success::read(&text).map_err(|what| format!("{} {what}", root.spelled(&object.location)))))
        }
        Err(e) => Err(failed(format!("read {SUCCESS} of {root}/{}", hour.path()), e)),
    }
}

/// [`Path`] as text, for it knows nothing of serde.
mod path_text {
    use object_store::path::Path;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(path.as_ref())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Path, D::Error> {
        Path::parse(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
