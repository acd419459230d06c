//! The end of sampling: from the cells there are, and the rules, to which rows are in the sample. Until then f keeps all
//! rows that could be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use quota::{Achieved, Cell, Relaxed, Rule, Rules, SolveError, achieved, relax, solve};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lattice;
use crate::lattice::bottom::Bottom;
use crate::sampling::unit::{joined, labels};

/// The state table that holds the cells.
pub const CELLS: &str = "cells";

/// The columns of a candidate that say which cell it is in, and its hash: not shown.
const HASH: &str = "_hash";
const CELL: &str = "_cell";

/// The rule that holds positives where they are.
const POSITIVES: &str = "positives are never dropped";

/// What a sample is to be.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// How many of which.
    pub rules: Rules,
    /// Where rules cannot be met, give way by priority instead of failing.
    pub relax: bool,
}

/// Why there is no sample.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The rules cannot be met by what there is.
    #[error("{0}")]
    Rules(#[from] SolveError),
    /// Units that would be torn apart.
    #[error(
        "{0} units have rows in more than one stratum, and are to be kept whole: make the strata of what is the same in \
         all rows of a unit"
    )]
    Torn(u64),
    /// State has let go of units that are to be taken: a fault in rescan.
    #[error("{quota} units of cell {cell} are to be taken, and state has kept {kept}: please report it with the rules")]
    Short {
        /// As state calls it.
        cell: String,
        /// Units to take.
        quota: u64,
        /// Units that state remembers.
        kept: usize,
    },
    /// State that another script made.
    #[error("the table of cells is not what stratify makes: {0}")]
    Cells(String),
}

/// A cell's part in the sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its label under each stratum of the rules.
    pub strata: Vec<String>,
    /// Whether it holds positives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub positive: bool,
    /// Units there are.
    pub supply: u64,
    /// Units taken.
    pub quota: u64,
}

/// What the rules make of the cells: which rows are in.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The columns or expressions that strata are of.
    pub strata: Vec<String>,
    /// The cells, by their labels.
    pub parts: Vec<Part>,
    /// The clauses that gave way.
    pub relaxed: Vec<Relaxed>,
    /// What each rule asked for and got.
    pub achieved: Achieved,
    /// By cell: the greatest hash that is in, and the weight of a row.
    taken: HashMap<String, (u64, f64)>,
}

impl Sampling {
    /// The distinct columns or expressions that the rules name, in the order of the rules.
    pub fn strata(&self) -> Vec<String> {
        let mut strata: Vec<String> = Vec::new();
        for stratum in self.rules.rules.iter().flat_map(|rule| &rule.strata) {
            if !strata.contains(stratum) {
                strata.push(stratum.clone());
            }
        }
        strata
    }

    /// Units of a cell that can come into the sample at most: what state has to remember of each.
    pub fn most(&self) -> u64 {
        if self.rules.negatives.is_some() || self.relax {
            return u64::MAX >> 1;
        }
        let of_rule = |rule: &Rule| {
            let named = rule.max.values().chain(rule.exact.values()).copied().max().unwrap_or(0);
            rule.max_each.map(|each| each.max(named))
        };
        let bounds = self.rules.rules.iter().filter_map(of_rule);
        bounds.chain(self.rules.size).chain(self.rules.max_size).min().unwrap_or(u64::MAX >> 1)
    }

    /// Solves the rules over the cells that state holds at the end: text, time, a set of units and the least hashes.
    ///
    /// # Errors
    /// [`SampleError::Rules`] where they cannot be met.
    pub fn choose(&self, cells: &[RecordBatch]) -> Result<Chosen, SampleError> {
        let mut found = found(cells)?;
        if let Some(all) = found.iter().position(|cell| cell.cell.is_empty()).map(|at| found.remove(at)) {
            let counted: u64 = found.iter().map(|cell| cell.units).sum();
            let torn = counted.saturating_sub(all.units);
            if torn > 0 {
                return Err(SampleError::Torn(torn));
            }
        }
        let (rules, problem) = self.problem(&found);
        let (quotas, relaxed) =
            if self.relax { relax(&rules, &problem)? } else { (solve(&rules, &problem)?, Vec::new()) };
        let mut taken = HashMap::new();
        let mut parts = Vec::new();
        for (found, quota) in found.iter().zip(&quotas) {
            if let Some(last) = quota.checked_sub(1) {
                let short = || SampleError::Short { cell: found.cell.clone(), quota: *quota, kept: found.least.len() };
                let last = found.least.get(last as usize).ok_or_else(short)?;
                taken.insert(found.cell.clone(), (*last, found.supply as f64 / *quota as f64));
            }
            let strata = found.labels.clone();
            parts.push(Part { strata, positive: found.positive, supply: found.supply, quota: *quota });
        }
        let there: Vec<u64> = found.iter().map(|cell| cell.supply).collect();
        let achieved = achieved(&rules, &problem, &there, &quotas)?;
        Ok(Chosen { strata: self.strata(), parts, relaxed, achieved, taken })
    }

