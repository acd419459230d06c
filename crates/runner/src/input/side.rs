//! Side inputs of a run: when they are loaded again, what serves while they cannot be, and the copies kept of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use connector::{SourceError, Whole};
use datafusion::catalog::TableProvider;
use journal::{SideFacts, Syncs};
use scan::{Side, VALID_FROM};

use crate::output::files::write_parquet;
use crate::output::layout::{self, token};
use crate::wall_clock::now_us;

/// A side input of a run, with the copy of it that serves.
#[derive(Clone)]
pub struct SideInput {
    place: Whole,
    ttl: i64,
    side: Arc<Side>,
    loaded_at: i64,
    /// The last try to load it, well or not.
    tried_at: i64,
    stale: bool,
}

/// A side input before it is bound to its keys.
pub struct Loaded {
    /// Its rows.
    pub rows: RecordBatch,
    /// When they were loaded, microseconds of processing time.
    pub loaded_at: i64,
    /// The version that a kept copy is called by.
    pub kept_as: Option<String>,
}

/// What a side input holds: for a stream that goes on the copy that its last epoch used, for any other run what is at
/// `place` now.
///
/// # Errors
/// As [`Whole::read`].
pub async fn load_side(name: &str, place: &Whole, out: &Path, recorded: Option<&SideFacts>) -> Result<Loaded> {
    if let Some(facts) = recorded
        && let Some(kept) = Some(layout::side(out, name, &facts.version)).filter(|kept| kept.is_file())
    {
        let rows = Whole::new(&kept.to_string_lossy(), &BTreeMap::new()).read(None, VALID_FROM).await?;
        return Ok(Loaded { rows, loaded_at: facts.loaded_at, kept_as: Some(facts.version.clone()) });
    }
    let rows = place.read(None, VALID_FROM).await.with_context(|| format!("load side input {name}"))?;
    Ok(Loaded { rows, loaded_at: now_us(), kept_as: None })
}

impl SideInput {
    /// What was loaded, of `place`, bound to its keys; to be loaded again once it is older than `ttl`, microseconds.
    ///
    /// # Errors
    /// [`SourceError::BadData`] for a kept copy that holds something else than its name says.
    pub fn new(place: Whole, ttl: i64, side: Side, loaded: &Loaded) -> Result<SideInput> {
        if let Some(kept) = loaded.kept_as.as_ref().filter(|kept| *kept != side.version()) {
            let what = format!("the kept copy {kept} of side input {} was touched", side.name());
            bail!(SourceError::BadData(format!("{what}: restore the file, or start over with another --out")));
        }
        let loaded_at = loaded.loaded_at;
        Ok(SideInput { place, ttl, side: Arc::new(side), loaded_at, tried_at: loaded_at, stale: false })
    }

    /// The columns of an input with those of this side input.
    ///
    /// # Errors
    /// As [`Side::extended`].
    pub fn extended(&self, input: &SchemaRef) -> Result<SchemaRef> {
        Ok(self.side.extended(input)?)
    }

    /// What in the copy that serves is not clear, to say once.
    pub fn doubt(&self) -> Option<String> {
        self.side.doubt()
    }

    /// The name and the keys, as given on the command line.
    pub fn named(&self) -> (&str, &[String]) {
        (self.side.name(), self.side.keys())
    }

    pub(crate) fn version(&self) -> &str {
        self.side.version()
    }

    pub(crate) fn facts(&self) -> (String, SideFacts) {
        let facts = SideFacts { version: self.version().to_owned(), loaded_at: self.loaded_at };
        (self.side.name().to_owned(), facts)
    }

    /// The rows of an input, with what the copy says of them.
    pub(crate) fn enrich(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(self.side.enrich(rows, self.stale)?)
    }

    /// The table of an input, with what the copy says of its rows.
    pub(crate) fn over(&self, table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        Ok(self.side.over(table)?)
    }

