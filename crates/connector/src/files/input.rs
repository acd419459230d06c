//! The files behind one `--in`, in reading order: a file, all below a directory, those that a pattern matches, or standard
//! input.

use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use glob::{MatchOptions, Pattern};
use thiserror::Error;
use url::Url;
use walkdir::{DirEntry, WalkDir};

use crate::decode::text_format::TextFormat;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::names;

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A row a line, or for CSV a record.
    Text(TextFormat),
    /// Parquet.
    Parquet,
}

impl FileFormat {
    /// By the end of the name, without what rotation put behind it: `.jsonl`, `.ndjson`, `.json`, `.csv`, `.parquet`.
    fn of(name: &str) -> Option<Self> {
        match names::plain(name).rsplit_once('.')?.1 {
            "jsonl" | "ndjson" | "json" => Some(Self::Text(TextFormat::Json)),
            "csv" => Some(Self::Text(TextFormat::Csv)),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Pipe,
    File(PathBuf),
    Directory(PathBuf),
    /// A directory, and what the paths of files or directories below it match.
    Matching(PathBuf, Pattern),
}

#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    /// Its path from the directory of the input, or the name of the file that is the input.
    pub name: String,
    pub path: PathBuf,
    pub format: FileFormat,
    /// Whether it is text that is compressed.
    pub packed: bool,
    /// Whether it is no input itself, and only holds the rest of one that was rotated away.
    pub rotated: bool,
    pub stat: Stat,
}

/// What tells without reading whether a file has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub bytes: u64,
    /// Microseconds, UTC.
    pub modified: i64,
    pub device: u64,
    pub inode: u64,
}

/// In patterns `*` and `?` stand for no `/` and for no `.` that a name begins with; `**` stands for directories.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Input {
    /// The input of a path, or of a pattern where nothing has it as its name. A path may begin with `file://`.
    ///
    /// # Errors
    /// [`SourceError`]: nothing is there, or a pattern is none.
    pub(crate) fn new(path: &str) -> Result<Self> {
        let of_uri = path.starts_with("file://").then(|| Url::parse(path).ok()?.to_file_path().ok()).flatten();
        let path = of_uri.as_deref().and_then(Path::to_str).unwrap_or(path);
        let metadata = match fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound && path.contains(SIGNS) => return Self::matching(path),
            metadata => metadata.map_err(|e| failed(format!("read {path}"), e))?,
        };
        let path = PathBuf::from(path);
        Ok(if metadata.is_dir() { Self::Directory(path) } else { Self::File(path) })
    }

    fn matching(path: &str) -> Result<Self> {
        let is_plain = |part: &&str| !part.contains(SIGNS);
        let parts: Vec<&str> = path.split('/').collect();
        let plain = parts.iter().take_while(|part| is_plain(part)).count();
        let (directory, rest) = (parts[..plain].join("/"), parts[plain..].join("/"));
        let directory = match (plain, directory.as_str()) {
            (0, _) => ".",
            (_, "") => "/",
            (_, directory) => directory,
        };
        let pattern = Pattern::new(&rest).map_err(|e| SourceError::Usage(format!("{path} is no pattern: {e}")))?;
        Ok(Self::Matching(PathBuf::from(directory), pattern))
    }

    /// The files that are there now, in reading order. Files that are renamed meanwhile may be missing, or there twice:
    /// [`Listing`](crate::files::listing::Listing) sees to that. Names that start with `_` or `.` are no data, and what is below a
    /// directory of such a name is none.
    pub(crate) fn files(&self, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
        let mut files = match self {
            Self::Pipe => return Ok(vec![]),
            Self::File(path) => file_and_rotated(path, format)?,
            Self::Directory(path) => below(path, format, |_| true)?,
            Self::Matching(path, pattern) => below(path, format, |name| {
                let is_match = |path: &Path| pattern.matches_path_with(path, MATCHING);
                name.ancestors().any(|path| !path.as_os_str().is_empty() && is_match(path))
            })?,
        };
        files.sort_by(|a, b| names::compare(&a.name, &b.name));
        Ok(files)
    }
}

/// Whether an input that is a pattern may match files in a directory, whose links are followed.
///
/// # Errors
/// As of [`Input::new`], nothing being there aside.
pub fn pattern_reaches(input: &str, directory: &Path) -> Result<bool> {
    if !input.contains(SIGNS) || Path::new(input).exists() {
        return Ok(false);
    }
    let Input::Matching(base, pattern) = Input::matching(input)? else { return Ok(false) };
    let base = base.canonicalize().unwrap_or(base);
    let Ok(below) = directory.strip_prefix(&base) else { return Ok(false) };
    let mut parts = pattern.as_str().split('/').zip(below.components());
    let is_match =
        |part: &str, name: &Path| Pattern::new(part).is_ok_and(|part| part.matches_path_with(name, MATCHING));
    Ok(pattern.as_str().contains("**") || parts.all(|(part, name)| is_match(part, name.as_ref())))
}

