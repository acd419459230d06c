//! Proves that two outputs of rescan agree, or tells every row on which they do not.

pub(crate) mod again;
pub(crate) mod columns;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod matching;
pub(crate) mod merge;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod serve;
pub(crate) mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use connector::{DataFile, Hour, HourFiles, Location, SealedFile, SourceError, list, scan, verify};
use datafusion::catalog::TableProvider;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use journal::look;
use scan::Limits;

use crate::guard::intact::Intact;
use crate::output::layout::{JOURNALS, STREAM_JOURNAL};
use crate::reconcile::again::Where;
use crate::reconcile::columns::Columns;
use crate::reconcile::explain::{Explained, Explainer, WhatIf, own_root};
use crate::reconcile::merge::{Merge, Proof};
use crate::reconcile::report::{Cause, Difference, Summary};
use crate::reconcile::rows::{Cursor, Encoder};
use crate::reconcile::survey::{Agreement, Survey, survey};

/// What is compared, and how strictly.
#[derive(Clone, Debug)]
pub struct ReconcileOptions {
    /// The columns that tell rows apart; none: those that `_SUCCESS` names.
    pub key: Option<Vec<String>>,
    /// Numbers of a column that are at most this far apart differ with the cause `tolerance`.
    pub tolerance: BTreeMap<String, f64>,
    /// The first hour; none: from the beginning.
    pub from: Option<Hour>,
    /// The hour behind the last; none: to the end.
    pub to: Option<Hour>,
    /// What sorting may hold in memory, of files that are not sorted by key; the rest goes to temporary files.
    pub memory_bytes: usize,
    /// By input, where what the batch read is by now, if that is elsewhere.
    pub moved: BTreeMap<String, String>,
    /// Of the stores of inputs, as in [`Location::parse`].
    pub stores: BTreeMap<String, String>,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        Self {
            key: None,
            tolerance: BTreeMap::new(),
            from: None,
            to: None,
            memory_bytes: 512 << 20,
            moved: BTreeMap::new(),
            stores: BTreeMap::new(),
        }
    }
}

/// Compares the batch and the stream output by key, hour by hour, and tells every difference as it is found, in the
/// order of hour and key. Partitions whose files have equal checksums are equal, once their bytes have been found to have
/// them; of others a few thousand rows are in memory at a time. Columns compare by name, those that start with `_` not at all.
///
/// # Errors
/// A side without any partition in the range, an hour that a batch run has not sealed, no key, files that cannot be read
/// or are not those that were sealed, as [`SourceError`]; and whatever `on_difference` answers.
pub async fn reconcile(
    batch: &Location,
    stream: &Location,
    options: &ReconcileOptions,
    mut on_difference: impl FnMut(Difference) -> Result<()>,
) -> Result<Summary> {
    let batch = Side::list("batch", batch, options).await?;
    let stream = Side::list("stream", stream, options).await?;
    batch.refuse_unsealed(true)?;
    stream.refuse_unsealed(false)?;
    let key = key(&batch, &stream, options)?;
    let context = context(options.memory_bytes)?;
    let kept: Vec<PathBuf> = [&batch, &stream].iter().filter_map(|side| own_root(side.root)).collect();
    let place = Where { moved: &options.moved, options: &options.stores, kept: &kept };
    let limits = Limits { threads: std::thread::available_parallelism().map_or(1, usize::from), memory: None };
    let mut explainer = match own_root(batch.root) {
        Some(root) => Some(Explainer::new(place, root, own_root(stream.root), limits)?),
        None => None,
    };
    let mut summary = Summary::default();
    let hours: BTreeSet<Hour> = batch.hours.keys().chain(stream.hours.keys()).copied().collect();
    for hour in hours {
        summary.partitions += 1;
        if let Some(rows) = equal_by_checksum(batch.hours.get(&hour), stream.hours.get(&hour), &key) {
            tokio::try_join!(batch.verify(hour), stream.verify(hour))?;
            if !options.tolerance.is_empty() {
                let tables = [batch.table(hour).await?, stream.table(hour).await?];
                columns(&tables, &key)?.allow(&options.tolerance)?;
            }
            summary.partitions_equal_by_checksum += 1;
            summary.rows_batch += rows;
            summary.rows_stream += rows;
            summary.rows_equal += rows;
            continue;
        }
        let tables = [batch.table(hour).await?, stream.table(hour).await?];
        let columns = columns(&tables, &key)?;
        columns.allow(&options.tolerance)?;
        let pending = stream.waits(hour);
        let encoder = Arc::new(Encoder::new(&columns)?);
        let pair = Pair { sides: [&batch, &stream], hour, tables, columns, encoder, context: &context };
        let proof = match explainer.as_mut().filter(|_| !pending) {
            Some(explainer) => pair.proof(explainer, &mut summary).await?,
            None => None,
        };
        let mut merge = Merge {
            hour,
            columns: &pair.columns,
            tolerance: &options.tolerance,
            pending,
            proof,
            summary: &mut summary,
            on_difference: &mut on_difference,
        };
        merge.columns_apart()?;
        let [mut left, mut right] = pair.cursors().await?;
        merge.rows(&mut left, &mut right).await?;
    }
    Ok(summary)
}

