//! The union of the states that streams of one f left, as a place that another stream begins with.
//!
//! State is what merging the rows of its files makes, in any order and however often: so the union of states is the
//! union of their files. Each is named by what it holds; the same files make the same record, to the byte, whatever the
//! order and grouping of the places, and however often one is named. No script is needed for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use connector::SourceError;
use journal::{Epoch, Journal, StateFile, Sum};

use crate::guard::foreign::OwnFiles;
use crate::guard::owner::Owner;
use crate::output::files::copy;
use crate::output::layout::STREAM_JOURNAL;
use crate::stream::carried::{Left, alone};

/// What a union of states holds.
#[derive(Clone, Debug, serde::Serialize)]
pub struct United {
    /// Rows of state, as its files have them.
    pub rows: u64,
    /// Its files.
    pub files: usize,
    /// Whether it was there before.
    pub up_to_date: bool,
}

/// Unites what streams left in `places` into `out`, as one epoch without sources; its watermark is the greatest.
///
/// # Errors
/// A place without kept state; [`OtherState`](crate::OtherState); a damaged file; [`Occupied`](crate::Occupied),
/// and those of the journal in `out`.
pub fn unite_states(places: &[PathBuf], out: &Path) -> Result<United> {
    let lefts = places.iter().map(|place| Left::at(place)).collect::<Result<Vec<_>>>()?;
    let config = lefts.first().map(Left::f).unwrap_or_default();
    let mut files = BTreeMap::new();
    for left in &lefts {
        left.same_f(&format!("that in {}", lefts[0].root.display()), &config)?;
        let what = "was stopped before its input ended: run it to its end with --keep-state";
        ensure!(
            left.epoch.kept.is_some() || left.epoch.sources.is_empty(),
            SourceError::Missing(format!("the run into {} {what}", left.root.display()))
        );
        for file in left.epoch.state.iter().filter(|file| !alone(&file.table)) {
            files.insert((file.table.clone(), file.checksum.clone()), (left.root.join(&file.path), file));
        }
    }
    let owned = Owner::of_states().check(out)?;
    OwnFiles::of_no_job(out, owned).refuse_foreign()?;
    Owner::of_states().claim(out)?;
    let mut journal = Journal::open(out, Path::new(STREAM_JOURNAL), config.clone())?;
    let named = |file: &StateFile| format!("{}/{}-{}.arrow", journal.state(), file.table, file.checksum);
    let state: Vec<StateFile> =
        files.values().map(|(_, file)| StateFile { path: named(file), ..(*file).clone() }).collect();
    let watermark = lefts.iter().map(|left| left.watermark).max().flatten();
    let (rows, count) = (state.iter().map(|file| file.rows).sum(), state.len());
    if journal.last().is_some_and(|last| last.state == state && last.watermark == watermark) {
        return Ok(United { rows, files: count, up_to_date: true });
    }
    for ((from, _), file) in files.values().zip(&state).filter(|(_, file)| !out.join(&file.path).exists()) {
        copy(
            from,
            &out.join(&file.path),
            &Sum { bytes: file.bytes, checksum: file.checksum.clone() },
            journal.syncs(),
        )?;
    }
    // No attempt at the same union differs from another, so that all may have one token.
    let token = "union".to_owned();
    journal.commit(Epoch { number: journal.next_number(), token, config, watermark, state, ..Epoch::default() })?;
    journal.collect_garbage()?;
    Ok(United { rows, files: count, up_to_date: false })
}