    /// Whether it is time to load it again. A clock that was set back must not put that off.
    pub(crate) fn due(&self, now: i64) -> bool {
        !(self.tried_at..self.tried_at.saturating_add(self.ttl)).contains(&now)
    }

    /// Loads it again. Where that fails, the last good copy goes on serving, as stale; what to say of that, once.
    pub(crate) async fn reload(&mut self, out: &Path, now: i64) -> Option<String> {
        self.tried_at = now;
        match self.loaded(out).await {
            Ok(side) => {
                let said = self.doubt();
                (self.side, self.loaded_at, self.stale) = (side, now, false);
                self.doubt().filter(|doubt| said.as_ref() != Some(doubt))
            }
            Err(why) => {
                let known = std::mem::replace(&mut self.stale, true);
                let name = self.side.name();
                (!known).then(|| format!("side input {name} is away, and its last good copy serves as stale: {why:#}"))
            }
        }
    }

    async fn loaded(&self, out: &Path) -> Result<Arc<Side>> {
        let rows = self.place.read(Some(self.side.rows().schema()), VALID_FROM).await?;
        let side = Arc::new(self.side.renewed(&rows)?);
        keep(&side, out)?;
        Ok(side)
    }

    /// Keeps the copy where a later run can take it from.
    pub(crate) fn keep(&self, out: &Path) -> Result<()> {
        keep(&self.side, out)
    }
}

fn keep(side: &Side, out: &Path) -> Result<()> {
    let path = layout::side(out, side.name(), side.version());
    if path.exists() {
        return Ok(());
    }
    let made = path.with_file_name(format!("_{}-{}", side.name(), token()));
    let syncs = Syncs::default();
    write_parquet(&made, &side.rows().schema(), side.keys(), [Ok(side.rows().clone())], &syncs)?;
    syncs.wait()?;
    fs::rename(&made, &path).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    const SECOND: i64 = 1_000_000;

    fn input(ttl: i64, uri: &Path) -> SideInput {
        let rows = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let side = Side::new("facts", &["id".to_owned()], "ts", &rows).unwrap();
        let loaded = Loaded { rows, loaded_at: 0, kept_as: None };
        SideInput::new(Whole::new(&uri.to_string_lossy(), &BTreeMap::new()), ttl, side, &loaded).unwrap()
    }

    #[tokio::test]
    async fn an_hour_of_stream_loads_it_seven_times_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("facts.jsonl");
        fs::write(&file, "{\"id\":1}\n").unwrap();
        let mut side = input(600 * SECOND, &file);
        let mut loads = 1;
        for now in (0..3600).map(|second| second * SECOND) {
            if side.due(now) {
                assert_eq!(side.reload(dir.path(), now).await, None);
                loads += 1;
            }
        }
        assert_eq!(loads, 6);
        assert!(side.due(-1), "the clock was set back");
    }

    #[tokio::test]
    async fn the_last_good_copy_serves_as_stale_and_says_so_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("facts.jsonl");
        let mut side = input(600 * SECOND, &file);
        let (first, mut said) = (side.version().to_owned(), Vec::new());
        let contents = [None, Some(""), Some("{\"id\":\"x\"}\n"), Some("{\"id\":1}\n{\"id\":2}\n"), None];
        for (at, content) in contents.into_iter().enumerate() {
            match content {
                Some(text) => fs::write(&file, text).unwrap(),
                None => drop(fs::remove_file(&file)),
            }
            let now = 600 * SECOND * (at as i64 + 1);
            assert!(side.due(now) && !side.due(now - 1));
            let warned = side.reload(dir.path(), now).await.is_some();
            said.push((warned, side.stale, side.version() == first, side.facts().1.loaded_at == now));
        }
        let away = (false, true, true, false);
        let begins = (true, true, true, false);
        let again = (true, true, false, false);
        assert_eq!(said, [begins, away, away, (false, false, false, true), again]);
    }
}