/// An hour of both sides.
struct Pair<'a> {
    sides: [&'a Side<'a>; 2],
    hour: Hour,
    tables: [Option<Arc<dyn TableProvider>>; 2],
    columns: Columns,
    encoder: Arc<Encoder>,
    context: &'a SessionContext,
}

impl Pair<'_> {
    /// Both sides in key order.
    async fn cursors(&self) -> Result<[Option<Cursor>; 2]> {
        Ok([self.cursor(0).await?, self.cursor(1).await?])
    }

    async fn cursor(&self, at: usize) -> Result<Option<Cursor>> {
        let (side, table) = (self.sides[at], self.tables[at].clone());
        let what = format!("read {} {}/{}", side.name, side.root, self.hour.path());
        Cursor::open(table, &self.columns, &self.encoder, self.context, what).await
    }

    /// What f makes of other input, in key order.
    async fn made(&self, what_ifs: &[WhatIf]) -> Result<Vec<Option<Cursor>>> {
        let mut made = Vec::new();
        for what_if in what_ifs {
            let what = format!("read what f makes of {}", self.hour);
            made.push(Cursor::open(what_if.table.clone(), &self.columns, &self.encoder, self.context, what).await?);
        }
        Ok(made)
    }

    async fn survey(&self, what_ifs: &[WhatIf]) -> Result<Survey> {
        let ([mut batch, mut stream], mut made) = (self.cursors().await?, self.made(what_ifs).await?);
        survey(&mut batch, &mut stream, &mut made, &self.columns).await
    }

    /// What explains the hour, if the sides differ in it; why nothing does is added to the summary.
    async fn proof(&self, explainer: &mut Explainer<'_>, summary: &mut Summary) -> Result<Option<Proof>> {
        if self.survey(&[]).await?.differing == 0 {
            return Ok(None);
        }
        let success = |side: &'_ Side<'_>| side.hours.get(&self.hour).and_then(|files| files.success.clone());
        let (batch, other) = (success(self.sides[0]), success(self.sides[1]));
        let mut unproven = |why: anyhow::Error| *summary.unproven.entry(format!("{why:#}")).or_default() += 1;
        let proof = async { self.proven(explainer.hour(self.hour, batch.as_ref(), other.as_ref()).await?).await };
        match proof.await {
            Ok((proof, None)) => Ok(Some(proof)),
            Ok((proof, Some(why))) => {
                unproven(why);
                Ok(Some(proof))
            }
            Err(why) => {
                unproven(why);
                Ok(None)
            }
        }
    }

    /// Tries ever more causes together, until all is explained or nothing is left to try.
    async fn proven(&self, mut of: Explained<'_, '_>) -> Result<(Proof, Option<anyhow::Error>)> {
        let baseline = of.with(&[]).await?;
        let mut why = None;
        let mut kept: Vec<WhatIf> = Vec::new();
        if of.changed {
            why = Some(anyhow!("the batch's input is not what it was made of any more"));
            let changed = WhatIf { causes: vec![Cause::Input], table: baseline.table.clone() };
            kept.extend(self.sound(vec![changed]).await?);
        }
        for cause in of.row_causes() {
            let mut found = self.alone(&mut of, cause).await?;
            if of.turn(cause) {
                let other = self.alone(&mut of, cause).await?;
                match other.is_better_than(&found) {
                    true => found = other,
                    false => _ = of.turn(cause),
                }
            }
            of.narrow(cause, &found.keys)?;
        }
        for count in 1..=of.causes.len() {
            if self.survey(&kept).await?.unexplained == 0 {
                break;
            }
            let found = of.what_ifs(count).await?;
            kept.extend(self.sound(found).await?);
        }
        let made = self.made(&kept).await?;
        let others = kept.into_iter().map(|what_if| what_if.causes).zip(made).collect();
        let baseline = if of.changed { None } else { self.made(&[baseline]).await?.pop() };
        Ok((Proof { baseline, others, events: of.events, scratch: of.scratch }, why))
    }

    /// What a cause alone explains, and contradicts.
    async fn alone(&self, of: &mut Explained<'_, '_>, cause: Cause) -> Result<Agreement> {
        let made = of.with(&[cause]).await?;
        Ok(self.survey(&[made]).await?.others.pop().unwrap_or_default())
    }

    /// Those that explain a key and contradict none.
    async fn sound(&self, what_ifs: Vec<WhatIf>) -> Result<Vec<WhatIf>> {
        let found = self.survey(&what_ifs).await?.others;
        let sound = found.iter().map(|of| of.explained > 0 && of.contradicted == 0);
        Ok(what_ifs.into_iter().zip(sound).filter_map(|(what_if, sound)| sound.then_some(what_if)).collect())
    }
}

