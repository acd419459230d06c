//! The stream runner: rows in micro-batches as they come, a commit every few seconds, hours sealed as the watermark
//! passes them.

pub(crate) mod carried;
pub(crate) mod commit;
pub(crate) mod snapshot;
pub(crate) mod united;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use connector::SourceError;
use futures::TryStreamExt;
use journal::{Epoch, Journal, JournalError, Ledger};
use scan::{Batch, CELLS, Chosen, Merged, State};

use crate::account::{account, take};
use crate::advance::advance;
use crate::aside::excess::Judged;
use crate::guard::foreign::OwnFiles;
use crate::guard::intact::{Intact, published};
use crate::guard::owner::{Owner, Runner};
use crate::input::history::History;
use crate::input::intake::{Gathered, Intake, Read};
use crate::input::lane::{Feed, PAUSE};
use crate::input::offsets::Place;
use crate::job::Job;
use crate::output::layout::{STREAM_JOURNAL, token};
use crate::output::sealed_to::SealedTo;
use crate::report::{Progress, Report, add};
use crate::stream::carried::{begin, look, still_open};
use crate::stream::commit::{Draft, Outputs};
use crate::stream::snapshot::Snapshot;

/// How a stream is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Rows of a micro-batch at most.
    pub rows_max: usize,
    /// A micro-batch waits no longer than this for more rows.
    pub interval: Duration,
    /// What was done is committed this often.
    pub commit_interval: Duration,
    /// Rows of output that wait for a commit at most.
    pub pending_rows_max: usize,
    /// Whether input never ends.
    pub follow: bool,
    /// All input is there and in files: then no row is late.
    pub history: Option<History>,
}

/// Runs until all input has ended, or a signal.
///
/// # Errors
/// [`Occupied`](crate::Occupied); [`OtherState`](crate::OtherState), and state to begin with that is not there; anything
/// that keeps an epoch from being committed; what was committed before stands.
pub async fn stream(job: &Job, feeds: Vec<Feed>, cut: Cut, progress: impl FnMut(&Progress)) -> Result<Report> {
    refuse_others(job)?.remember()?;
    let journal = Journal::open(&job.out, Path::new(STREAM_JOURNAL), job.config.clone())?;
    let last = journal.last().cloned();
    job.sides.iter().try_for_each(|side| side.keep(&job.out))?;
    let mut state = job.scan.empty();
    let files = last.as_ref().map(|last| last.state.clone()).unwrap_or_default();
    let mut snapshot = Snapshot::restore(&job.out, files, &mut state)?;
    let mut outputs = Outputs::new(job, last.as_ref())?;
    let mut warnings = Vec::new();
    let floor = match last {
        None => begin(job, &mut state, &mut snapshot, &mut outputs, &mut warnings)?,
        Some(_) => None,
    };
    let run = Run {
        intake: Intake::new(feeds, job, last.as_ref(), floor, cut.history).await?,
        snapshot,
        outputs,
        ledger: last.as_ref().map(|last| last.ledger.clone()).unwrap_or_default(),
        so_far: BTreeMap::new(),
        merged: Vec::new(),
        report: Report::default(),
        warnings,
        progress,
        state,
        journal,
        last,
        job,
        cut,
    };
    run.run().await
}

/// The epoch after which [`stream`] would go on, none where it would begin; writes nothing.
///
/// # Errors
/// [`Occupied`](crate::Occupied); `ConfigChanged` where `last`, the last epoch there is, was made with other flags;
/// without it [`OtherState`](crate::OtherState), and state to begin with that is not there.
pub fn goes_on(job: &Job, last: Option<&Epoch>) -> Result<Option<u64>> {
    refuse_others(job)?;
    let Some(last) = last else {
        look(job)?;
        return Ok(None);
    };
    let differences = last.differences(&job.config);
    ensure!(differences.is_empty(), JournalError::ConfigChanged { epoch: last.number, differences });
    Ok(Some(last.number))
}

