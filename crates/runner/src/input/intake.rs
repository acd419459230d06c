//! From source partitions to the rows of a step: reads from whoever is furthest behind in event time, and sends late,
//! future and broken rows aside. Of a bounded run over files nothing is late, and rows may wait for their hour.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use connector::{Chunk, Poll};
use journal::{Epoch, Ledger, SideFacts};
use scan::Passed;

use crate::aside;
use crate::aside::excess::Reasons;
use crate::input::gate::{Clock, TimePolicy, watermark};
use crate::input::history::{History, Ordered, changed};
use crate::input::idle;
use crate::input::lane::{Feed, Lane, resumed, same_rows};
use crate::input::lateness::Lateness;
use crate::input::offsets::{Place, Recorded};
use crate::input::side::SideInput;
use crate::job::Job;
use crate::output::sealed_to::Position;
use crate::wall_clock::now_us;

/// Rows between two steps.
#[derive(Default)]
pub(crate) struct Gathered {
    pub rows: BTreeMap<String, Vec<RecordBatch>>,
    /// Rows for f, by input.
    pub fed: BTreeMap<String, u64>,
    pub count: usize,
}

/// All source partitions of a run.
pub(crate) struct Intake {
    feeds: Vec<Feed>,
    lanes: Vec<Lane>,
    sides: Vec<SideInput>,
    policy: TimePolicy,
    /// The rows that wait for their hour, where nothing is late.
    ordered: Option<Ordered>,
    watermark: Option<i64>,
    /// Whether a later run goes on with what this one keeps.
    goes_on: bool,
    /// What it was before the input ended.
    live: Option<i64>,
    /// Rows that f does not see, by input, since the last commit.
    pub aside: BTreeMap<(&'static str, String), Vec<RecordBatch>>,
    /// What became of rows before f, by input, since the last commit.
    pub ledger: BTreeMap<String, Ledger>,
    /// Why rows were rejected, in this run.
    pub reasons: Reasons,
    /// Not yet said.
    warnings: Vec<String>,
}

/// What reading once gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Rows,
    Nothing,
    End,
}

impl Intake {
    /// Goes to where an epoch left off. Without one the run begins where the job's watermark is `floor`. With `history`
    /// all input is read from its beginning, unless the epoch was the last there is to be.
    pub(crate) async fn new(
        mut feeds: Vec<Feed>,
        job: &Job,
        last: Option<&Epoch>,
        floor: Option<i64>,
        history: Option<History>,
    ) -> Result<Intake> {
        let (policy, sides) = (job.time, job.sides.clone());
        let ended = last.is_some_and(|last| last.watermark == Some(i64::MAX));
        let names = || feeds.iter().map(|feed| feed.input.clone()).collect();
        let ordered = history.filter(|_| !ended).map(|history| Ordered::after(last, names(), history, floor));
        let ordered = ordered.transpose()?;
        // A source partition that the journal does not know may hold rows of hours that are sealed.
        let watermark = last.map_or(floor, |last| last.watermark);
        let mut lanes = Vec::new();
        let mut ledger = BTreeMap::new();
        for (feed, Feed { input, source, .. }) in feeds.iter_mut().enumerate() {
            ledger.insert(input.clone(), Ledger::default());
            let mut offsets = BTreeMap::new();
            for (partition, name) in source.partitions().to_vec().into_iter().enumerate() {
                let key = format!("{input}/{name}");
                let facts = last.and_then(|last| last.sources.get(&key));
                let (recorded, offset) = Recorded::read(&job.out, last, &key)?;
                let clock = match (&ordered, facts) {
                    (Some(ordered), _) => Clock::all_there(ordered.floor),
                    (None, None) => Clock::resumed(watermark, false, false),
                    (None, Some(facts)) => resumed(facts),
                };
                offsets.extend(offset.clone().map(|offset| (name.clone(), offset)));
                let lane = Lane::new(feed, partition, name, clock, policy.watermark_delay);
                lanes.push(match ordered.is_some() {
                    true => Lane { end: offset, ..lane },
                    false => Lane { offset, recorded, ..lane },
                });
            }
            if ordered.is_some() {
                source.keep_to(&offsets);
                offsets.clear();
            }
            source.seek(&offsets).await.with_context(|| format!("go on reading {input}"))?;
            if let Some(last) = last {
                same_rows(input, source.as_ref(), &offsets, last)?;
            }
        }
        let (goes_on, live) = (job.keep_state, watermark);
        let (aside, reasons, warnings) = (BTreeMap::new(), Reasons::default(), Vec::new());
        Ok(Intake { feeds, lanes, sides, policy, ordered, watermark, goes_on, live, aside, ledger, reasons, warnings })
    }