/// What tells a pattern from a path.
const SIGNS: [char; 3] = ['*', '?', '['];

/// Whether a name that was just listed is one no more.
fn has_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

/// The files at any depth below a directory that are wanted by their path from there.
fn below(root: &Path, format: Option<FileFormat>, wanted: impl Fn(&Path) -> bool) -> Result<Vec<InputFile>> {
    let is_hidden = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with(['_', '.']);
    let mut files = Vec::new();
    let entries = WalkDir::new(root).min_depth(1).follow_links(true).into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)) {
        let entry = match entry {
            Err(e) if e.depth() > 0 && e.path().is_some_and(has_gone) => continue,
            entry => entry.map_err(|e| unlisted(root, e))?,
        };
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !entry.file_type().is_dir() && wanted(path) {
            files.extend(InputFile::new(entry.path(), path.to_string_lossy().into_owned(), format)?);
        }
    }
    Ok(files)
}

fn unlisted(root: &Path, error: walkdir::Error) -> anyhow::Error {
    let what = format!("list {}", error.path().unwrap_or(root).display());
    match error.loop_ancestor().map(|above| above.display().to_string()) {
        Some(above) => {
            SourceError::BadData(format!("{what}: the link leads back to {above}: hide it with a `_` before its name"))
                .into()
        }
        None => failed(what, std::io::Error::from(error)),
    }
}

/// The file, and beside it those that rotation has given another name. In the midst of a rotation it is not there itself.
fn file_and_rotated(path: &Path, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    let named = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut files: Vec<InputFile> = InputFile::new(path, named(path), format)?.into_iter().collect();
    // What cannot be listed holds no rotated files that could be read.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let other = entry.file_name();
        if other != name && other.to_str().is_some_and(|other| Some(names::plain(other)) == name.to_str()) {
            let other = parent.join(other);
            let rotated = InputFile::new(&other, named(&other), format).ok().flatten();
            files.extend(rotated.map(|file| InputFile { rotated: true, ..file }));
        }
    }
    Ok(files)
}

/// Whether a file that is gone, and of which nothing was read to know it again by, may be one that is compressed now, and
/// may have been renamed since.
pub(crate) fn is_packed_away(name: &str, files: &[InputFile], is_known: impl Fn(&str) -> bool) -> bool {
    let may_be = |file: &InputFile| names::plain(&file.name) == names::plain(name) || !is_known(&file.name);
    files.iter().any(|file| file.packed && may_be(file))
}

/// A file that was listed has another name by now, or is gone: what is there must be looked at again.
#[derive(Debug, Error)]
#[error("{0} got another name, or was taken away, while it was looked at: run again")]
pub(crate) struct Moved(String);

impl InputFile {
    /// `None` where the file is gone meanwhile, or is a directory.
    ///
    /// # Errors
    /// [`SourceError::BadData`]: its format is not known.
    fn new(path: &Path, name: String, format: Option<FileFormat>) -> Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| failed(format!("read {}", path.display()), e))?,
        };
        if metadata.is_dir() {
            return Ok(None);
        }
        if !metadata.is_file() {
            let what = "is no file: give rows that a pipe or a device holds as standard input, --in -";
            bail!(SourceError::BadData(format!("{}: {what}", path.display())));
        }
        let packed = names::is_packed(&name);
        let format = format.or_else(|| FileFormat::of(&name));
        let Some(format) = format.filter(|format| !packed || *format != FileFormat::Parquet) else {
            bail!(SourceError::BadData(format!(
                "{}: unknown format: say which with --format, or hide the file with a `_` before its name",
                path.display()
            )));
        };
        let stat = Stat::of(&metadata);
        Ok(Some(Self { name, path: path.to_owned(), format, packed, rotated: false, stat }))
    }
}

impl InputFile {
    /// Opens the file that was listed, and no other that has its name by now.
    ///
    /// # Errors
    /// [`Moved`]; what the system says.
    pub(crate) fn open(&self) -> Result<File> {
        let said = |e| failed(format!("read {}", self.path.display()), e);
        let moved = || Moved(self.path.display().to_string());
        let open = match File::open(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => bail!(moved()),
            open => open.map_err(said)?,
        };
        ensure!(Stat::of(&open.metadata().map_err(said)?).is_same_file(&self.stat), moved());
        Ok(open)
    }

    /// The path of a file in the same directory, by its name in the input.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(Path::new(name).file_name().unwrap_or_default())
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.format, FileFormat::Text(_))
    }

    /// Whether a position in its rows is one in its bytes.
    pub(crate) fn is_plain_text(&self) -> bool {
        self.is_text() && !self.packed
    }
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let modified = i64::try_from(nanos.div_euclid(1000)).unwrap_or_default();
        Self { bytes: metadata.len(), modified, device: metadata.dev(), inode: metadata.ino() }
    }

    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