/// That what is at the output is this job's, all of it, and as it was left.
fn refuse_others(job: &Job) -> Result<Intact<'_>> {
    let owned = Owner::new(job, Runner::Stream).check(&job.out)?;
    let mut intact = Intact::of(&job.out, false);
    if owned {
        // Damage to the journal is found when it is opened, and what a killed run has decided is not yet there.
        let newest = published(&job.out.join(STREAM_JOURNAL))?;
        let sealed = newest.as_ref().map(SealedTo::read).transpose()?.unwrap_or_default();
        let place = |output: &scan::Output| (job.place(output), sealed.end(&output.name));
        intact.refuse_damaged(job.scan.outputs().iter().map(place))?;
    }
    OwnFiles::of(job, owned).refuse_foreign()?;
    Ok(intact)
}

struct Run<'a, P> {
    job: &'a Job,
    cut: Cut,
    journal: Journal,
    last: Option<Epoch>,
    intake: Intake,
    state: State,
    snapshot: Snapshot,
    outputs: Outputs,
    /// Of all epochs so far.
    ledger: BTreeMap<String, Ledger>,
    /// What was read, late and rejected in this run.
    so_far: BTreeMap<String, Ledger>,
    /// What f made of its rows, step by step, since the last commit.
    merged: Vec<(String, Merged)>,
    report: Report,
    /// Not yet said.
    warnings: Vec<String>,
    progress: P,
}

