//! Which hours of a batch run's output are to be written: not those that are there already, made of the same; nor those
//! that wait for input, or were made of more of it than there is.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use connector::{Hour, HourFiles, Location, Success, list};
use journal::Sum;
use serde_json::{Map, Value, json};

use crate::batch::wanted::complete::{Lack, Rule};
use crate::batch::wanted::listed::{Listed, MissingInput};
use crate::batch::wanted::range::Range;
use crate::batch::wanted::spans::Spans;
use crate::guard::intact::Intact;
use crate::job::Job;
use crate::output::layout::partition;
use crate::output::made::Made;
use crate::output::sample::Manifest;
use crate::report::Report;
use crate::wants::{Why, add};

/// What an hour is made of: equal identities give equal bytes.
pub(crate) fn identity(job: &Job, listed: &[Listed], hour: Hour) -> Result<Value> {
    let mut text = serde_json::to_string(&job.config)?;
    let (mut absent, mut present) = (Vec::new(), BTreeMap::new());
    let mut files = 0;
    for listed in listed {
        let Listed { input, label, root, hours, .. } = listed;
        let (from, to) = listed.reach(hour, hour.plus(1));
        absent.extend(
            Hour::range(from..to).filter(|hour| !hours.contains_key(hour)).map(|hour| format!("{}/{hour}", input.name)),
        );
        present.insert(label, Spans::of(hours.range(from..to).map(|(hour, _)| *hour)));
        for file in listed.files(hour, hour.plus(1)) {
            files += 1;
            text += &format!("\n{}/{}:{}:{}:{}", input.name, root, file.path, file.bytes, file.version);
        }
    }
    let sides: BTreeMap<&str, &str> = job.sides.iter().map(|side| (side.named().0, side.version())).collect();
    let mut identity = json!({ "files": files, "absent": absent, "hours": present });
    if !sides.is_empty() {
        text += &format!("\n{}", json!(sides));
        identity["sides"] = json!(sides);
    }
    identity["identity"] = json!(Sum::of(text.as_bytes()).checksum);
    Ok(identity)
}

/// Whether a sealed hour was made of this; `hours` says what `absent` does not, and an older rescan did not write it.
fn same(sealed: &Value, identity: &Value) -> bool {
    ["identity", "absent"].iter().all(|part| sealed[part] == identity[part])
}

/// The input hours of a place that a sealed hour was made of. An older rescan named only those in reach that were not
/// there, and the reach is known where the flags are still the same.
fn made_of(success: &Success, made: &Made, places: &[Listed], at: usize, hour: Hour) -> Spans {
    let (inputs, place) = (&success.inputs, &places[at]);
    if let Some(hours) = inputs["hours"].as_object() {
        let spans = |(name, spans): (&String, &Value)| {
            let spans = serde_json::from_value::<Spans>(spans.clone()).ok()?;
            is_called(places, at, name, hours, &spans).then_some(spans)
        };
        return Spans::union(hours.iter().filter_map(spans));
    }
    let Some(absent) = inputs["absent"].as_array() else { return Spans::default() };
    let (from, to) = if Made::read(success).as_ref() == Some(made) && place.whole.is_none() {
        place.reach(hour, hour.plus(1))
    } else {
        (hour, hour.plus(1))
    };
    let was = |hour: &Hour| !absent.iter().any(|absent| *absent == format!("{}/{hour}", place.input.name));
    Spans::of(Hour::range(from..to).filter(was))
}

/// Whether a place is the one that an output calls so, `named` being all that it names. It is called by its root, or by its
/// input where that was in one place only. A name that fits no place is one of a place that is spelled otherwise by now, or
/// that has got others beside it: of those that may be it, the one that has most of its hours.
fn is_called(places: &[Listed], at: usize, name: &str, named: &Map<String, Value>, hours: &Spans) -> bool {
    let of_input = |place: &Listed| place.input.name == name;
    let is_named = |place: &Listed| named.contains_key(&place.root.to_string());
    if places.iter().any(|place| place.root.to_string() == name) {
        return places[at].root.to_string() == name;
    }
    let by_input = places.iter().any(of_input);
    let may_be = |place: &Listed| {
        if by_input { of_input(place) } else { !is_named(place) && !named.contains_key(&place.input.name) }
    };
    let has = |place: &Listed| {
        let (first, last) = hours.ends()?;
        Some(hours.within(first..last.plus(1)).filter(|hour| place.hours.contains_key(hour)).count())
    };
    let may_be = places.iter().enumerate().filter(|(_, place)| may_be(place));
    may_be.max_by_key(|(at, place)| (has(place), std::cmp::Reverse(*at))).is_some_and(|(best, _)| best == at)
}

/// The sealed hours of the outputs of a run, and of those around them that say which input hours there were.
struct Done<'a> {
    outputs: Vec<(Made, BTreeMap<Hour, HourFiles>)>,
    listed: &'a [Listed],
}

