//! Clauses at a known total, as bounds: of single cells, and of sums of several.

use std::collections::HashMap;

use crate::branch::{self, Goal};
use crate::simplex::{Column, Simplex, Unsettled};

/// Bounds of the sum of some cells.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub cells: Vec<u32>,
    pub lower: i64,
    pub upper: i64,
}

impl Row {
    pub fn sum(&self, x: &[i64]) -> i64 {
        self.cells.iter().map(|cell| x[*cell as usize]).sum()
    }
}

/// Whole numbers to find: each within its bounds, and the sum of each row.
#[derive(Debug, Clone)]
pub(crate) struct System {
    pub supply: Vec<i64>,
    pub lower: Vec<i64>,
    pub upper: Vec<i64>,
    pub rows: Vec<Row>,
}

/// The least and the most of the sum of some cells.
pub(crate) type Bound<'a> = (&'a [u32], i64, i64);

/// A linear program of changes, before it is solved: its variables, its rows' bounds, the cell of each variable.
pub(crate) struct Program {
    pub columns: Vec<Column>,
    pub rows: Vec<(f64, f64)>,
    pub owners: Vec<usize>,
}

impl System {
    /// `None` if a bound of one cell, or of one row over the bounds of its cells, cannot hold.
    pub fn of<'a>(supply: &[i64], bounds: impl IntoIterator<Item = Bound<'a>>) -> Option<System> {
        let (lower, upper) = (vec![0; supply.len()], supply.to_vec());
        let mut system = System { supply: supply.to_vec(), lower, upper, rows: Vec::new() };
        let mut found = HashMap::new();
        bounds.into_iter().for_each(|bound| system.bind(&mut found, bound));
        system.reduce().then_some(system)
    }

    fn bind<'a>(&mut self, found: &mut HashMap<&'a [u32], usize>, (cells, lower, upper): Bound<'a>) {
        if let [cell] = cells {
            let cell = *cell as usize;
            self.lower[cell] = self.lower[cell].max(lower);
            self.upper[cell] = self.upper[cell].min(upper);
            return;
        }
        let at = *found.entry(cells).or_insert(self.rows.len());
        if at == self.rows.len() {
            self.rows.push(Row { cells: cells.to_vec(), lower, upper });
        }
        self.rows[at].lower = self.rows[at].lower.max(lower);
        self.rows[at].upper = self.rows[at].upper.min(upper);
    }

    /// Drops the rows that the cells' own bounds meet whatever happens; false if some bound cannot be met at all.
    fn reduce(&mut self) -> bool {
        let (lower, upper) = (&self.lower, &self.upper);
        let range = |row: &Row| (row.sum(lower), row.sum(upper));
        let possible = lower.iter().zip(upper).all(|(lower, upper)| lower <= upper)
            && self.rows.iter().all(|row| {
                let (least, most) = range(row);
                row.lower <= row.upper && least <= row.upper && most >= row.lower
            });
        let binds = self.rows.iter().map(|row| range(row).0 < row.lower || range(row).1 > row.upper);
        let binds: Vec<bool> = if possible { binds.collect() } else { Vec::new() };
        let mut binds = binds.into_iter();
        self.rows.retain(|_| binds.next().unwrap_or(true));
        possible
    }

    /// Whole numbers within all bounds, sought from `near`; none if there are none.
    pub fn feasible(&self, near: &[i64]) -> Result<Option<Vec<i64>>, Unsettled> {
        if !self.sums_fit() {
            return Ok(None);
        }
        // One row over boxes was settled by `reduce`.
        if self.rows.len() <= 1 {
            return self.nearest();
        }
        let within = |cell: usize| near[cell].clamp(self.lower[cell], self.upper[cell]);
        let mut x: Vec<i64> = (0..near.len()).map(within).collect();
        if self.rows.iter().all(|row| (row.lower..=row.upper).contains(&row.sum(&x))) {
            return Ok(Some(x));
        }
        let program = self.program(&x, |cell| vec![(self.lower[cell] - x[cell], self.upper[cell] - x[cell], 0.0)]);
        let simplex = Simplex::new(program.columns, &program.rows);
        let Some(steps) = branch::minimise(simplex, program.owners.len(), Goal::Any)? else { return Ok(None) };
        program.owners.iter().zip(&steps).for_each(|(cell, step)| x[*cell] += step);
        Ok(Some(x))
    }

    /// False if rows that have no cell in common ask for more, or allow less, than a row of all cells does: what most
    /// often cannot be met, seen without a search.
    pub fn sums_fit(&self) -> bool {
        let Some(whole) = self.rows.iter().find(|row| row.cells.len() == self.supply.len()) else { return true };
        let mut families: Vec<(Vec<bool>, i64, i64)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.cells.len() < self.supply.len()) {
            let apart = |(taken, ..): &(Vec<bool>, i64, i64)| row.cells.iter().all(|cell| !taken[*cell as usize]);
            let at = families.iter().position(apart).unwrap_or(families.len());
            if at == families.len() {
                families.push((vec![false; self.supply.len()], self.lower.iter().sum(), self.upper.iter().sum()));
            }
            let (taken, least, most) = &mut families[at];
            row.cells.iter().for_each(|cell| taken[*cell as usize] = true);
            *least += (row.lower - row.sum(&self.lower)).max(0);
            *most -= (row.sum(&self.upper) - row.upper).max(0);
        }
        families.iter().all(|(_, least, most)| *least <= whole.upper && *most >= whole.lower)
    }

    /// The changes from `base` that keep all bounds, each cell's in pieces of `(least, most, cost)`.
    pub fn program(&self, base: &[i64], pieces: impl Fn(usize) -> Vec<(i64, i64, f64)>) -> Program {
        let mut entries: Vec<Vec<(u32, f64)>> = vec![Vec::new(); base.len()];
        let mut program = Program { columns: Vec::new(), rows: Vec::new(), owners: Vec::new() };
        for (row, at) in self.rows.iter().zip(0..) {
            row.cells.iter().for_each(|cell| entries[*cell as usize].push((at, 1.0)));
            let sum = row.sum(base);
            let upper = if row.upper == i64::MAX { f64::INFINITY } else { (row.upper - sum) as f64 };
            program.rows.push(((row.lower - sum) as f64, upper));
        }
        for (cell, entries) in entries.into_iter().enumerate() {
            for (lower, upper, cost) in pieces(cell).into_iter().filter(|(lower, upper, _)| lower < upper) {
                let (lower, upper) = (lower as f64, upper as f64);
                program.columns.push(Column { entries: entries.clone(), lower, upper, start: 0.0, cost });
                program.owners.push(cell);
            }
        }
        program
    }
}
