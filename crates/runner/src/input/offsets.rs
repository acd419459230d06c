//! How far the files of a source partition were read, as epochs record it. There may be thousands of files, and few of
//! them change from one epoch to the next: beyond some number an epoch names those that have changed since a file was
//! written that names all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use connector::{Offset, Source};
use journal::{Epoch, JournalError, OffsetFile, Sum, Syncs};

use crate::output::files::write_bytes;

/// So many files are named by every epoch, and so many changed ones before all are written anew.
const FILES_MAX: usize = 256;

/// Where an epoch may write down offsets.
pub(crate) struct Place<'a> {
    pub root: &'a Path,
    /// The path of a file below the root, but for what tells the source partitions of an epoch apart.
    pub path: String,
    pub syncs: &'a Syncs,
}

/// What an epoch recorded of a source partition.
#[derive(Default)]
pub(crate) struct Recorded {
    /// The file that names all.
    pub file: Option<OffsetFile>,
    /// The names of those that have changed since it was written.
    changed: BTreeSet<String>,
}

impl Recorded {
    /// The whole offset of a source partition as the last epoch left it, `name` being that of the partition there.
    ///
    /// # Errors
    /// What was recorded is damaged.
    pub(crate) fn read(root: &Path, last: Option<&Epoch>, name: &str) -> Result<(Recorded, Option<Offset>)> {
        let nothing = (Recorded::default(), None);
        let Some((last, facts)) = last.and_then(|last| Some((last, last.sources.get(name)?))) else {
            return Ok(nothing);
        };
        let offset: Offset =
            serde_json::from_value(facts.offset.clone()).with_context(|| format!("the journal's offset of {name}"))?;
        let Some(file) = last.offsets.get(name) else { return Ok((Recorded::default(), Some(offset))) };
        let changed = offset.files.keys().chain(&offset.without).cloned().collect();
        let path = root.join(&file.path);
        let bytes = fs::read(&path).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        let sum = Sum { bytes: file.bytes, checksum: file.checksum.clone() };
        ensure!(Sum::of(&bytes) == sum, JournalError::Corrupt { path, what: "is not what was written".to_owned() });
        let older = serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.path))?;
        Ok((Recorded { file: Some(file.clone()), changed }, Some(offset.since(older))))
    }

    /// What the next epoch is to record; `None` where the source partition is none of files.
    ///
    /// # Errors
    /// The file that names all cannot be written.
    pub(crate) fn next(&mut self, source: &mut dyn Source, partition: usize, place: &Place) -> Result<Option<Offset>> {
        self.changed.append(&mut source.changed(partition));
        let Some(files) = source.files(partition) else { return Ok(None) };
        let whole = || Offset { files: files.clone(), ..Offset::default() };
        if files.len() <= FILES_MAX {
            *self = Recorded::default();
            return Ok(Some(whole()));
        }
        if self.file.is_none() || self.changed.len() > FILES_MAX {
            let bytes = serde_json::to_vec(&whole())?;
            let sum = write_bytes(&place.root.join(&place.path), &bytes, place.syncs)?;
            let file = OffsetFile { path: place.path.clone(), bytes: sum.bytes, checksum: sum.checksum };
            *self = Recorded { file: Some(file), changed: BTreeSet::new() };
        }
        let (there, without): (BTreeSet<String>, _) =
            self.changed.iter().cloned().partition(|name| files.contains_key(name));
        let files = there.into_iter().filter_map(|name| Some((name.clone(), files.get(&name)?.clone())));
        Ok(Some(Offset { files: files.collect(), without, ..Offset::default() }))
    }
}
