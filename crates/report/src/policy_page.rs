//! The page about policies: what each would have earned, overall and by slot.

use std::collections::BTreeMap;

use crate::bars::{Bar, Bars};
use crate::estimate_cell::estimate_cell;
use crate::estimates::{Estimates, PolicyEstimates};
use crate::intervals::{Interval, Intervals, IntervalsRow, Panel};
use crate::number::{count, number};
use crate::page::{Page, Section, Table};

/// More panels than this nobody compares.
const MOST_PANELS: usize = 24;

const ABOUT: &str = "These rows were logged while one policy chose what to show. Each target policy below was not \
    running: its estimates say what it would have earned, from the rows in which the logged choice is one that it \
    could have made. Brackets and whiskers are 95% confidence intervals.";

const TERMS: [(&str, &str); 5] = [
    (
        "Take rate",
        "What was earned: the mean reward of all rows. A target policy is better if its estimates lie above.",
    ),
    (
        "Replay",
        "The mean reward of the rows in which the target policy agrees with the log. Right if the logged choices were \
         uniformly random; otherwise it leans towards what the logging policy liked. Of the logging policy itself it \
         is the take rate only if all its propensities are equal: else likelier choices count more in it.",
    ),
    (
        "IPS",
        "Inverse propensity score: each reward counts as often as the target policy would have made that choice, \
         compared with the logging policy. Right on average if propensities are, but a few rare choices may decide it. \
         Probabilities that do not sum to 1 over the choices make it as much too high or too low.",
    ),
    (
        "SNIPS",
        "Self-normalised IPS: divided by the sum of the weights rather than by the number of rows. Steadier than IPS, \
         and its small bias vanishes with more rows. If the two differ much, trust neither. Of probabilities that do \
         not sum to 1 it is the estimate of the policy that they are in proportion to.",
    ),
    (
        "Effective sample size",
        "How many rows from the target policy itself would be worth as much. If it is small, the estimates rest on few \
         rows. An estimate without an interval, or with one without width, rests on one row or on rows \
         that earned the same: it is not certain, but its error is unknown.",
    ),
];

/// The page of these estimates.
pub fn policy_page(title: &str, policies: &[PolicyEstimates]) -> Page {
    let terms = TERMS.map(|(term, meaning)| (term.to_owned(), meaning.to_owned()));
    let overall = Panel {
        title: String::new(),
        rows: policies.iter().map(|of| intervals_row(&of.policy, &of.overall)).collect(),
    };
    let mut sections = vec![
        Section::Text(ABOUT.to_owned()),
        Section::Heading("Estimates by policy".to_owned()),
        Section::Intervals(intervals(vec![overall])),
    ];
    sections.extend(by_slot(policies));
    sections.push(Section::Heading("How many rows each estimate rests on".to_owned()));
    sections.push(Section::Bars(sample_sizes(policies)));
    sections.push(Section::Heading("Tables".to_owned()));
    for of in policies {
        sections.push(Section::Table(policy_table(of)));
        sections.extend(of.doubts.iter().cloned().map(Section::Text));
    }
    sections.push(Section::Heading("What the estimates mean".to_owned()));
    sections.push(Section::Terms(terms.into()));
    Page { title: title.to_owned(), sections }
}

fn intervals(panels: Vec<Panel>) -> Intervals {
    Intervals {
        measure: "mean reward a row".to_owned(),
        series: ["replay", "IPS", "SNIPS"].map(str::to_owned).into(),
        reference: Some("take rate".to_owned()),
        panels,
    }
}

fn intervals_row(name: &str, of: &Estimates) -> IntervalsRow {
    IntervalsRow {
        name: name.to_owned(),
        reference: of.take_rate.map(|rate| rate.value),
        marks: [of.replay, of.ips, of.snips].map(|estimate| estimate.map(Interval::from)).into(),
    }
}

/// A panel a slot, if there are several.
fn by_slot(policies: &[PolicyEstimates]) -> Vec<Section> {
    let mut panels: Vec<(u64, Panel)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (policy, of) in policies.iter().flat_map(|of| of.slots.iter().map(move |slot| (&of.policy, slot))) {
        let place = *places.entry(&of.slot).or_insert(panels.len());
        if place == panels.len() {
            panels.push((0, Panel { title: format!("slot {}", of.slot), rows: Vec::new() }));
        }
        panels[place].0 += of.estimates.rows;
        panels[place].1.rows.push(intervals_row(policy, &of.estimates));
    }
    if panels.len() < 2 {
        return Vec::new();
    }
    let mut sections = vec![Section::Heading("Estimates by slot".to_owned())];
    if panels.len() > MOST_PANELS {
        sections.push(Section::Text(format!(
            "The {MOST_PANELS} slots with most rows, of {}; the tables have all.",
            panels.len()
        )));
        panels.sort_by_key(|(rows, _)| std::cmp::Reverse(*rows));
        panels.truncate(MOST_PANELS);
    }
    sections.push(Section::Intervals(intervals(panels.into_iter().map(|(_, panel)| panel).collect())));
    sections
}

fn sample_sizes(policies: &[PolicyEstimates]) -> Bars {
    let bar = |of: &PolicyEstimates| Bar {
        name: of.policy.clone(),
        values: vec![Some(of.overall.rows as f64), Some(of.overall.matched as f64), of.overall.effective_sample_size],
    };
    Bars {
        measure: "rows".to_owned(),
        series: ["rows", "matched rows", "effective sample size"].map(str::to_owned).into(),
        rows: policies.iter().map(bar).collect(),
    }
}

/// The estimates of one policy, in all and by slot.
pub fn policy_table(of: &PolicyEstimates) -> Table {
    let overall = ("all", &of.overall);
    let slots = of.slots.iter().map(|slot| (slot.slot.as_str(), &slot.estimates));
    let columns = ["slot", "rows", "matched", "effective", "take rate", "replay", "IPS", "SNIPS"];
    Table {
        title: of.policy.clone(),
        columns: columns.map(str::to_owned).into(),
        rows: [overall].into_iter().chain(slots).map(|(slot, estimates)| cells(slot, estimates)).collect(),
    }
}

fn cells(slot: &str, of: &Estimates) -> Vec<String> {
    let estimates = [of.take_rate, of.replay, of.ips, of.snips].map(estimate_cell);
    let sizes = [slot.to_owned(), count(of.rows), count(of.matched), number(of.effective_sample_size)];
    sizes.into_iter().chain(estimates).collect()
}
