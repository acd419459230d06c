//! The files behind one `--in`, in reading order: a file, all below a directory, those that a pattern matches, or standard
//! input.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use glob::{MatchOptions, Pattern};
use thiserror::Error;

use crate::archive::layout::is_hidden;
use crate::archive::location::{self, resolve};
use crate::decode::text_format::TextFormat;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::names;
use crate::files::tree::{tree, twice};

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

/// The files of an input.
#[derive(Debug, Default)]
pub(crate) struct InputFiles {
    pub files: Vec<InputFile>,
    /// How many names were passed over, for they are hidden; a directory is one.
    pub skipped: u64,
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

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe => f.write_str("-"),
            Self::File(path) | Self::Directory(path) => path.display().fmt(f),
            Self::Matching(path, pattern) => path.join(pattern.as_str()).display().fmt(f),
        }
    }
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
        let path = location::local_path(path)?;
        let metadata = match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound && path.to_string_lossy().contains(SIGNS) => {
                return Self::matching(&path.to_string_lossy());
            }
            metadata => metadata.map_err(|e| failed(format!("read {}", path.display()), e))?,
        };
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
    /// [`Listing`](crate::files::listing::Listing) sees to that. Names of bookkeeping are no data, and what is below a
    /// directory of such a name is none.
    pub(crate) fn files(&self, format: Option<FileFormat>) -> Result<InputFiles> {
        let mut found = match self {
            Self::Pipe => return Ok(InputFiles::default()),
            Self::File(path) => InputFiles { files: file_and_rotated(path, format)?, skipped: 0 },
            Self::Directory(path) => below(path, format, |_| true, |_| true)?,
            Self::Matching(path, pattern) => {
                let parts = components(pattern);
                let is_match = |path: &Path| !path.as_os_str().is_empty() && pattern.matches_path_with(path, MATCHING);
                below(path, format, |path| may_match(&parts, path), |path| path.ancestors().any(is_match))?
            }
        };
        found.files.sort_by(|a, b| names::compare(&a.name, &b.name));
        Ok(found)
    }
}

/// What tells a pattern from a path.
const SIGNS: [char; 3] = ['*', '?', '['];

/// Whether an input reads, now or once it is there, what lies in a directory (links in its path followed), by a link too.
///
/// # Errors
/// As of [`Input::new`], nothing being there aside.
pub fn overlaps(input: &str, directory: &Path) -> Result<bool> {
    let path = location::local_path(input)?;
    let (base, parts) = match Input::new(input) {
        Ok(Input::Matching(base, pattern)) => (base, components(&pattern)),
        Ok(Input::File(_) | Input::Pipe) => return Ok(resolve(&path)?.starts_with(directory)),
        Ok(Input::Directory(path)) => (path, Vec::new()),
        Err(_) => (path, Vec::new()),
    };
    let meets = |from: &Path, at: &Path| {
        let within = directory.strip_prefix(at).is_ok_and(|below| may_match(&parts, &from.join(below)));
        within || at.starts_with(directory)
    };
    let at = resolve(&base)?;
    if meets(Path::new(""), &at) {
        return Ok(true);
    }
    // What cannot be listed ends the run by itself.
    let links = tree(&at, &is_hidden, &|path| may_match(&parts, path)).map(|tree| tree.links).unwrap_or_default();
    Ok(links.iter().any(|link| at.join(link).canonicalize().is_ok_and(|target| meets(link, &target))))
}

/// The patterns of the directories that a pattern names one after another.
fn components(pattern: &Pattern) -> Vec<Pattern> {
    pattern.as_str().split('/').filter_map(|part| Pattern::new(part).ok()).collect()
}

/// Whether a path, or one below it or above it, may match a pattern of these components.
fn may_match(parts: &[Pattern], path: &Path) -> bool {
    let names: Vec<String> = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    may_begin(parts, &names)
}

fn may_begin(parts: &[Pattern], names: &[String]) -> bool {
    let ([part, parts_left @ ..], [name, names_left @ ..]) = (parts, names) else { return true };
    match part.as_str() {
        "**" => may_begin(parts_left, names) || !name.starts_with('.') && may_begin(parts, names_left),
        _ => part.matches_with(name, MATCHING) && may_begin(parts_left, names_left),
    }
}

/// The files at any depth below a directory that are wanted by their path from there; directories are looked into where
/// `may_hold` says so.
fn below(
    root: &Path,
    format: Option<FileFormat>,
    may_hold: impl Fn(&Path) -> bool,
    wanted: impl Fn(&Path) -> bool,
) -> Result<InputFiles> {
    let tree = tree(root, &is_hidden, &may_hold)?;
    let mut files = Vec::new();
    let (mut inodes, mut linked) = (HashMap::new(), Vec::new());
    for path in tree.files.iter().filter(|path| wanted(path)) {
        let Some(file) = InputFile::new(&root.join(path), path.to_string_lossy().into_owned(), format)? else {
            continue;
        };
        let inode = (file.stat.device, file.stat.inode);
        if tree.links.contains(path) {
            linked.push((inode, path));
        } else {
            inodes.insert(inode, path);
        }
        files.push(file);
    }
    linked.sort();
    for (inode, path) in linked {
        if let Some(first) = inodes.insert(inode, path) {
            bail!(twice(root, first, path));
        }
    }
    Ok(InputFiles { files, skipped: tree.hidden })
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
