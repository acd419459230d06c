//! Rules as clauses: each binds the sum of some cells from below, from above, or both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::proportion;
use crate::rules::{Rule, Rules};

/// A combination of strata, one for every rule, and how many rows there are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The label of the cell's stratum, for every rule in order.
    pub labels: Vec<String>,
    /// Rows there are to choose from.
    pub supply: u64,
}

/// The key of a rule that a clause comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the key of that name in `Rules` or `Rule`")]
pub enum Kind {
    Size,
    MaxSize,
    Min,
    MinEach,
    Max,
    MaxEach,
    Exact,
    Share,
    AtLeast,
    AtMost,
}

impl Kind {
    /// The key as it is written.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Size => "size",
            Kind::MaxSize => "max_size",
            Kind::Min => "min",
            Kind::MinEach => "min_each",
            Kind::Max => "max",
            Kind::MaxEach => "max_each",
            Kind::Exact => "exact",
            Kind::Share => "share",
            Kind::AtLeast => "at_least",
            Kind::AtMost => "at_most",
        }
    }

    pub(crate) fn binds_below(self) -> bool {
        !matches!(self, Kind::MaxSize | Kind::Max | Kind::MaxEach | Kind::AtMost)
    }

    pub(crate) fn binds_above(self) -> bool {
        !matches!(self, Kind::Min | Kind::MinEach | Kind::AtLeast)
    }
}

/// What a rule asks of one stratum, in rows, beside what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// The rule, counted from 0; `None` for `size` and `max_size`.
    pub rule: Option<usize>,
    /// The rule's name, if it has one.
    pub name: Option<String>,
    /// The key.
    pub kind: Kind,
    /// The stratum's label; `None` for `size` and `max_size`.
    pub stratum: Option<String>,
    /// Rows asked for: a proportion is of the total.
    pub demand: u64,
    /// Rows there are in the stratum.
    pub supply: u64,
}

/// A clause bound to its cells. Its demand is 0 until the total is known: see [`Demands::at`].
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub clause: Clause,
    pub cells: Vec<u32>,
    pub amount: Amount,
    /// 0 gives last: the total, then priorities upwards, then rules without one.
    pub class: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Count(u64),
    /// Of the total, in 10^-18.
    Part(u64),
    /// `Demands::shares[list][at]`, rounded beside the others of its list.
    Share {
        list: usize,
        at: usize,
    },
}

/// All clauses of the rules over some cells.
pub(crate) struct Demands {
    pub all: Vec<Demand>,
    pub shares: Vec<Vec<u64>>,
}

impl Demands {
    /// The clauses of `rules` over `cells`, whose labels are one for each rule.
    pub fn of(rules: &Rules, cells: &[&Cell]) -> Demands {
        let mut priorities: Vec<Option<i64>> = rules.rules.iter().map(|rule| rule.priority).collect();
        priorities.sort_by_key(|priority| (priority.is_none(), *priority));
        priorities.dedup();
        let class = |rule: &Rule| 1 + priorities.iter().position(|priority| *priority == rule.priority).unwrap_or(0);
        let mut binding = Binding { cells, demands: Demands { all: Vec::new(), shares: Vec::new() } };
        for (kind, count) in [(Kind::Size, rules.size), (Kind::MaxSize, rules.max_size)] {
            if let Some(count) = count {
                binding.add((None, None, kind, None), (0..cells.len() as u32).collect(), Amount::Count(count), 0);
            }
        }
        rules.rules.iter().enumerate().for_each(|(index, rule)| binding.rule(index, rule, class(rule)));
        binding.demands
    }

    /// Every clause's demand in rows, of `total` rows in all.
    pub fn at(&self, total: u64) -> Vec<u64> {
        let shares: Vec<Vec<u64>> =
            self.shares.iter().map(|weights| proportion::largest_remainder(total, weights)).collect();
        let rows = |demand: &Demand| match demand.amount {
            Amount::Count(count) => count,
            Amount::Part(part) if demand.clause.kind == Kind::AtLeast => proportion::ceil(part, total),
            Amount::Part(part) => proportion::floor(part, total),
            Amount::Share { list, at } => shares[list][at],
        };
        self.all.iter().map(rows).collect()
    }
}

