//! The hourly layout `ROOT/dt=YYYY-MM-DD/hr=HH/*.parquet`, on a local disk or in a bucket: which hours there are, their
//! files, and which of them are sealed.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use anyhow::{Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use journal::{Sum, vouches};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::location::Location;
use crate::failure::failed;
use crate::fault::SourceError;
use event_time::Hour;

/// The file that seals a partition.
pub const SUCCESS: &str = "_SUCCESS";

/// How many `_SUCCESS` files are read at the same time.
const READS: usize = 32;

/// One Parquet file of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Where in the store, from its root.
    #[serde(with = "path_text")]
    pub path: Path,
    /// Its length.
    pub bytes: u64,
    /// Changes with the content: the store's etag, else the time of the last change.
    pub version: String,
    /// What its bytes are, where the `_SUCCESS` of its hour says it: whoever reads rows of it compares.
    #[serde(skip)]
    pub sum: Option<Sum>,
}

impl DataFile {
    /// The name within its directory.
    pub fn name(&self) -> &str {
        self.path.filename().unwrap_or_default()
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
}

impl HourFiles {
    /// The files that make the hour: where rescan sealed it, exactly those that its `_SUCCESS` names.
    ///
    /// # Errors
    /// [`SourceError::BadData`] for another file beside them, one that is gone, or a `_SUCCESS` that was changed; `root`
    /// is where the hour is.
    pub fn data(&self, root: &Location) -> Result<&[DataFile]> {
        if let Some(what) = &self.damaged {
            bail!(SourceError::BadData(format!("{what}: restore it, or make its hour again")));
        }
        let Some(success) = &self.success else { return Ok(&self.files) };
        let named = |name: &str| success.files.iter().any(|file| file.name == name);
        let gone = |name: &str| self.files.iter().all(|file| file.name() != name);
        if let Some(file) = self.files.iter().find(|file| !named(file.name())) {
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

/// The partitions of these hours (`..` for all), in one listing. An hour is there if it holds a data file or a
/// `_SUCCESS`; hidden files (`_x`, `.x`), other files and other directories are passed over. A place without any, even
/// one that does not exist, gives none.
///
/// # Errors
/// The store cannot be read, as a [`SourceError`].
pub async fn list(root: &Location, hours: impl RangeBounds<Hour>) -> Result<BTreeMap<Hour, HourFiles>> {
    let mut found = BTreeMap::<Hour, HourFiles>::new();
    let mut seals = Vec::new();
    // `_rescan` sorts before `dt=`: where the store can, it is not even listed.
    let start = match hours.start_bound() {
        Bound::Included(hour) | Bound::Excluded(hour) => date(&hour.path()).to_string(),
        Bound::Unbounded => "dt=".to_string(),
    };
    let mut objects = root.store.list_with_offset(Some(&root.prefix), &root.prefix.clone().join(start));
    while let Some(object) = objects.try_next().await.map_err(|e| failed(format!("list {root}"), e))? {
        let Some((hour, name)) = place(root, &object.location).filter(|(hour, _)| hours.contains(hour)) else {
            continue;
        };
        if name == SUCCESS {
            found.entry(hour).or_default().sealed = true;
            seals.push((hour, object));
        } else if is_data(&name) {
            found.entry(hour).or_default().files.push(data_file(object));
        }
    }
    let mut seals = stream::iter(seals).map(|(hour, object)| success(root, hour, object)).buffer_unordered(READS);
    while let Some((hour, success)) = seals.try_next().await? {
        let found = found.entry(hour).or_default();
        (found.success, found.damaged) = success.map_or_else(|what| (None, Some(what)), |success| (success, None));
    }
    for hour in found.values_mut() {
        hour.files.sort_by(|a, b| a.path.cmp(&b.path));
        let sealed = hour.success.iter().flat_map(|success| &success.files);
        let sums: BTreeMap<&str, Sum> = sealed.map(|file| (file.name.as_str(), file.sum())).collect();
        hour.files.iter_mut().for_each(|file| file.sum = sums.get(file.name()).cloned());
    }
    Ok(found)
}

/// The hours that are there, each with whether it is sealed, in one listing that reads no file.
///
/// # Errors
/// As [`list`].
pub async fn hours_there(root: &Location) -> Result<BTreeMap<Hour, bool>> {
    let mut found = BTreeMap::new();
    let mut objects = root.store.list_with_offset(Some(&root.prefix), &root.prefix.clone().join("dt="));
    while let Some(object) = objects.try_next().await.map_err(|e| failed(format!("list {root}"), e))? {
        let Some((hour, name)) = place(root, &object.location) else { continue };
        if name == SUCCESS || is_data(&name) {
            *found.entry(hour).or_default() |= name == SUCCESS;
        }
    }
    Ok(found)
}

/// Whether the place holds at least one directory `dt=…/hr=…`, even an empty one where the store knows such.
///
/// # Errors
/// As [`list`].
pub async fn is_partitioned(root: &Location) -> Result<bool> {
    let directories = async |under: &Path| {
        let listed = root.store.list_with_delimiter(Some(under)).await;
        listed.map(|l| l.common_prefixes).map_err(|e| failed(format!("list {root}"), e))
    };
    let midnight = |date: &str| Hour::from_path(&format!("{date}/hr=00"));
    for date in directories(&root.prefix).await? {
        if date.filename().and_then(midnight).is_some() {
            let hours = directories(&date).await?;
            if hours.iter().any(|hour| place(root, &hour.clone().join("x")).is_some()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The hour and name of a file that lies right in a partition.
fn place(root: &Location, path: &Path) -> Option<(Hour, String)> {
    let parts: Vec<_> = path.prefix_match(&root.prefix)?.take(4).collect();
    let [date, hour, name] = parts.as_slice() else { return None };
    let hour = Hour::from_path(&format!("{}/{}", date.as_ref(), hour.as_ref()))?;
    Some((hour, name.as_ref().to_string()))
}

fn date(path: &str) -> &str {
    path.split_once('/').map_or(path, |(date, _)| date)
}

fn is_data(name: &str) -> bool {
    !name.starts_with(['_', '.']) && name.ends_with(".parquet")
}

fn data_file(object: ObjectMeta) -> DataFile {
    let version = object.e_tag.unwrap_or_else(|| object.last_modified.to_rfc3339());
    DataFile { path: object.location, bytes: object.size, version, sum: None }
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