impl<'a> Done<'a> {
    async fn list(job: &Job, listed: &'a [Listed], range: Range, intact: &mut Intact<'_>) -> Result<Done<'a>> {
        let reach = listed.iter().map(|listed| listed.reach(range.begins(), range.to));
        let (from, to) = reach.fold((range.begins(), range.to), |all, of| (all.0.min(of.0), all.1.max(of.1)));
        let mut outputs = Vec::new();
        for output in job.scan.outputs() {
            let root = Location::parse(&job.out.join(job.place(output)).to_string_lossy(), &BTreeMap::new())?;
            let mut hours = match (job.out.exists(), job.sampling.is_some()) {
                (false, _) => BTreeMap::new(),
                (true, true) => list(&root, ..).await?,
                (true, false) => list(&root, from..to).await?,
            };
            for (hour, files) in hours.iter_mut().filter(|(_, files)| files.sealed) {
                files.damaged = intact.damage(&partition(&job.place(output), *hour))?;
            }
            outputs.push((job.made(output), hours));
        }
        Ok(Done { outputs, listed })
    }

    /// The input hours of each place that any hour was made of.
    fn known(&self) -> Vec<Spans> {
        let of = |place: usize| {
            let outputs = self.outputs.iter();
            Spans::union(outputs.flat_map(|(made, hours)| {
                let sealed = hours.iter().filter_map(|(hour, files)| Some((*hour, files.success.as_ref()?)));
                sealed.map(move |(hour, success)| made_of(success, made, self.listed, place, hour))
            }))
        };
        (0..self.listed.len()).map(of).collect()
    }

    fn hours(&self, hour: Hour) -> impl Iterator<Item = (&Made, Option<&HourFiles>)> {
        self.outputs.iter().map(move |(made, hours)| (made, hours.get(&hour)))
    }

    /// Whether an hour is there, made of this.
    fn is_current(&self, hour: Hour, identity: &Value) -> bool {
        let current = |files: &HourFiles| {
            files.damaged.is_none() && files.success.as_ref().is_some_and(|success| same(&success.inputs, identity))
        };
        self.hours(hour).all(|(_, files)| files.is_some_and(current))
    }

    fn is_sealed(&self, hour: Hour) -> bool {
        self.hours(hour).any(|(_, files)| files.is_some_and(|files| files.sealed))
    }

    /// Whether the files of a sealed hour are those that were sealed.
    fn stands(&self, hour: Hour) -> bool {
        let stands = |files: &HourFiles| files.sealed && files.damaged.is_none();
        self.hours(hour).all(|(_, files)| files.is_some_and(stands))
    }

    /// The input hours that an hour was made of and that are not there any more.
    fn lost(&self, hour: Hour) -> Vec<Lack> {
        let mut lost = Vec::new();
        for (place, listed) in self.listed.iter().enumerate() {
            let (from, to) = listed.reach(hour, hour.plus(1));
            let made = self.hours(hour).filter_map(|(made, files)| Some((made, files?.success.as_ref()?)));
            let made_of = Spans::union(made.map(|(made, success)| made_of(success, made, self.listed, place, hour)));
            let gone = made_of.within(from..to).filter(|hour| !listed.hours.contains_key(hour));
            lost.extend(gone.map(|hour| Lack { place, hour, why: Why::Gone }));
        }
        lost
    }
}

/// The hours to write: those whose output is not there, or was made of something else, and whose inputs are complete.
/// The report gets the others: up to date, waiting for input, or kept because an input has vanished.
///
/// # Errors
/// [`MissingInput`]: of a range that was asked for, any hour that lacks input; else where no hour can be written and
/// none stands.
pub(crate) async fn stale(
    job: &Job,
    listed: &mut [Listed],
    range: Range,
    intact: &mut Intact<'_>,
    report: &mut Report,
) -> Result<Vec<Hour>> {
    if job.sampling.is_some() && range.whole && !range.allow_incomplete {
        // A sample of fewer hours, because one has vanished, is not the sample.
        let known = Done::list(job, listed, range, intact).await?.known();
        for (listed, known) in listed.iter_mut().zip(known) {
            if let (Some(whole), Some((first, last))) = (&mut listed.whole, known.ends()) {
                *whole = (whole.0.min(first), whole.1.max(last.plus(1)));
            }
        }
    }
    let done = Done::list(job, listed, range, intact).await?;
    let rule = Rule::new(listed, &done.known(), range);
    let mut sorted = Sorted::default();
    for hour in range.hours() {
        sorted.sort(job, &done, &rule, range, hour)?;
    }
    let stale = sorted.checked(listed, range, report)?;
    if job.sampling.is_some() && (!stale.is_empty() || report.kept.is_empty() && !Manifest::path(&job.out).exists()) {
        // A sample is drawn over all hours or none.
        report.up_to_date = 0;
        return Ok(range.hours().filter(|hour| range.allow_incomplete || rule.lacking(*hour).is_empty()).collect());
    }
    Ok(stale)
}

