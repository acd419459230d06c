//! Where a report goes: the end of the file's name says what it is to be.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use journal::replace;

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
            // Found out after hours of work, it would be too late.
            Some("html" | "json") if path.parent().is_some_and(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()) => {
                Err("there is no such directory".to_owned())
            }
            Some(end @ ("html" | "json")) => Ok(Self { json: end == "json", path }),
            _ => Err("it is neither FILE.html nor FILE.json".to_owned()),
        }
    }
}

impl ReportFile {
    /// Writes the one or the other, whole.
    pub fn write(&self, html: impl FnOnce() -> String, json: impl FnOnce() -> Result<String>) -> Result<()> {
        let text = if self.json { json()? } else { html() };
        replace(&self.path, text.as_bytes()).with_context(|| format!("write --report {}", self.path.display()))?;
        Ok(())
    }
}
