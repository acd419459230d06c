//! The greatest total that rules without a `size` allow.

use crate::branch::{self, Goal};
use crate::clause::{Amount, Demand};
use crate::problem::Problem;
use crate::simplex::{Column, Simplex, Unsettled};
use crate::system::{Program, System};

impl Problem {
    /// The most rows in all with which the clauses in force, `size` not among them, can be met; none if with no total.
    /// Where proportions are to be rounded the search begins at `near`, as in [`Problem::feasible`].
    pub fn largest(&self, active: &[usize], near: &mut Vec<i64>) -> Result<Option<u64>, Unsettled> {
        let (scaled, fixed): (Vec<usize>, Vec<usize>) = active.iter().partition(|at| self.scaled(**at).is_some());
        let rows = self.demands.at(0);
        let Some(system) = System::of(&self.supply, fixed.iter().map(|at| self.bound(*at, rows[*at]))) else {
            return Ok(None);
        };
        if scaled.is_empty() {
            return system.most();
        }
        let (Some(most), Some(least)) = (self.extreme(&system, &scaled, -1.0)?, self.extreme(&system, &scaled, 1.0)?)
        else {
            return Ok(None);
        };
        // Between the ends in real numbers, rounding to the row decides.
        for total in (least.floor() as u64..=(most + 1e-6) as u64).rev() {
            if self.feasible_at(active, total, near)? {
                return Ok(Some(total));
            }
        }
        Ok(None)
    }

    /// The greatest (`cost` -1) or least (1) total in real numbers, with every share off by less than a row.
    fn extreme(&self, system: &System, scaled: &[usize], cost: f64) -> Result<Option<f64>, Unsettled> {
        let mut program = system.program(&system.lower, |cell| vec![(0, system.upper[cell] - system.lower[cell], 0.0)]);
        let total = self.add_total(&mut program, &system.lower, cost);
        for at in scaled {
            self.add_scaled(&mut program, *at, &system.lower, total);
        }
        let mut simplex = Simplex::new(program.columns, &program.rows);
        Ok(simplex.minimise()?.then(|| simplex.values()[total]))
    }

    /// A variable for the total, with the row that makes it the sum of all cells.
    pub fn add_total(&self, program: &mut Program, base: &[i64], cost: f64) -> usize {
        let sum: i64 = base.iter().sum();
        let upper = self.supply.iter().sum::<i64>() as f64;
        let row = program.rows.len() as u32;
        program.columns.iter_mut().for_each(|column| column.entries.push((row, 1.0)));
        program.rows.push((-sum as f64, -sum as f64));
        program.columns.push(Column { entries: vec![(row, -1.0)], lower: 0.0, upper, start: 0.0, cost });
        program.owners.push(usize::MAX);
        program.columns.len() - 1
    }

    /// The row of a clause that asks for a proportion of the variable `total`.
    pub fn add_scaled(&self, program: &mut Program, at: usize, base: &[i64], total: usize) {
        let Some((part, lower, upper)) = self.scaled(at) else { return };
        let (cells, row) = (&self.demands.all[at].cells, program.rows.len() as u32);
        let sum: i64 = cells.iter().map(|cell| base[*cell as usize]).sum();
        for (column, owner) in program.columns.iter_mut().zip(&program.owners) {
            if cells.binary_search(&(*owner as u32)).is_ok() && *owner != usize::MAX {
                column.entries.push((row, 1.0));
            }
        }
        program.columns[total].entries.push((row, -part));
        program.rows.push((lower - sum as f64, upper - sum as f64));
    }

    /// For a clause that grows with the total: its proportion, and how far its rows may be below and above that.
    pub fn scaled(&self, at: usize) -> Option<(f64, f64, f64)> {
        let Demand { clause, amount, .. } = &self.demands.all[at];
        let below = if clause.kind.binds_below() { 0.0 } else { f64::NEG_INFINITY };
        let above = if clause.kind.binds_above() { 0.0 } else { f64::INFINITY };
        match amount {
            Amount::Count(_) => None,
            Amount::Part(part) => Some((*part as f64 / ONE, below, above)),
            Amount::Share { list, at } if self.demands.shares[*list][*at] == 0 => None,
            Amount::Share { list, at } => {
                let weights = &self.demands.shares[*list];
                let sum: f64 = weights.iter().map(|weight| *weight as f64).sum();
                Some((weights[*at] as f64 / sum, -1.0, 1.0))
            }
        }
    }
}

const ONE: f64 = crate::proportion::ONE as f64;

impl System {
    /// The greatest sum of all cells.
    fn most(&self) -> Result<Option<u64>, Unsettled> {
        let base = &self.lower;
        let program = self.program(base, |cell| vec![(0, self.upper[cell] - base[cell], -1.0)]);
        let whole = program.columns.len();
        let found = branch::minimise(Simplex::new(program.columns, &program.rows), whole, Goal::WholeCost)?;
        Ok(found.map(|steps| base.iter().chain(&steps).sum::<i64>().unsigned_abs()))
    }
}
