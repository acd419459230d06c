//! Of all whole numbers within the bounds, those nearest to proportional to the supply.
//!
//! The distance is `sum of x^2 / supply`, which for a given total is, but for a constant, Pearson's chi-square between
//! `x` and `total x supply / sum of supply`: a sum of squared relative deviations, each weighted by its target. It is
//! convex, and separate for each cell: the `k`-th row of a cell costs `(2k - 1) / supply`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::branch::{self, Goal};
use crate::simplex::{Simplex, Unsettled};
use crate::system::{Row, System};

/// Rounds of changes by a row a cell, each the best there is; where scaling has come near, one or two do.
const POLISHES: usize = 20;
/// Nodes of the search for whole steps where bounds overlap so that fractions are better.
const NODES: usize = 8;
/// Rounds of scaling towards the rows' bounds; what is left after them is repaired in whole numbers.
const ROUNDS: usize = 500;

impl System {
    /// The nearest numbers, or none if there are none at all.
    ///
    /// Over single cells and a total this is exact, in whole arithmetic, ties to the earlier cell. With rows that form
    /// two partitions, or nested ones, it is the optimum to 1e-9 a row's cost. Otherwise, and where bounds leave so
    /// little room that scaling does not settle, it still finds numbers within the bounds if there are any; they may
    /// then be some rows off the nearest.
    pub fn nearest(&self) -> Result<Option<Vec<i64>>, Unsettled> {
        if let [] | [_] = &self.rows[..] {
            let mut x = self.lower.clone();
            self.rows.iter().for_each(|row| self.apportion(&row.cells, row.lower, &mut x));
            return Ok(Some(x));
        }
        if !self.sums_fit() {
            return Ok(None);
        }
        let scaled = self.proportional();
        let mut x = match self.improve(&scaled)? {
            Some((steps, _)) => added(&scaled, &steps),
            // Scaling has not come near enough, for want of room or of a solution: any one, to begin from.
            None => match self.feasible(&scaled)? {
                Some(x) => x,
                None => return Ok(None),
            },
        };
        for _ in 0..POLISHES {
            match self.improve(&x)? {
                Some((steps, gain)) if gain > NEGLIGIBLE => x = added(&x, &steps),
                _ => break,
            }
        }
        self.settle_ties(&mut x);
        Ok(Some(x))
    }

    /// The best changes by at most a row a cell that bring `base` within the bounds, and what they gain.
    fn improve(&self, base: &[i64]) -> Result<Option<(Vec<i64>, f64)>, Unsettled> {
        let program = self.program(base, |cell| self.changes(cell, base[cell]).to_vec());
        let costs: Vec<f64> = program.columns.iter().map(|column| column.cost).collect();
        let simplex = Simplex::new(program.columns, &program.rows);
        let Some(values) = branch::minimise(simplex, costs.len(), Goal::Nodes(NODES))? else { return Ok(None) };
        let mut step = vec![0; base.len()];
        program.owners.iter().zip(&values).for_each(|(cell, value)| step[*cell] += value);
        let gain = -costs.iter().zip(&values).map(|(cost, value)| cost * *value as f64).sum::<f64>();
        Ok(Some((step, gain)))
    }

    /// A row more or less than `x` of a cell, where its bounds allow it, at what that costs.
    fn changes(&self, cell: usize, x: i64) -> [(i64, i64, f64); 2] {
        let cost = |doubled: i64| doubled as f64 / self.supply[cell].max(1) as f64;
        let (more, less) = (i64::from(x < self.upper[cell]), i64::from(x > self.lower[cell]));
        [(0, more, cost(2 * x + 1)), (-less, 0, cost(2 * x - 1))]
    }