    /// The job's watermark, microseconds; `i64::MAX` at the end of all input.
    pub(crate) fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The same before the end: no row before it was to be expected any more.
    pub(crate) fn live(&self) -> Option<i64> {
        self.live
    }

    /// Rows read since the last commit.
    pub(crate) fn read_rows(&self) -> u64 {
        self.ledger.values().map(|ledger| ledger.read).sum()
    }

    /// Where a source partition goes on that had ended, as `INPUT/PARTITION` and its next row; none where nothing has come
    /// since.
    pub(crate) async fn grown(&mut self) -> Result<Option<String>> {
        for lane in &self.lanes {
            let Feed { input, source, .. } = &mut self.feeds[lane.feed];
            if let Some(row) = lane.grown(source.as_mut()).await? {
                return Ok(Some(format!("{input}/{} goes on with {row}", lane.name)));
            }
        }
        Ok(None)
    }

    /// Source partitions that have come since hold the watermark from where it is.
    fn add_lanes(&mut self) {
        for (feed, Feed { source, .. }) in self.feeds.iter().enumerate() {
            let known = self.lanes.iter().filter(|lane| lane.feed == feed).count();
            for (partition, name) in source.partitions().iter().enumerate().skip(known) {
                let clock = Clock::resumed(self.watermark, false, false);
                self.lanes.push(Lane::new(feed, partition, name.clone(), clock, self.policy.watermark_delay));
            }
        }
    }

    /// Whether rows are to come that may be of any hour.
    pub(crate) fn reading(&self) -> bool {
        self.ordered.as_ref().is_some_and(|ordered| ordered.reading)
    }

    /// Rows that were read and wait for their hour, of one input or of all.
    pub(crate) fn waiting(&self, input: Option<&str>) -> u64 {
        self.ordered.as_ref().map_or(0, |ordered| ordered.waiting(input))
    }

    /// From now on rows wait for their hour that are read.
    pub(crate) fn keep_back(&mut self) {
        self.ordered.iter_mut().for_each(Ordered::keep_back);
    }

    /// How far the rows of a bounded run are given to f.
    pub(crate) fn position(&self) -> Option<Position> {
        self.ordered.as_ref().map(Ordered::position)
    }

    /// Reads one chunk of at most `rows_max` rows from the partition that is furthest behind and has something to give.
    pub(crate) async fn read(&mut self, gathered: &mut Gathered, rows_max: usize) -> Result<Read> {
        self.add_lanes();
        let mut order: Vec<usize> = (0..self.lanes.len()).filter(|lane| !self.lanes[*lane].clock.finished).collect();
        if self.ordered.is_some() {
            // One after another, so that the order of an input's rows is the same on every run.
            order.dedup_by_key(|lane| self.lanes[*lane].feed);
        }
        if order.is_empty() {
            return self.give(gathered, rows_max);
        }
        let delay = self.policy.watermark_delay;
        order.sort_by_key(|lane| self.lanes[*lane].clock.watermark(delay));
        for at in order {
            let lane = &self.lanes[at];
            match self.feeds[lane.feed].source.read(lane.partition, rows_max).await? {
                Poll::Chunk(chunk) => {
                    self.admit(at, chunk, gathered).await?;
                    self.tick();
                    return Ok(Read::Rows);
                }
                Poll::Finished => {
                    self.lanes[at].clock.finished = true;
                    self.tick();
                    return Ok(Read::Rows);
                }
                Poll::Waiting => self.wait(at),
            }
        }
        self.tick();
        Ok(Read::Nothing)
    }

    /// The next rows that have waited for their hour.
    fn give(&mut self, gathered: &mut Gathered, rows_max: usize) -> Result<Read> {
        let Some(ordered) = &mut self.ordered else { return Ok(Read::End) };
        if ordered.reading {
            ordered.all_read()?;
            for lane in &self.lanes {
                let now = lane.place(self.feeds[lane.feed].source.as_ref()).unwrap_or_default();
                let same = lane.end.as_ref().is_none_or(|end| end.is_same_rows(&now));
                ensure!(same, changed(&format!("{}/{}", self.feeds[lane.feed].input, lane.name)));
            }
        }
        let next = ordered.next(rows_max)?;
        self.tick();
        let Some((feed, rows)) = next else { return Ok(Read::End) };
        self.ledger.entry(self.feeds[feed].input.clone()).or_default().read += rows.num_rows() as u64;
        self.feed(feed, rows, gathered)?;
        Ok(Read::Rows)
    }