/// The hours of a range before the first of input that are to be written: from the first on that has rows or is sealed.
///
/// # Errors
/// As [`stale`].
pub(crate) async fn early_hours(
    job: &Job,
    listed: &[Listed],
    range: Range,
    has_rows: impl Fn(Hour) -> bool,
    report: &mut Report,
) -> Result<Vec<Hour>> {
    let range = Range { allow_incomplete: true, ..range };
    let done = Done::list(job, listed, range, &mut Intact::of(&job.out, false)).await?;
    let rule = Rule::new(listed, &done.known(), range);
    let mut sorted = Sorted::default();
    for hour in range.hours().skip_while(|hour| !has_rows(*hour) && !done.is_sealed(*hour)) {
        sorted.sort(job, &done, &rule, range, hour)?;
    }
    sorted.checked(listed, range, report)
}

/// Hours of output by what becomes of them.
#[derive(Default)]
struct Sorted {
    stale: Vec<Hour>,
    up_to_date: u64,
    /// With what they lack.
    waiting: Vec<(Hour, Vec<Lack>)>,
    kept: Vec<(Hour, Vec<Lack>)>,
    damaged: Vec<(Hour, Vec<Lack>)>,
    replaced: Vec<(Hour, Vec<Lack>)>,
    /// What each hour is made of, where all are made of the same.
    joint: Option<Value>,
}

impl Sorted {
    fn identity(&mut self, job: &Job, listed: &[Listed], hour: Hour) -> Result<Value> {
        if let Some(joint) = &self.joint {
            return Ok(joint.clone());
        }
        let identity = identity(job, listed, hour)?;
        self.joint = listed.iter().all(|listed| listed.whole.is_some()).then(|| identity.clone());
        Ok(identity)
    }

    fn sort(&mut self, job: &Job, done: &Done, rule: &Rule, range: Range, hour: Hour) -> Result<()> {
        let sealed = done.is_sealed(hour);
        let lacking = if range.allow_incomplete { Vec::new() } else { rule.lacking(hour) };
        if !(lacking.is_empty() || sealed && range.whole) {
            if !(range.whole && rule.is_silent(hour)) {
                self.waiting.push((hour, lacking));
            }
            return Ok(());
        }
        let identity = self.identity(job, done.listed, hour)?;
        let lost = if range.allow_incomplete && sealed { done.lost(hour) } else { Vec::new() };
        if done.is_current(hour, &identity) && !(range.force && lacking.is_empty()) {
            self.up_to_date += 1;
        } else if !lacking.is_empty() || !lost.is_empty() && range.whole {
            let of = if done.stands(hour) { &mut self.kept } else { &mut self.damaged };
            of.push((hour, [lacking, lost].concat()));
        } else if !lost.is_empty() && !range.force {
            self.waiting.push((hour, lost));
        } else {
            self.replaced.extend((!lost.is_empty()).then_some((hour, lost)));
            self.stale.push(hour);
        }
        Ok(())
    }

    /// Reports the hours that are not to be written, or says why none can be.
    fn checked(self, listed: &[Listed], range: Range, report: &mut Report) -> Result<Vec<Hour>> {
        let wanting = |hours: Vec<(Hour, Vec<Lack>)>| {
            let mut all = Vec::new();
            for (hour, lacks) in hours {
                add(
                    &mut all,
                    hour,
                    lacks.into_iter().map(|lack| (listed[lack.place].label.clone(), lack.hour, lack.why)),
                );
            }
            all
        };
        if !range.whole && !self.waiting.is_empty() {
            return Err(asked(listed, self.waiting.into_iter().flat_map(|(_, lacks)| lacks).collect()).into());
        }
        ensure!(self.damaged.is_empty(), MissingInput::Damaged(wanting(self.damaged)));
        let nothing = self.stale.is_empty() && self.up_to_date == 0 && self.kept.is_empty();
        ensure!(!nothing || self.waiting.is_empty(), MissingInput::Waits(wanting(self.waiting)));
        report.up_to_date += self.up_to_date;
        report.waiting.extend(wanting(self.waiting));
        report.kept.extend(wanting(self.kept));
        report.replaced.extend(wanting(self.replaced));
        Ok(self.stale)
    }
}

/// What a range that was asked for lacks: of the first place that lacks any, and of the first kind.
fn asked(listed: &[Listed], mut lacks: Vec<Lack>) -> MissingInput {
    let of = lacks.iter().map(|lack| (lack.place, lack.why)).min().unwrap_or((0, Why::Missing));
    lacks.retain(|lack| (lack.place, lack.why) == of);
    let mut hours: Vec<Hour> = lacks.into_iter().map(|lack| lack.hour).collect();
    hours.sort_unstable();
    hours.dedup();
    let root = listed[of.0].root.to_string();
    match of.1 {
        Why::Missing => MissingInput::Missing { root, hours },
        Why::Gone => MissingInput::Gone { root, hours },
        Why::Unsealed => MissingInput::Unsealed { root, hours },
    }
}
