//! Epochs that a killed batch run decided and did not publish. An hour has no `_SUCCESS` while it changes, so whichever
//! run comes next publishes them, whatever its own hours are and whether their input can be read.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use journal::{Journal, JournalError, is_unfinished};

use crate::output::layout::{JOURNALS, hour_of_journal};

/// Publishes what batch runs have decided at an output; an output that is not there has nothing.
///
/// # Errors
/// A journal that is damaged, or those of the disk. A journal that another run holds is left to that run.
pub fn roll_forward(out: &Path) -> Result<()> {
    let journals = out.join(JOURNALS);
    let entries = match fs::read_dir(&journals) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        entries => entries.with_context(|| format!("list {}", journals.display()))?,
    };
    for entry in entries {
        let name = entry.with_context(|| format!("list {}", journals.display()))?.file_name();
        if hour_of_journal(&name.to_string_lossy()).is_none() || !is_unfinished(&journals.join(&name))? {
            continue;
        }
        match Journal::open(out, &Path::new(JOURNALS).join(&name), BTreeMap::new()) {
            Err(JournalError::Locked { .. }) => {}
            opened => drop(opened?),
        }
    }
    Ok(())
}