impl<P: FnMut(&Progress)> Run<'_, P> {
    async fn run(mut self) -> Result<Report> {
        if self.last.as_ref().is_some_and(|last| last.watermark == Some(i64::MAX)) {
            self.refuse_more().await?;
            self.refuse_state()?;
            self.report.ledger = self.ledger;
            self.report.up_to_date = 1;
            return Ok(self.report);
        }
        let mut committed = Instant::now();
        loop {
            if self.intake.sides_due() {
                // One copy an epoch: what was made with the last one is decided first.
                if self.changed() {
                    self.judge(false)?;
                    self.commit().await?;
                    committed = Instant::now();
                }
                self.warnings.extend(self.intake.reload_sides(&self.job.out).await);
            }
            if self.outputs.rows() >= self.cut.pending_rows_max {
                self.intake.keep_back();
            }
            let mut gathered = Gathered::default();
            let read = self.gather(&mut gathered).await?;
            self.step(gathered).await?;
            let due =
                committed.elapsed() >= self.cut.commit_interval || self.outputs.rows() >= self.cut.pending_rows_max;
            let ended = read == Read::End || self.job.stopped();
            // Until all rows of a bounded run are read any hour may still get some: a stop then leaves nothing behind.
            if !self.intake.reading() && (ended || due && self.changed()) {
                self.judge(read == Read::End)?;
                self.commit().await?;
                committed = Instant::now();
            }
            if ended {
                self.intake.skipped().for_each(|(input, files)| self.report.skip(input, files));
                self.report.stopped = read != Read::End;
                self.report.ledger = self.ledger;
                return Ok(self.report);
            }
        }
    }

    /// At the end of its input a run has sealed every hour and let go of its state: what comes later has nothing left to
    /// meet, and most of it would be late.
    async fn refuse_more(&mut self) -> Result<()> {
        let more = match self.cut.follow {
            true => Some("--follow goes on for ever".to_owned()),
            false => self.intake.grown().await?,
        };
        let Some(more) = more else { return Ok(()) };
        let out = self.job.out.display();
        let next = match self.last.as_ref().is_some_and(|last| last.kept.is_some()) {
            true => format!("give what comes to a run of its own, with --init-state {out}"),
            false => "begin anew with another --out, and with --follow where more is to come".to_owned(),
        };
        bail!(SourceError::BadData(format!(
            "{more}, and the run into {out} came to the end of its input, where every hour was sealed: {next}"
        )))
    }

    /// State that is gone cannot be kept.
    fn refuse_state(&self) -> Result<()> {
        let kept = self.last.as_ref().is_some_and(|last| last.kept.is_some());
        let out = self.job.out.display();
        ensure!(
            kept || !self.job.keep_state,
            SourceError::BadData(format!(
                "the run into {out} let go of its state at the end of its input: begin anew with --keep-state and \
                 another --out"
            ))
        );
        Ok(())
    }

    fn changed(&self) -> bool {
        self.intake.read_rows() > 0 || self.last.as_ref().and_then(|last| last.watermark) != self.intake.watermark()
    }

    /// Reads until a micro-batch is full, or has waited long enough.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<Read> {
        let begun = Instant::now();
        loop {
            let room = self.cut.rows_max - gathered.count.min(self.cut.rows_max);
            if room == 0 || self.job.stopped() {
                return Ok(Read::Rows);
            }
            match self.intake.read(gathered, room).await? {
                Read::End => return Ok(Read::End),
                Read::Nothing if begun.elapsed() >= self.cut.interval => return Ok(Read::Nothing),
                Read::Nothing => tokio::time::sleep(PAUSE).await,
                Read::Rows if begun.elapsed() >= self.cut.interval => return Ok(Read::Rows),
                Read::Rows => {}
            }
        }
    }

    async fn step(&mut self, gathered: Gathered) -> Result<()> {
        if gathered.count > 0 {
            let state = std::mem::take(&mut self.state);
            let (state, stepped) = advance(&self.job.scan, state, Batch::Rows(gathered.rows), self.job.limits).await?;
            self.state = state;
            let mut fed = gathered.fed;
            for (input, rows) in stepped.refused.iter().filter(|(_, rows)| !rows.is_empty()) {
                *fed.entry(input.clone()).or_default() -= self.intake.reject(input, rows)?;
            }
            self.merged.extend(account(&fed, &stepped.merged)?);
            self.snapshot.add(stepped.deltas);
            for (name, mut rows) in stepped.outputs {
                while let Some(rows) = rows.try_next().await? {
                    self.outputs.add(&name, &rows)?;
                }
            }
        }
        if let Some(before) = self.expiry() {
            self.state.expire(before);
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        let of = |count: fn(&Ledger) -> u64| -> u64 {
            self.ledger.values().chain(self.intake.ledger.values()).map(count).sum()
        };
        let [rows, late, rejected] = [of(|l| l.read), of(|l| l.late), of(|l| l.rejected)];
        let read_here = self.so_far.values().map(|ledger| ledger.read).sum::<u64>() + self.intake.read_rows();
        let (rows, read_here) = (rows + self.intake.waiting(None), read_here + self.intake.waiting(None));
        let state_rows = self.state.rows().values().sum::<usize>() as u64;
        let hours = (self.report.sealed.len() as u64, None);
        self.warnings.extend(self.intake.warnings());
        let (watermark, warnings) = (self.intake.watermark(), std::mem::take(&mut self.warnings));
        let rows_before = rows - read_here.min(rows);
        (self.progress)(&Progress { rows, rows_before, late, rejected, hours, watermark, state_rows, warnings });
    }

    /// The sample, at the end of all input.
    fn chosen(&self) -> Result<Option<Arc<Chosen>>> {
        match &self.job.sampling {
            Some(sampling) if self.intake.watermark() == Some(i64::MAX) => {
                Ok(Some(Arc::new(sampling.choose(&self.state.summary(CELLS)?)?)))
            }
            _ => Ok(None),
        }
    }

    /// No row before this will come to f any more, nor will state be read for it: that of a sample is at the very end,
    /// and state that is kept by runs to come.
    fn expiry(&self) -> Option<i64> {
        let drawn = |watermark: &i64| self.job.sampling.is_some() && *watermark == i64::MAX;
        let watermark = match self.job.keep_state {
            true => self.intake.live(),
            false => self.intake.watermark().filter(|watermark| !drawn(watermark)),
        };
        watermark.map(|watermark| watermark.saturating_sub(self.job.time.allowed_lateness))
    }

    /// Whether too many rows of this run were set aside for what it did to be committed; what is doubtful is warned of.
    fn judge(&mut self, ended: bool) -> Result<()> {
        add(&mut self.so_far, &self.intake.ledger);
        let mut warnings = Vec::new();
        for (input, run) in &self.so_far {
            let mut all = self.ledger.get(input).copied().unwrap_or_default();
            all.add(&self.intake.ledger.get(input).copied().unwrap_or_default());
            // Rows that wait for their hour were read, and none of them is rejected or late.
            let waiting = Ledger { read: self.intake.waiting(Some(input)), ..Ledger::default() };
            let mut run = *run;
            [&mut run, &mut all].into_iter().for_each(|ledger| ledger.add(&waiting));
            let judged = Judged { input, run, all, ended };
            self.job.aside.rejected(judged, &self.intake.reasons)?;
            if run.late > 0 {
                let cause = self.intake.why_late(input);
                self.job.aside.late(judged, &cause)?;
                warnings.extend(self.job.aside.warning(judged, &cause, &self.job.out));
            }
        }
        // A run that goes on for ever says it once, as soon as it is so; any other at its end.
        if self.cut.follow && self.report.warnings.is_empty() {
            self.warnings.extend(warnings.iter().cloned());
        }
        self.report.warnings = warnings;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        Owner::new(self.job, Runner::Stream).claim(&self.job.out)?;
        self.job.spec.keep(&self.job.out)?;
        let number = self.journal.next_number();
        let token = token();
        let name = format!("{number:010}-{token}");
        // What the source read and what f took are counted apart: an epoch whose sums differ is not committed.
        add(&mut self.ledger, &self.intake.ledger);
        self.intake.ledger.values_mut().for_each(|ledger| *ledger = Ledger::default());
        for (input, merged) in self.merged.drain(..) {
            let ledger = self.ledger.entry(input.clone()).or_default();
            let owed = if self.job.init_state.is_empty() { 0 } else { merged.retracted };
            take(ledger, Merged { retracted: merged.retracted - owed, ..merged });
            self.outputs.sealed.take_back(input, owed, ledger);
        }
        let watermark = self.intake.watermark();
        let kept = (self.job.keep_state && watermark == Some(i64::MAX)).then(|| self.intake.live());
        if let Some(live) = kept {
            self.snapshot.add(still_open(self.job, &self.outputs, live)?);
        }
        let mut epoch = Epoch {
            number,
            token,
            config: self.job.config.clone(),
            job: self.job.spec.checksum()?,
            sides: self.intake.side_facts(),
            watermark,
            kept: kept.map(|live| live.unwrap_or(i64::MIN)),
            ledger: self.ledger.clone(),
            ..Epoch::default()
        };
        let path = format!("{}/{name}", self.journal.state());
        let place = Place { root: &self.job.out, path, syncs: self.journal.syncs() };
        self.intake.record(&mut epoch, &place)?;
        let (stage, syncs) = (self.journal.stage().to_owned(), self.journal.syncs().clone());
        let mut draft = Draft { job: self.job, stage, syncs, name: name.clone(), epoch, chosen: self.chosen()? };
        self.outputs.sealed.given = self.intake.position().filter(|_| watermark < Some(i64::MAX));
        draft.outputs(&mut self.outputs, watermark, &mut self.report).await?;
        draft.aside(std::mem::take(&mut self.intake.aside))?;
        self.snapshot.write(&self.job.scan, &self.job.out, &self.journal, &name, self.expiry())?;
        draft.epoch.state = self.snapshot.files.clone();
        self.last = Some(draft.epoch.clone());
        self.journal.commit(draft.epoch)?;
        self.journal.collect_garbage()?;
        self.report.epochs += 1;
        Ok(())
    }
}
