//! The files behind one `--in`: a file, a directory of them in the order of their names, or standard input.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Result, bail};

use crate::decode::TextFormat;
use crate::failure::failed;
use crate::fault::SourceError;

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A row a line, or for CSV a record.
    Text(TextFormat),
    /// Parquet.
    Parquet,
}

impl FileFormat {
    /// By the end of the name: `.jsonl`, `.ndjson`, `.json`, `.csv`, `.parquet`.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
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
    pub bytes: u64,
    /// Microseconds, UTC.
    pub modified: i64,
}

impl Input {
    pub(crate) fn new(path: &str) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|e| failed(format!("read {path}"), e))?;
        let path = PathBuf::from(path);
        Ok(if metadata.is_dir() { Self::Directory(path) } else { Self::File(path) })
    }

    /// The files that are there now. Names that start with `_` or `.` are no data, nor are directories.
    pub(crate) fn files(&self, format: Option<FileFormat>) -> Result<Vec<InputFile>> {
        let directory = match self {
            Self::Pipe => return Ok(vec![]),
            Self::File(path) => return Ok(vec![InputFile::new(path, format)?]),
            Self::Directory(path) => path,
        };
        let said = |e| failed(format!("list {}", directory.display()), e);
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(said)? {
            let path = entry.map_err(said)?.path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(['_', '.']));
            if !hidden && !path.is_dir() {
                files.push(InputFile::new(&path, format)?);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

impl InputFile {
    fn new(path: &Path, format: Option<FileFormat>) -> Result<Self> {
        let Some(format) = format.or_else(|| FileFormat::of(path)) else {
            bail!(SourceError::BadData(format!(
                "{}: unknown format: say which with --format, or hide the file with a `_` before its name",
                path.display()
            )));
        };
        let metadata = fs::metadata(path).map_err(|e| failed(format!("read {}", path.display()), e))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, path: path.to_owned(), format, bytes: metadata.len(), modified: modified(&metadata) })
    }
}

fn modified(metadata: &Metadata) -> i64 {
    let Ok(time) = metadata.modified() else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_micros() as i64,
        Err(before) => -(before.duration().as_nanos().div_ceil(1000) as i64),
    }
}
