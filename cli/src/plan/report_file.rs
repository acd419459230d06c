//! Where a report goes: the end of the file's name says what it is to be.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use journal::replace;

use crate::exit::Usage;

/// A file for a browser, or for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    path: PathBuf,
    json: bool,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        match path.extension().and_then(|end| end.to_str()) {
            Some(end @ ("html" | "json")) => Ok(Self { json: end == "json", path }),
            _ => Err("it is neither FILE.html nor FILE.json".to_owned()),
        }
    }
}

impl ReportFile {
    /// That its directory is there, or is the output's, which the run makes: after hours of work it would be too late.
    ///
    /// # Errors
    /// [`Usage`].
    pub fn check(&self, out: &Path) -> Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        match dir.filter(|dir| !dir.is_dir() && *dir != out) {
            Some(dir) => {
                Err(Usage(format!("--report {}: there is no directory {}", self.path.display(), dir.display())).into())
            }
            None => Ok(()),
        }
    }

    /// Writes the one or the other, whole.
    pub fn write(&self, html: impl FnOnce() -> String, json: impl FnOnce() -> Result<String>) -> Result<()> {
        let text = if self.json { json()? } else { html() };
        replace(&self.path, text.as_bytes()).with_context(|| format!("write --report {}", self.path.display()))?;
        Ok(())
    }
}