/// Plans of one partition, as rows are wanted in order, that sort within this memory.
fn context(memory_bytes: usize) -> Result<SessionContext> {
    let pool = Arc::new(FairSpillPool::new(memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let config = SessionConfig::new().with_target_partitions(1);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// Up to where an output is whole, microseconds: a stream up to its watermark, but for the hours that it holds rows of;
/// a batch output to its end. `None` where nothing says it.
fn whole_until(root: &Path) -> Result<(Option<i64>, BTreeSet<Hour>)> {
    if root.join(JOURNALS).exists() && !root.join(STREAM_JOURNAL).exists() {
        return Ok((Some(i64::MAX), BTreeSet::new()));
    }
    let newest = look(&root.join(STREAM_JOURNAL), &BTreeMap::new())?.newest;
    let Some(Ok(epoch)) = newest else { return Ok((None, BTreeSet::new())) };
    let open = epoch.open.iter().filter(|(_, files)| !files.is_empty()).map(|(partition, _)| partition);
    Ok((epoch.watermark, open.filter_map(|partition| Hour::from_path(partition)).collect()))
}

/// One of the two outputs.
struct Side<'a> {
    name: &'static str,
    root: &'a Location,
    hours: BTreeMap<Hour, HourFiles>,
    /// Up to where nothing of it is still to come, microseconds, and the hours before that are open all the same.
    until: Option<i64>,
    open: BTreeSet<Hour>,
}

impl<'a> Side<'a> {
    async fn list(name: &'static str, root: &'a Location, options: &ReconcileOptions) -> Result<Self> {
        let range = (
            options.from.map_or(Bound::Unbounded, Bound::Included),
            options.to.map_or(Bound::Unbounded, Bound::Excluded),
        );
        let hours = list(root, range).await?;
        if hours.is_empty() {
            let wanted = "dt=YYYY-MM-DD/hr=HH with Parquet files in the range";
            bail!(SourceError::Missing(format!("{name} {root} has no partition: it needs directories {wanted}")));
        }
        hours.values().try_for_each(|hour| hour.data(root).map(|_| ()))?;
        let (until, open) = root.local_path().map(|root| whole_until(&root)).transpose()?.unwrap_or_default();
        Ok(Self { name, root, hours, until, open })
    }

    /// That the hours with rows are sealed, as far as they can be: nothing more comes to those of a batch, and a stream's
    /// journal says which ones it has sealed. An output without any `_SUCCESS` may be one of another engine.
    fn refuse_unsealed(&self, batch: bool) -> Result<()> {
        let Some(open) = self.hours.iter().find(|(_, files)| !files.sealed).map(|(hour, _)| *hour) else {
            return Ok(());
        };
        let local = self.root.local_path();
        let has = |path: &str| local.as_ref().is_some_and(|local| local.join(path).exists());
        let (name, root, owned, streamed) = (self.name, self.root, has(JOURNALS), has(STREAM_JOURNAL));
        if let Some(local) = local.as_ref().filter(|_| streamed) {
            // An hour without any file is compared as one without rows.
            let gone = Intact::of(local, false).gone()?.into_iter().find(|(hour, _)| self.hours.contains_key(hour));
            if let Some((_, what)) = gone {
                bail!(SourceError::BadData(format!("{name}: {what}: restore it")));
            }
        }
        let closed = batch || owned && !streamed;
        let ours = owned || self.hours.values().any(|files| files.sealed);
        let next = match streamed {
            true => format!("the stream that writes it has not ended: leave it out by --to {open}, or end the stream"),
            false => "restore its _SUCCESS, or make the hour again".to_owned(),
        };
        let what = format!("{name} {root}: hour {open} is not sealed: {next}");
        ensure!(!(closed && ours), SourceError::Missing(what));
        Ok(())
    }

    fn files(&self, hour: Hour) -> &[DataFile] {
        self.hours.get(&hour).map_or(&[], |h| &h.files)
    }

    /// Whether more of an hour may come.
    fn waits(&self, hour: Hour) -> bool {
        let sealed = self.hours.get(&hour).is_some_and(|h| h.sealed);
        let to_come = self.until.is_none_or(|until| hour.plus(1).start_us() > until);
        !sealed && self.until != Some(i64::MAX) && (to_come || self.open.contains(&hour))
    }

    /// That the files of an hour are those that were sealed.
    async fn verify(&self, hour: Hour) -> Result<()> {
        verify(self.root, self.files(hour)).await.with_context(|| format!("compare {}", self.name))
    }

    async fn table(&self, hour: Hour) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.files(hour) {
            [] => Ok(None),
            files => Ok(Some(scan(self.root, files).await?)),
        }
    }
}

fn columns(tables: &[Option<Arc<dyn TableProvider>>; 2], key: &[String]) -> Result<Columns> {
    let [batch, stream] = tables.each_ref().map(|t| t.as_ref().map(|t| t.schema()));
    match (&batch, &stream) {
        // Sealed without rows on both sides: nothing to compare, and no schema to look the key up in.
        (None, None) => Ok(Columns { key: Vec::new(), values: Vec::new(), apart: Vec::new() }),
        _ => Columns::of(batch.as_deref(), stream.as_deref(), key),
    }
}

/// The rows of each side, where both are sealed with the same bytes. Another key than the one they are sealed by could
/// find several rows under one key, so that they must be read.
fn equal_by_checksum(batch: Option<&HourFiles>, stream: Option<&HourFiles>, key: &[String]) -> Option<u64> {
    let (batch, stream) = (sealed_files(batch?, key)?, sealed_files(stream?, key)?);
    let content = |files: &[&SealedFile]| files.iter().map(|f| (f.checksum.clone(), f.rows)).collect::<Vec<_>>();
    (content(&batch) == content(&stream)).then(|| batch.iter().map(|f| f.rows).sum())
}

/// The files by name, where they are still those that were sealed.
fn sealed_files<'a>(hour: &'a HourFiles, key: &[String]) -> Option<Vec<&'a SealedFile>> {
    let success = hour.success.as_ref().filter(|s| s.key == key)?;
    let mut files: Vec<_> = success.files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let there = hour.files.iter().map(|f| (f.name.as_str(), f.bytes));
    there.eq(files.iter().map(|f| (f.name.as_str(), f.bytes))).then_some(files)
}

fn key(batch: &Side<'_>, stream: &Side<'_>, options: &ReconcileOptions) -> Result<Vec<String>> {
    if let Some(key) = options.key.as_ref().filter(|k| !k.is_empty()) {
        return Ok(key.clone());
    }
    let hours = batch.hours.values().chain(stream.hours.values());
    let keys: BTreeSet<&Vec<String>> = hours.filter_map(|h| h.success.as_ref()).map(|s| &s.key).collect();
    let mut keys = keys.into_iter().filter(|k| !k.is_empty());
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => bail!(SourceError::BadData("no key in any _SUCCESS: name the key columns with --key".to_string())),
        (Some(a), Some(b)) => {
            let (a, b) = (a.join(","), b.join(","));
            bail!(SourceError::BadData(format!("partitions have several keys, {a} and {b}: choose one with --key")))
        }
    }
}