    /// The rules over cells, with negatives in proportion to the positives of their cell.
    fn problem(&self, found: &[Found]) -> (Rules, Vec<Cell>) {
        let mut rules = self.rules.clone();
        let strata = self.strata();
        let positives: BTreeMap<&[String], u64> =
            found.iter().filter(|cell| cell.positive).map(|cell| (cell.labels.as_slice(), cell.supply)).collect();
        let supply = |cell: &Found| match &self.rules.negatives {
            Some(negatives) if !cell.positive => {
                let most = positives.get(cell.labels.as_slice()).copied().unwrap_or(0) as f64 * negatives.per_positive;
                cell.supply.min(most as u64)
            }
            _ => cell.supply,
        };
        let cell = |found: &Found| {
            let of = |rule: &Rule| {
                let at = |stratum: &String| strata.iter().position(|known| known == stratum);
                let labels = rule.strata.iter().filter_map(at).filter_map(|at| found.labels.get(at));
                joined(&labels.map(String::as_str).collect::<Vec<_>>())
            };
            let mut labels: Vec<String> = self.rules.rules.iter().map(of).collect();
            labels.extend(
                self.rules.negatives.is_some().then(|| if found.positive { "positive" } else { "negative" }.to_owned()),
            );
            Cell { labels, supply: supply(found) }
        };
        if self.rules.negatives.is_some() {
            let all = positives.values().sum();
            let min = BTreeMap::from([("positive".to_owned(), all)]);
            rules.rules.push(Rule { name: Some(POSITIVES.to_owned()), min, ..Rule::default() });
        }
        (rules, found.iter().map(cell).collect())
    }
}

/// A cell as state holds it.
struct Found {
    cell: String,
    positive: bool,
    labels: Vec<String>,
    /// Counted, and never less than were seen.
    supply: u64,
    units: u64,
    least: Vec<u64>,
}

fn found(cells: &[RecordBatch]) -> Result<Vec<Found>, SampleError> {
    let mut found = Vec::new();
    for rows in cells {
        let column = |name: &str| {
            rows.column_by_name(name).ok_or_else(|| SampleError::Cells(format!("it has no column {name}")))
        };
        let broken = |what: &str| SampleError::Cells(format!("{what} cannot be read"));
        let (cells, units, least) = (column("cell")?, column("units")?, column("least")?);
        let cells = cells.as_string_view_opt().ok_or_else(|| broken("cell"))?;
        let units = units.as_binary_opt::<i32>().ok_or_else(|| broken("units"))?;
        let least = least.as_binary_opt::<i32>().ok_or_else(|| broken("least"))?;
        for row in 0..rows.num_rows() {
            let (positive, labels) = match cells.value(row) {
                "" => (false, Vec::new()),
                cell => labels(cell).ok_or_else(|| broken(cell))?,
            };
            let least = Bottom::decode(least.value(row)).map_err(|e| SampleError::Cells(e.to_string()))?;
            let counted = lattice::count(units.value(row)).map_err(|e| SampleError::Cells(e.to_string()))?;
            // A sketch may err, and what was seen is there.
            let supply = if least.is_full() { counted.max(least.len() as u64) } else { least.len() as u64 };
            found.push(Found {
                cell: cells.value(row).to_owned(),
                positive,
                labels: labels.into_iter().map(str::to_owned).collect(),
                supply,
                units: counted,
                least: least.hashes().collect(),
            });
        }
    }
    found.sort_by(|a, b| a.cell.cmp(&b.cell));
    Ok(found)
}

impl Chosen {
    /// The columns of the sample: those of the candidates but for cell and hash, and `weight`, how many units of its
    /// cell a unit stands for: one by its probability to be in.
    pub fn schema(&self, candidates: &Schema) -> SchemaRef {
        let shown = candidates.fields().iter().filter(|field| ![HASH, CELL].contains(&field.name().as_str()));
        let weight = Arc::new(Field::new("weight", DataType::Float64, true));
        Arc::new(Schema::new(shown.cloned().chain([weight]).collect::<Vec<_>>()))
    }

    /// Those of the candidates that are in the sample.
    ///
    /// # Errors
    /// [`SampleError::Cells`] for rows that are no candidates.
    pub fn keep(&self, candidates: &RecordBatch) -> Result<RecordBatch, SampleError> {
        let weights = self.weights(candidates)?;
        let kept: BooleanArray = (0..weights.len()).map(|row| Some(weights.is_valid(row))).collect();
        filter_record_batch(candidates, &kept).map_err(|e| SampleError::Cells(e.to_string()))
    }

    /// The rows of a sample as they are shown: see [`Chosen::schema`].
    ///
    /// # Errors
    /// [`SampleError::Cells`] for rows that are no candidates.
    pub fn weigh(&self, kept: &RecordBatch) -> Result<RecordBatch, SampleError> {
        let schema = self.schema(&kept.schema());
        let shown = schema.fields().iter().filter_map(|field| kept.column_by_name(field.name()).cloned());
        let columns = shown.chain([Arc::new(self.weights(kept)?) as ArrayRef]).collect();
        RecordBatch::try_new(schema, columns).map_err(|e| SampleError::Cells(e.to_string()))
    }

    /// By row; none for a row that is not in.
    fn weights(&self, candidates: &RecordBatch) -> Result<Float64Array, SampleError> {
        let broken = || SampleError::Cells("the rows are no candidates".to_owned());
        let column = |name: &str| candidates.column_by_name(name).ok_or_else(broken);
        let hashes = column(HASH)?.as_primitive_opt::<UInt64Type>().ok_or_else(broken)?;
        let cells = column(CELL)?.as_string_view_opt().ok_or_else(broken)?;
        let weight = |row: usize| {
            let taken = self.taken.get(cells.value(row)).filter(|(last, _)| hashes.value(row) <= *last);
            taken.map(|(_, weight)| *weight)
        };
        Ok((0..candidates.num_rows()).map(weight).collect())
    }
}