    fn wait(&mut self, at: usize) {
        if self.ordered.is_some() {
            // Nothing is held: no time goes on before everything is read.
            return;
        }
        let since = *self.lanes[at].waiting.get_or_insert_with(Instant::now);
        let feed = self.lanes[at].feed;
        let others = self
            .lanes
            .iter()
            .enumerate()
            .filter(|(other, lane)| *other != at && lane.feed == feed && !lane.clock.finished);
        let over = self.feeds[feed].idle.is_over(since, others.map(|(_, lane)| lane.waiting));
        self.lanes[at].clock.idle |= over;
        let lane = &self.lanes[at];
        if lane.is_holding(&self.lanes, since, self.policy.watermark_delay) {
            // Said once.
            let input = &self.feeds[feed].input;
            let name = format!("{input}/{}", lane.name);
            self.warnings.push(idle::holds(&name, input, since.elapsed().as_secs() / 60));
            self.lanes[at].said = true;
        }
    }

    fn tick(&mut self) {
        if let Some(first) = self.ordered.as_ref().map(Ordered::watermark) {
            self.live = first.min(self.live_at_end()).max(self.live);
            let at_end = first.filter(|first| *first == i64::MAX);
            self.watermark = if self.goes_on { at_end.or(self.live) } else { first.max(self.watermark) };
            return;
        }
        let clocks = self.lanes.iter().map(|lane| &lane.clock);
        self.watermark = watermark(clocks, self.policy.watermark_delay, self.watermark, self.goes_on);
        self.live = self.watermark.filter(|watermark| *watermark < i64::MAX).or(self.live);
        for lane in self.lanes.iter_mut().filter(|lane| lane.clock.idle) {
            lane.clock.follow(self.watermark);
        }
    }

    /// Where a stream over the rows that were read would leave the watermark: a later run goes on from there.
    fn live_at_end(&self) -> Option<i64> {
        let clocks: Vec<Clock> = self.lanes.iter().map(|lane| lane.clock.awake()).collect();
        watermark(clocks.iter(), self.policy.watermark_delay, self.live, true)
    }

    async fn admit(&mut self, lane: usize, chunk: Chunk, gathered: &mut Gathered) -> Result<()> {
        let lane = &mut self.lanes[lane];
        let feed = &self.feeds[lane.feed];
        let slept = std::mem::take(&mut lane.clock.idle);
        (lane.waiting, lane.said, lane.offset) = (None, false, Some(chunk.next));
        let decoded = chunk.rows.num_rows();
        let mut rejected = chunk.rejected;
        let (rows, failed) = match &feed.door {
            Some(door) => {
                let Passed { rows, failed } = door.pass(chunk.rows.clone()).await?;
                rejected.extend(aside::failed(&chunk.rows, &failed)?);
                (rows, failed.len())
            }
            None => (chunk.rows, 0),
        };
        let filtered = (decoded - rows.num_rows() - failed) as u64;
        // The same rows are to give the same output, whenever they are read: history is not judged by the clock.
        let now = self.ordered.is_none().then(now_us);
        let admitted = lane.clock.admit(&rows, &feed.time, &self.policy, now)?;
        rejected.extend(aside::future(&admitted.future, &feed.time)?);
        rejected.extend(aside::timeless(&admitted.timeless, &feed.time)?);
        let (overslept, fed) = (admitted.overslept.num_rows() as u64, admitted.on_time.num_rows() as u64);
        let late = admitted.late.num_rows() as u64 + overslept;
        lane.lateness.add(&rows, &feed.time, late, admitted.furthest, admitted.newest)?;
        let mut ledger =
            Ledger { read: chunk.read, late, rejected: rejected.len() as u64, filtered, ..Ledger::default() };
        let (feed, rows) = (lane.feed, admitted.on_time);
        let rows = match &mut self.ordered {
            None => rows,
            Some(ordered) => {
                Ledger { accepted: fed, ..ledger }.check(&self.feeds[feed].input)?;
                let rows = ordered.place(feed, rows, &self.feeds[feed].time)?;
                if ordered.goes_on() {
                    return Ok(());
                }
                // Those that wait are counted when f takes them.
                ledger.read -= fed - rows.num_rows() as u64;
                rows
            }
        };
        let input = &self.feeds[feed].input;
        if let Some(sum) = self.ledger.get_mut(input) {
            sum.add(&ledger);
        }
        let late = [(&admitted.late, aside::LATE), (&admitted.overslept, aside::OVERSLEPT)];
        for (rows, reason) in late.into_iter().filter(|(rows, _)| rows.num_rows() > 0) {
            self.aside.entry(("late", input.clone())).or_default().push(aside::late(rows, reason)?);
        }
        if slept && overslept > 0 {
            let name = format!("{input}/{}", lane.name);
            self.warnings.push(idle::overslept(&name, input, overslept));
        }
        if !rejected.is_empty() {
            let rejected = aside::rejected(&rejected)?;
            self.reasons.add(input, &rejected);
            self.aside.entry(("rejected", input.clone())).or_default().push(rejected);
        }
        self.feed(feed, rows, gathered)
    }