    /// Cells of the same rows share out anew what they have together, so that ties among them go to the earlier cell.
    fn settle_ties(&self, x: &mut [i64]) {
        let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); x.len()];
        for (at, row) in self.rows.iter().enumerate() {
            row.cells.iter().for_each(|cell| rows_of[*cell as usize].push(at));
        }
        let mut alike: BTreeMap<Vec<usize>, Vec<u32>> = BTreeMap::new();
        rows_of.into_iter().zip(0..).for_each(|(rows, cell)| alike.entry(rows).or_default().push(cell));
        for cells in alike.into_values().filter(|cells| cells.len() > 1) {
            let sum = cells.iter().map(|cell| x[*cell as usize]).sum();
            self.apportion(&cells, sum, x);
        }
    }

    /// Sets some cells of `x` to the cheapest rows that sum to `total`, from their lower bounds upwards.
    fn apportion(&self, cells: &[u32], total: i64, x: &mut [i64]) {
        let rows_at = |price: f64, cell: &u32| {
            let cell = *cell as usize;
            let rows = ((price * self.supply[cell] as f64 - 1.0) / 2.0).ceil() as i64;
            rows.clamp(self.lower[cell], self.upper[cell])
        };
        let sum_at = |price: f64| cells.iter().map(|cell| rows_at(price, cell)).sum::<i64>();
        let (mut under, mut over) = (0.0, 2.0);
        for _ in 0..60 {
            let middle = (under + over) / 2.0;
            *(if sum_at(middle) <= total { &mut under } else { &mut over }) = middle;
        }
        // A little lower, so that rounding has let in no row before a cheaper one.
        let under = under * (1.0 - 1e-12);
        cells.iter().for_each(|cell| x[*cell as usize] = rows_at(under, cell));
        let next = |x: &[i64], cell: u32| {
            let at = cell as usize;
            (x[at] < self.upper[at]).then(|| Reverse(Price { of: 2 * x[at] + 1, supply: self.supply[at], cell }))
        };
        let mut queue: BinaryHeap<_> = cells.iter().filter_map(|cell| next(x, *cell)).collect();
        for _ in sum_at(under)..total {
            let Some(Reverse(price)) = queue.pop() else { break };
            x[price.cell as usize] += 1;
            queue.extend(next(x, price.cell));
        }
    }

    /// Numbers near the nearest, that may miss the rows' bounds by a little: the optimum in real numbers, by giving one
    /// row after another the shift of price that it needs (Hildreth's method), rounded.
    pub fn proportional(&self) -> Vec<i64> {
        let mut prices = vec![0.0; self.supply.len()];
        let mut shifts = vec![0.0; self.rows.len()];
        for _ in 0..ROUNDS {
            let mut moved = 0.0f64;
            for (row, shift) in self.rows.iter().zip(&mut shifts) {
                let needed = self.shift(row, &prices, *shift);
                row.cells.iter().for_each(|cell| prices[*cell as usize] += needed - *shift);
                moved = moved.max((needed - *shift).abs());
                *shift = needed;
            }
            if moved < 1e-9 {
                break;
            }
        }
        (0..prices.len()).map(|cell| self.at(cell, prices[cell]).round() as i64).collect()
    }

    /// Rows of a cell at a price, which is half of what the next row costs.
    fn at(&self, cell: usize, price: f64) -> f64 {
        (price * self.supply[cell] as f64).clamp(self.lower[cell] as f64, self.upper[cell] as f64)
    }

    /// The shift of a row's prices, of which `old` is in them, that brings its sum within its bounds; 0 if none is due.
    fn shift(&self, row: &Row, prices: &[f64], old: f64) -> f64 {
        let sum = |shift: f64| {
            row.cells.iter().map(|cell| self.at(*cell as usize, prices[*cell as usize] - old + shift)).sum::<f64>()
        };
        let slope = |shift: f64| {
            let inside = |cell: &usize| {
                let rows = (prices[*cell] - old + shift) * self.supply[*cell] as f64;
                (self.lower[*cell] as f64..=self.upper[*cell] as f64).contains(&rows)
            };
            let cells = row.cells.iter().map(|cell| *cell as usize);
            cells.filter(inside).map(|cell| self.supply[cell] as f64).sum::<f64>()
        };
        let free = sum(0.0);
        let target = free.clamp(row.lower as f64, row.upper as f64);
        if target == free {
            return 0.0;
        }
        // Beyond these prices every cell is at its bound.
        let edge = row.cells.iter().map(|cell| prices[*cell as usize].abs()).fold(old.abs(), f64::max) + 2.0;
        let (mut under, mut over, mut guess) = (-2.0 * edge, 2.0 * edge, old);
        for _ in 0..50 {
            let off = sum(guess) - target;
            *(if off <= 0.0 { &mut under } else { &mut over }) = guess;
            if off.abs() < CLOSE {
                break;
            }
            // Newton's step where the bracket allows it, else its middle.
            let newton = guess - off / slope(guess);
            guess = if under < newton && newton < over { newton } else { (under + over) / 2.0 };
        }
        guess
    }
}

/// As near to a row's bound as scaling need come.
const CLOSE: f64 = 1e-3;

fn added(x: &[i64], steps: &[i64]) -> Vec<i64> {
    x.iter().zip(steps).map(|(x, step)| x + step).collect()
}

/// A gain that is no more than rounding.
const NEGLIGIBLE: f64 = 1e-9;

/// What the next row of a cell costs, compared exactly: `of / supply`, then by cell.
#[derive(PartialEq, Eq)]
struct Price {
    of: i64,
    supply: i64,
    cell: u32,
}

impl Ord for Price {
    fn cmp(&self, other: &Price) -> std::cmp::Ordering {
        let product = |of: i64, supply: i64| i128::from(of) * i128::from(supply);
        product(self.of, other.supply).cmp(&product(other.of, self.supply)).then(self.cell.cmp(&other.cell))
    }
}

impl PartialOrd for Price {
    fn partial_cmp(&self, other: &Price) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