/// Rule, name, key and stratum of a clause.
type Title<'a> = (Option<usize>, Option<&'a str>, Kind, Option<&'a str>);

fn title<'a>(index: usize, rule: &'a Rule, kind: Kind, stratum: &'a str) -> Title<'a> {
    (Some(index), rule.name.as_deref(), kind, Some(stratum))
}

struct Binding<'a> {
    cells: &'a [&'a Cell],
    demands: Demands,
}

impl Binding<'_> {
    fn add(&mut self, (rule, name, kind, stratum): Title<'_>, mut cells: Vec<u32>, amount: Amount, class: usize) {
        cells.sort_unstable();
        let supply = cells.iter().map(|cell| self.cells[*cell as usize].supply).sum();
        let (name, stratum) = (name.map(str::to_owned), stratum.map(str::to_owned));
        let clause = Clause { rule, name, kind, stratum, demand: 0, supply };
        self.demands.all.push(Demand { clause, cells, amount, class });
    }

    fn rule(&mut self, index: usize, rule: &Rule, class: usize) {
        let mut strata: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (at, cell) in self.cells.iter().enumerate() {
            strata.entry(&cell.labels[index]).or_default().push(at as u32);
        }
        let cells = |stratum: &str| strata.get(stratum).cloned().unwrap_or_default();
        for (kind, counts) in [(Kind::Min, &rule.min), (Kind::Max, &rule.max), (Kind::Exact, &rule.exact)] {
            for (stratum, count) in counts {
                self.add(title(index, rule, kind, stratum), cells(stratum), Amount::Count(*count), class);
            }
        }
        let each = [(Kind::MinEach, rule.min_each, &rule.min), (Kind::MaxEach, rule.max_each, &rule.max)];
        for (kind, count, named) in each {
            let Some(count) = count else { continue };
            for (stratum, cells) in strata.iter().filter(|(stratum, _)| !named.contains_key(**stratum)) {
                self.add(title(index, rule, kind, stratum), cells.clone(), Amount::Count(count), class);
            }
        }
        for (kind, parts) in [(Kind::AtLeast, &rule.at_least), (Kind::AtMost, &rule.at_most)] {
            for (stratum, part) in parts {
                self.add(title(index, rule, kind, stratum), cells(stratum), Amount::Part(proportion::of(*part)), class);
            }
        }
        let list = self.demands.shares.len();
        let mut weights = Vec::new();
        for (at, (stratum, cells, weight)) in rule.shared(&strata).into_iter().enumerate() {
            self.add(title(index, rule, Kind::Share, stratum), cells, Amount::Share { list, at }, class);
            weights.push(weight);
        }
        self.demands.shares.push(weights);
    }
}

impl Rule {
    /// The groups that `share` divides the total among, with their proportions in 10^-18: those it names, then what
    /// is left of `strata`, which is `other` together, or else one by one gets nothing.
    fn shared<'a>(&'a self, strata: &BTreeMap<&'a str, Vec<u32>>) -> Vec<(&'a str, Vec<u32>, u64)> {
        if self.share.is_empty() {
            return Vec::new();
        }
        let rest = || strata.iter().filter(|(stratum, _)| !self.names_in_share(stratum));
        let group = |(stratum, part): (&'a String, &f64)| {
            let cells = match stratum.as_str() {
                OTHER => rest().flat_map(|(_, cells)| cells).copied().collect(),
                stratum => strata.get(stratum).cloned().unwrap_or_default(),
            };
            (stratum.as_str(), cells, proportion::of(*part))
        };
        let mut groups: Vec<_> = self.share.iter().map(group).collect();
        if !self.share.contains_key(OTHER) {
            groups.extend(rest().map(|(stratum, cells)| (*stratum, cells.clone(), 0)));
        }
        groups
    }

    /// Whether `share` gives a stratum a proportion of its own.
    pub(crate) fn names_in_share(&self, stratum: &str) -> bool {
        stratum != OTHER && self.share.contains_key(stratum)
    }

    /// Whether this name in `share` is all strata together that have no proportion of their own.
    pub(crate) fn shares_rest(&self, stratum: &str) -> bool {
        stratum == OTHER && self.share.contains_key(stratum)
    }
}

/// In `share`, all strata that it does not name.
const OTHER: &str = "other";