    /// Hands rows over to f, with what side inputs say of them.
    fn feed(&self, feed: usize, mut rows: RecordBatch, gathered: &mut Gathered) -> Result<()> {
        let (input, count) = (&self.feeds[feed].input, rows.num_rows());
        gathered.count += count;
        *gathered.fed.entry(input.clone()).or_default() += count as u64;
        if count == 0 {
            // None of a block of many rows would keep all of it.
            return Ok(());
        }
        for side in &self.sides {
            rows = side.enrich(&rows)?;
        }
        gathered.rows.entry(input.clone()).or_default().push(rows);
        Ok(())
    }

    /// Whether a side input is to be loaded again. While rows of any hour come nothing is decided, so the copy stays.
    pub(crate) fn sides_due(&self) -> bool {
        !self.reading() && self.sides.iter().any(|side| side.due(now_us()))
    }

    /// Loads the side inputs again for which it is time, and says what went wrong.
    pub(crate) async fn reload_sides(&mut self, out: &Path) -> Vec<String> {
        let mut warnings = Vec::new();
        for side in self.sides.iter_mut().filter(|side| side.due(now_us())) {
            warnings.extend(side.reload(out, now_us()).await);
        }
        warnings
    }

    /// How many files of each input were passed over.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&str, u64)> {
        self.feeds.iter().map(|feed| (feed.input.as_str(), feed.source.skipped()))
    }

    /// What the sources have to say.
    pub(crate) fn warnings(&mut self) -> Vec<String> {
        let said = self.feeds.iter_mut().flat_map(|feed| feed.source.warnings());
        said.chain(std::mem::take(&mut self.warnings)).collect()
    }

    /// The copies of side inputs that rows are joined with.
    pub(crate) fn side_facts(&self) -> BTreeMap<String, SideFacts> {
        self.sides.iter().map(SideInput::facts).collect()
    }

    /// Sends rows aside that f refused, and says how many.
    pub(crate) fn reject(&mut self, input: &str, rows: &[RecordBatch]) -> Result<u64> {
        let rejected = aside::refused(rows)?;
        let count = rejected.num_rows() as u64;
        self.ledger.entry(input.to_owned()).or_default().rejected += count;
        self.reasons.add(input, &rejected);
        self.aside.entry(("rejected", input.to_owned())).or_default().push(rejected);
        Ok(count)
    }

    /// Why rows of an input came late in this run.
    pub(crate) fn why_late(&self, input: &str) -> String {
        let lanes = self.lanes.iter().filter(|lane| self.feeds[lane.feed].input == input);
        Lateness::cause(lanes.map(|lane| (lane.name.as_str(), &lane.lateness)))
    }

    /// What an epoch records of each source partition; the next epoch's begins here.
    pub(crate) fn record(&mut self, epoch: &mut Epoch, place: &Place) -> Result<()> {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let Feed { input, source, .. } = &mut self.feeds[lane.feed];
            let place = Place { path: format!("{}-offsets-{number}.json", place.path), ..*place };
            let facts = lane.facts(source.as_mut(), self.policy.watermark_delay, &place)?;
            let name = format!("{input}/{}", lane.name);
            epoch.offsets.extend(lane.recorded.file.clone().map(|file| (name.clone(), file)));
            epoch.sources.insert(name, facts);
        }
        Ok(())
    }
}
