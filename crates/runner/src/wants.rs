//! Hours of output that lack input hours, as people and programs are told of them: neighbours that lack the same are one.

use std::collections::BTreeMap;
use std::fmt;

use connector::Hour;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::batch::wanted::spans::{Spans, named};

/// Why an input does not have an hour in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// It is not there.
    Missing,
    /// It was there when an hour of output was made of it.
    Gone,
    /// Its writer has not finished it.
    Unsealed,
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Why::Missing => "",
            Why::Gone => " (gone)",
            Why::Unsealed => " (not sealed)",
        }
    }
}

/// Neighbouring hours of output, and the input hours that they lack.
#[derive(Clone, Debug)]
pub struct Wanting {
    /// The first hour of output.
    pub first: Hour,
    /// The last.
    pub last: Hour,
    /// Which input, why, which hours of it.
    lacks: BTreeMap<(String, Why), Spans>,
}

impl Wanting {
    /// How many hours of output it is.
    pub fn hours(&self) -> u64 {
        Hour::range(self.first..self.last.plus(1)).count() as u64
    }

    /// The input hours that are lacking: `plays/2016-11-07T03`.
    pub fn lacking(&self) -> Vec<String> {
        let of = |((input, why), hours): (&(String, Why), &Spans)| {
            let words = why.words();
            hours.named().map(|hours| format!("{input}/{hours}{words}")).collect::<Vec<_>>()
        };
        self.lacks.iter().flat_map(of).collect()
    }

    /// The hours of output: `2016-11-07T03 to 2016-11-07T05`.
    pub fn named(&self) -> String {
        named(self.first, self.last)
    }

    /// Takes the hour after its last in, where that lacks hours of the same inputs.
    fn join(&mut self, hour: Hour, lacks: &BTreeMap<(String, Why), Spans>) -> bool {
        let joined = self.last.plus(1) == hour && self.lacks.keys().eq(lacks.keys());
        if joined {
            self.last = hour;
            for (of, hours) in lacks {
                let known = self.lacks.remove(of).unwrap_or_default();
                self.lacks.insert(of.clone(), Spans::union([known, hours.clone()]));
            }
        }
        joined
    }
}

/// Adds an hour of output that lacks input hours, each given as input, hour and why; hours of output come in order.
pub(crate) fn add(wanting: &mut Vec<Wanting>, hour: Hour, lacks: impl IntoIterator<Item = (String, Hour, Why)>) {
    let mut by_input: BTreeMap<(String, Why), Vec<Hour>> = BTreeMap::new();
    for (input, lacking, why) in lacks {
        by_input.entry((input, why)).or_default().push(lacking);
    }
    let spans = |mut hours: Vec<Hour>| {
        hours.sort_unstable();
        Spans::of(hours)
    };
    let lacks = by_input.into_iter().map(|(of, hours)| (of, spans(hours))).collect();
    if !wanting.last_mut().is_some_and(|last| last.join(hour, &lacks)) {
        wanting.push(Wanting { first: hour, last: hour, lacks });
    }
}

/// Hours and what they lack, as a sentence goes on with it: the first few of many.
pub(crate) fn listed(wanting: &[Wanting]) -> String {
    let one = |of: &Wanting| {
        let waits = if of.first == of.last { "waits" } else { "wait" };
        format!("{} {waits} for {}", of.named(), of.lacking().join(", "))
    };
    let shown: Vec<String> = wanting.iter().take(3).map(one).collect();
    let more: u64 = wanting.iter().skip(3).map(Wanting::hours).sum();
    if more > 0 { format!("{}; and {more} more hours", shown.join("; ")) } else { shown.join("; ") }
}

impl Serialize for Wanting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Wanting", 4)?;
        fields.serialize_field("first", &self.first)?;
        fields.serialize_field("last", &self.last)?;
        fields.serialize_field("hours", &self.hours())?;
        fields.serialize_field("for", &self.lacking())?;
        fields.end()
    }
}

impl fmt::Display for Wanting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.named(), self.lacking().join(", "))
    }
}
