//! The one rule of which hours a batch run may write, for every command and script, with and without a range.
//!
//! An hour of output is made of input hours: its own, and those around it that f reaches to. A place of an input has an
//! hour in full when the hour is there, and sealed where the writer of that place seals hours. Every place must have
//! the own hour in full, and every hour in reach between its first and its last. Hours before its first and after its
//! last count as empty. A place's first and last are those of the hours that it has or had: `_SUCCESS` of the output
//! names the input hours that were there, and what somebody has deleted since is not empty.

use std::collections::BTreeMap;

use connector::{HOUR_US, Hour};

use crate::batch::wanted::listed::Listed;
use crate::batch::wanted::range::Range;
use crate::batch::wanted::spans::Spans;
use crate::wants::Why;

/// An input hour that an hour of output lacks.
#[derive(Clone, Debug)]
pub(crate) struct Lack {
    /// Which place of the run.
    pub place: usize,
    /// The hour.
    pub hour: Hour,
    /// Why it counts as lacking.
    pub why: Why,
}

/// The rule, over the places of one run.
pub(crate) struct Rule<'a> {
    listed: &'a [Listed],
    range: Range,
    /// For each place, the hours in reach of the run that it should have in full, and has not.
    lacks: Vec<BTreeMap<Hour, Why>>,
}

impl<'a> Rule<'a> {
    /// `known`: the hours of each place that output was made of.
    pub(crate) fn new(listed: &'a [Listed], known: &[Spans], range: Range) -> Rule<'a> {
        let lacks = listed.iter().zip(known).map(|(place, known)| lacks(place, known, range)).collect();
        Rule { listed, range, lacks }
    }

    /// The input hours that an hour of output lacks; none where it may be written.
    pub(crate) fn lacking(&self, hour: Hour) -> Vec<Lack> {
        let mut lacking = Vec::new();
        let own = self.needs_own(hour);
        for (place, (listed, lacks)) in self.listed.iter().zip(&self.lacks).enumerate() {
            let (from, to) = listed.reach(hour, hour.plus(1));
            let in_reach = lacks.range(from..to).map(|(hour, why)| Lack { place, hour: *hour, why: *why });
            lacking.extend(in_reach);
            if own && !listed.has(hour) && !(from <= hour && hour < to && lacks.contains_key(&hour)) {
                lacking.push(Lack { place, hour, why: not_full(listed, hour) });
            }
        }
        lacking
    }

    /// Whether an hour is in a long silence, and nobody has it.
    pub(crate) fn is_silent(&self, hour: Hour) -> bool {
        let there = |listed: &Listed| listed.hours.contains_key(&hour);
        self.listed.iter().any(|listed| listed.is_silent(hour)) && !self.listed.iter().any(there)
    }

    /// A window that begins before the range lives in the hour of its begin, which inputs need not have: some hour of
    /// the window is enough.
    fn needs_own(&self, hour: Hour) -> bool {
        let Some(window) = self.range.window.filter(|_| hour < self.range.from) else { return true };
        let end = Hour::of(hour.start_us().saturating_add(window + HOUR_US - 1));
        !Hour::range(hour..end).any(|hour| self.listed.iter().all(|listed| listed.has(hour)))
    }
}

fn not_full(place: &Listed, hour: Hour) -> Why {
    if place.hours.contains_key(&hour) { Why::Unsealed } else { Why::Missing }
}

fn lacks(place: &Listed, known: &Spans, range: Range) -> BTreeMap<Hour, Why> {
    let ends = place.ends.into_iter().chain(known.ends());
    let Some((first, last)) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return BTreeMap::new() };
    let (from, to) = place.reach(range.begins(), range.to);
    let why = |hour| match not_full(place, hour) {
        Why::Missing if known.contains(hour) => Why::Gone,
        why => why,
    };
    let lacking = Hour::range(from.max(first)..to.min(last.plus(1)));
    let lacking = lacking.filter(|hour| !place.has(*hour) && (known.contains(*hour) || !place.is_silent(*hour)));
    lacking.map(|hour| (hour, why(hour))).collect()
}
