//! The files behind one `--in`: a file, a directory of them in reading order, or standard input.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

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
}

#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    /// Without its directory.
    pub name: String,
    pub path: PathBuf,
    pub format: FileFormat,
    /// Whether it is text that gzip has compressed.
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

impl Input {
    pub(crate) fn new(path: &str) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|e| failed(format!("read {path}"), e))?;
        let path = PathBuf::from(path);
        Ok(if metadata.is_dir() { Self::Directory(path) } else { Self::File(path) })
    }

    /// The files that are there now, in reading order. Names that start with `_` or `.` are no data, nor are directories.
    pub(crate) fn files(&self, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
        let mut files = match self {
            Self::Pipe => return Ok(vec![]),
            Self::File(path) => file_and_rotated(path, format)?,
            Self::Directory(path) => directory(path, format)?,
        };
        files.sort_by(|a, b| names::compare(&a.name, &b.name));
        Ok(files)
    }
}

/// How often files are listed again where one of them went, or got another name, while they were listed: it is under
/// neither name then.
const LISTED_AGAIN: usize = 20;

/// Lists until no listed name has gone before it was looked at.
fn listed(once: impl Fn() -> Result<(Vec<InputFile>, bool)>) -> Result<Vec<InputFile>> {
    let (mut files, mut moved) = once()?;
    for _ in 0..LISTED_AGAIN {
        if !moved {
            break;
        }
        (files, moved) = once()?;
    }
    Ok(files)
}

/// Whether a name that was just listed is one no more.
fn has_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

fn directory(directory: &Path, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
    let said = |e| failed(format!("list {}", directory.display()), e);
    listed(|| {
        let (mut files, mut moved) = (Vec::new(), false);
        for entry in fs::read_dir(directory).map_err(said)? {
            let path = entry.map_err(said)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['_', '.'])) {
                continue;
            }
            let file = InputFile::new(&path, format)?;
            moved |= file.is_none() && has_gone(&path);
            files.extend(file);
        }
        Ok((files, moved))
    })
}

/// The file, and beside it those that rotation has given another name. In the midst of a rotation it is not there itself.
fn file_and_rotated(path: &Path, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    listed(|| {
        let (mut files, mut moved) = (InputFile::new(path, format)?.into_iter().collect::<Vec<_>>(), false);
        // What cannot be listed holds no rotated files that could be read.
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let other = entry.file_name();
            if other != name && other.to_str().is_some_and(|other| Some(names::plain(other)) == name.to_str()) {
                let other = parent.join(other);
                let rotated = InputFile::new(&other, format).ok().flatten();
                moved |= rotated.is_none() && has_gone(&other);
                files.extend(rotated.map(|file| InputFile { rotated: true, ..file }));
            }
        }
        Ok((files, moved))
    })
}

/// Whether a file that is gone, and of which nothing was read to know it again by, may be one that is compressed now.
pub(crate) fn is_packed_away(name: &str, files: &[InputFile]) -> bool {
    files.iter().any(|file| file.packed && names::plain(&file.name) == names::plain(name))
}

impl InputFile {
    /// `None` where the file is gone meanwhile, or is a directory.
    fn new(path: &Path, format: Option<FileFormat>) -> Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| failed(format!("read {}", path.display()), e))?,
        };
        if metadata.is_dir() {
            return Ok(None);
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
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
