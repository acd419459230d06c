//! What was made up, counted while it is: what a run over the rows must find.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::delivery::Parcel;
use crate::event::{Event, Topic};
use crate::plan::Plan;

/// The bound of the pairs counted: a play belongs to the impressions of its request at most this long before it.
const WITHIN_MS: u64 = 2 * 3_600_000;

/// Changes with the rows that a plan leads to.
pub(crate) const VERSION: u64 = 1;

/// What was made up.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// Of the generator: another one makes other rows of the same flags.
    pub version: u64,
    /// The seed.
    pub seed: u64,
    /// What was asked for.
    pub flags: Plan,
    /// The impressions.
    pub impressions: Counts,
    /// The plays.
    pub plays: Plays,
    /// Pairs of a play and an impression of the same request, the play at most two hours after the impression.
    pub joined: Joined,
}

/// The rows of one topic: lines = events + duplicates + malformed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Distinct good rows.
    pub events: u64,
    /// Rows in all.
    pub lines: u64,
    /// Rows that repeat an earlier one.
    pub duplicates: u64,
    /// Events that are late by the watermark of their source partition. None of them is repeated.
    pub late: u64,
    /// Rows that are none.
    pub malformed: u64,
    /// The late ones, in order of arrival.
    #[serde(skip)]
    pub late_ids: Vec<u128>,
    /// The repeated ones, in order of arrival.
    #[serde(skip)]
    pub duplicate_ids: Vec<u128>,
}

/// The rows of plays.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plays {
    /// As of any topic.
    #[serde(flatten)]
    pub counts: Counts,
    /// Plays whose request has no impressions.
    pub without_impression: u64,
    /// Plays in another region than the impressions of their request.
    pub other_region: u64,
}

/// Numbers of pairs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Joined {
    /// Over all distinct events.
    pub all: u64,
    /// Without late events.
    pub not_late: u64,
}

/// Counts as pages are sent and rows arrive.
#[derive(Default)]
pub(crate) struct Tally {
    impressions: Counts,
    plays: Plays,
    pairs: u64,
    /// Of each late event, the pairs it takes away; those of two late events are in here twice.
    lost: u64,
    /// Pairs of two delayed events.
    both: Vec<[u128; 2]>,
    /// Delayed events that were in time all the same, as happens where few rows come.
    in_time: BTreeSet<u128>,
}

impl Tally {
    /// A page has been sent: its impressions, then its plays.
    pub(crate) fn page(&mut self, parcels: &mut [Parcel]) {
        let shown = parcels.partition_point(|parcel| parcel.event.topic() == Topic::Impressions);
        let (impressions, plays) = parcels.split_at_mut(shown);
        for play in plays {
            let event = play.event;
            let mut own = impressions.iter_mut().filter(|seen| seen.event.request == event.request).peekable();
            match own.peek() {
                None => self.plays.without_impression += 1,
                Some(seen) if seen.event.region != event.region => self.plays.other_region += 1,
                Some(_) => {}
            }
            own.filter(|seen| is_pair(&seen.event, &event)).for_each(|seen| self.pair(seen, play));
        }
    }

    fn pair(&mut self, seen: &mut Parcel, play: &mut Parcel) {
        self.pairs += 1;
        seen.pairs += 1;
        play.pairs += 1;
        if seen.delayed && play.delayed {
            self.both.push([seen.event.id, play.event.id]);
        }
    }

    /// A good row has arrived.
    pub(crate) fn arrived(&mut self, parcel: &Parcel, late: bool) {
        let id = parcel.event.id;
        let counts = self.counts(parcel.event.topic());
        counts.lines += 1;
        counts.events += u64::from(!parcel.copy);
        if parcel.copy {
            counts.duplicate_ids.push(id);
        }
        if late {
            counts.late_ids.push(id);
            self.lost += u64::from(parcel.pairs);
        } else if parcel.delayed {
            self.in_time.insert(id);
        }
    }

    /// A row that is none has arrived.
    pub(crate) fn malformed(&mut self, topic: Topic) {
        let counts = self.counts(topic);
        counts.lines += 1;
        counts.malformed += 1;
    }

    fn counts(&mut self, topic: Topic) -> &mut Counts {
        match topic {
            Topic::Impressions => &mut self.impressions,
            Topic::Plays => &mut self.plays.counts,
        }
    }

    pub(crate) fn finish(mut self, plan: &Plan) -> Truth {
        for topic in Topic::ALL {
            let counts = self.counts(topic);
            counts.late = counts.late_ids.len() as u64;
            counts.duplicates = counts.duplicate_ids.len() as u64;
        }
        let both_late = self.both.iter().filter(|ids| ids.iter().all(|id| !self.in_time.contains(id))).count() as u64;
        let joined = Joined { all: self.pairs, not_late: self.pairs + both_late - self.lost };
        let (seed, flags) = (plan.seed, plan.clone());
        Truth { version: VERSION, seed, flags, impressions: self.impressions, plays: self.plays, joined }
    }
}

fn is_pair(seen: &Event, play: &Event) -> bool {
    play.ts.checked_sub(seen.ts).is_some_and(|after| after <= WITHIN_MS)
}
