//! Rules over cells, ready to be solved: the cells in their own order, and which clauses are in force.

use crate::clause::{Amount, Cell, Clause, Demands, Kind};
use crate::rules::Rules;
use crate::simplex::Unsettled;
use crate::system::{Bound, System};
use crate::unsolved::SolveError;

/// The most rows there may be of all cells together: beyond it floats do not count singly.
const MOST: u64 = 1 << 52;

pub(crate) struct Problem {
    /// The place in the caller's list of each cell; the order here is by labels, then supply.
    order: Vec<usize>,
    pub supply: Vec<i64>,
    pub demands: Demands,
    all: Vec<u32>,
}

impl Problem {
    pub fn of(rules: &Rules, cells: &[Cell]) -> Result<Problem, SolveError> {
        let wanted = rules.rules.len();
        if let Some((cell, wrong)) = cells.iter().enumerate().find(|(_, cell)| cell.labels.len() != wanted) {
            return Err(SolveError::Labels { cell, wanted, got: wrong.labels.len() });
        }
        let supply = cells.iter().try_fold(0u64, |sum, cell| sum.checked_add(cell.supply));
        if supply.is_none_or(|supply| supply > MOST) || cells.len() > u32::MAX as usize {
            return Err(SolveError::TooMany);
        }
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|at| (&cells[*at].labels, cells[*at].supply));
        let sorted: Vec<&Cell> = order.iter().map(|at| &cells[*at]).collect();
        let demands = Demands::of(rules, &sorted);
        let supply = sorted.iter().map(|cell| count(cell.supply)).collect();
        Ok(Problem { order, supply, demands, all: (0..cells.len() as u32).collect() })
    }

    /// The clauses' places, all of them.
    pub fn clauses(&self) -> Vec<usize> {
        (0..self.demands.all.len()).collect()
    }

    /// Numbers in this order of cells as quotas in the caller's.
    pub fn quotas(&self, x: &[i64]) -> Vec<u64> {
        let mut quotas = vec![0; x.len()];
        self.order.iter().zip(x).for_each(|(at, rows)| quotas[*at] = u64::try_from(*rows).unwrap_or(0));
        quotas
    }

    /// The total that `size` sets, if it is among the clauses in force.
    pub fn size(&self, active: &[usize]) -> Option<u64> {
        active.iter().map(|at| &self.demands.all[*at]).find_map(|demand| match demand.amount {
            Amount::Count(size) if demand.clause.kind == Kind::Size => Some(size),
            _ => None,
        })
    }

    /// A clause as it is told to people, its demand in rows of `total`.
    pub fn clause(&self, at: usize, rows: &[u64]) -> Clause {
        Clause { demand: rows[at], ..self.demands.all[at].clause.clone() }
    }

    /// What a clause allows, if it asks for so many rows.
    pub fn bound(&self, at: usize, rows: u64) -> Bound<'_> {
        let demand = &self.demands.all[at];
        let lower = if demand.clause.kind.binds_below() { count(rows) } else { 0 };
        let upper = if demand.clause.kind.binds_above() { count(rows) } else { i64::MAX };
        (&demand.cells, lower, upper)
    }

    /// Exactly so many rows in all.
    pub fn whole(&self, total: u64) -> Bound<'_> {
        (&self.all, count(total), count(total))
    }

    /// The clauses in force, of `total` rows in all; `None` if that plainly cannot be.
    pub fn system(&self, active: &[usize], total: u64) -> Option<System> {
        let rows = self.demands.at(total);
        let bounds = active.iter().map(|at| self.bound(*at, rows[*at]));
        System::of(&self.supply, bounds.chain([self.whole(total)]))
    }

    /// Whether the clauses in force can be met together. If so, `near` becomes numbers that do; it is where to begin.
    pub fn feasible(&self, active: &[usize], near: &mut Vec<i64>) -> Result<bool, Unsettled> {
        let Some(total) = self.size(active) else { return Ok(self.largest(active, near)?.is_some()) };
        self.feasible_at(active, total, near)
    }

    /// The same, with `total` rows in all.
    pub fn feasible_at(&self, active: &[usize], total: u64, near: &mut Vec<i64>) -> Result<bool, Unsettled> {
        let Some(system) = self.system(active, total) else { return Ok(false) };
        let found = system.feasible(near)?;
        Ok(found.map(|x| *near = x).is_some())
    }
}

/// Supplies fit by [`MOST`]; a demand that does not is beyond any supply either way.
fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX - 1)
}
