//! Linear programs over bounded variables, by the simplex method. It may start anywhere within the bounds of the
//! variables, and goes on from where it stands after a bound has changed: branching asks for that.

use std::rc::Rc;

/// The method went on for longer than any sound problem needs, or lost its footing numerically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsettled;

/// A variable: its coefficients by row, its bounds (finite), where it starts, what one unit of it costs.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub entries: Vec<(u32, f64)>,
    pub lower: f64,
    pub upper: f64,
    pub start: f64,
    pub cost: f64,
}

/// How far out of bounds a variable may be; all bounds are whole numbers.
const FEASIBLE: f64 = 1e-7;
/// The least gain a unit that is worth a step.
const GAIN: f64 = 1e-9;
/// The least rate at which a variable that moves can block.
const RATE: f64 = 1e-9;
/// Columns looked at before the best of them is taken.
const SECTION: usize = 512;
/// Pivots after which the inverse is made afresh.
const REFRESH: usize = 150;

/// Minimise cost, with every row's sum and every variable within bounds.
///
/// A row's sum is a variable like the others ("logical"), numbered after them, with -1 in its own row.
#[derive(Clone)]
pub(crate) struct Simplex {
    columns: Rc<Vec<Column>>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    x: Vec<f64>,
    /// The variable that each row determines, and the inverse of their columns, row by row.
    basis: Vec<usize>,
    inverse: Vec<f64>,
    basic: Vec<bool>,
    pivots: usize,
    /// Where pricing goes on, and steps since the last one of any length.
    cursor: usize,
    stalled: usize,
}

impl Simplex {
    /// The program with `rows` as the bounds of each row's sum; they may be infinite.
    pub fn new(columns: Vec<Column>, rows: &[(f64, f64)]) -> Simplex {
        let (n, m) = (columns.len(), rows.len());
        let bounds = columns.iter().map(|column| (column.lower, column.upper)).chain(rows.iter().copied());
        let (lower, upper) = bounds.unzip();
        let mut x: Vec<f64> = columns.iter().map(|column| column.start).chain(rows.iter().map(|_| 0.0)).collect();
        for (column, at) in columns.iter().zip(0..n) {
            column.entries.iter().for_each(|(row, value)| x[n + *row as usize] += value * column.start);
            debug_assert!(column.lower <= x[at] && x[at] <= column.upper);
        }
        let mut inverse = vec![0.0; m * m];
        (0..m).for_each(|row| inverse[row * m + row] = -1.0);
        let basic = (0..n + m).map(|at| at >= n).collect();
        let basis = (n..n + m).collect();
        let columns = Rc::new(columns);
        Simplex { columns, lower, upper, x, basis, inverse, basic, pivots: 0, cursor: 0, stalled: 0 }
    }

    /// The variables' values, rows left out.
    pub fn values(&self) -> &[f64] {
        &self.x[..self.columns.len()]
    }

    /// What they cost.
    pub fn cost(&self) -> f64 {
        self.columns.iter().zip(&self.x).map(|(column, x)| column.cost * x).sum()
    }

    /// Narrows one variable's bounds; [`Simplex::minimise`] then goes on from here.
    pub fn bound(&mut self, variable: usize, lower: f64, upper: f64) {
        (self.lower[variable], self.upper[variable]) = (lower, upper);
    }

    pub fn bounds(&self, variable: usize) -> (f64, f64) {
        (self.lower[variable], self.upper[variable])
    }

    /// Goes to a least-cost point; false if no point meets all bounds.
    pub fn minimise(&mut self) -> Result<bool, Unsettled> {
        self.settle();
        self.stalled = 0;
        for _ in 0..200 * self.x.len() + 10_000 {
            let repairing = self.basis.iter().any(|at| self.outside(*at) != 0.0);
            let duals = self.duals(repairing);
            match self.price(&duals, repairing) {
                Some((entering, direction)) => self.step(entering, direction)?,
                // Before the last word, once more without the rounding that pivots leave.
                None if self.pivots > 0 => self.refresh()?,
                None => return Ok(!repairing),
            }
            if self.pivots >= REFRESH {
                self.refresh()?;
            }
        }
        Err(Unsettled)
    }

    /// -1 below its bounds, 1 above, 0 within.
    fn outside(&self, at: usize) -> f64 {
        match self.x[at] {
            x if x < self.lower[at] - FEASIBLE => -1.0,
            x if x > self.upper[at] + FEASIBLE => 1.0,
            _ => 0.0,
        }
    }

    /// A variable outside the basis whose bounds were narrowed past it goes to the nearer one.
    fn settle(&mut self) {
        for at in 0..self.x.len() {
            if !self.basic[at] && !(self.lower[at]..=self.upper[at]).contains(&self.x[at]) {
                let by = self.x[at].clamp(self.lower[at], self.upper[at]) - self.x[at];
                let rates = self.rates(at);
                self.shift(at, by, &rates);
            }
        }
    }

    fn cost_of(&self, at: usize, repairing: bool) -> f64 {
        match self.columns.get(at) {
            Some(column) if !repairing => column.cost,
            _ => 0.0,
        }
    }

    fn duals(&self, repairing: bool) -> Vec<f64> {
        let m = self.basis.len();
        let mut duals = vec![0.0; m];
        for (row, at) in self.basis.iter().enumerate() {
            let cost = if repairing { self.outside(*at) } else { self.cost_of(*at, false) };
            if cost != 0.0 {
                let inverse = &self.inverse[row * m..(row + 1) * m];
                duals.iter_mut().zip(inverse).for_each(|(dual, value)| *dual += cost * value);
            }
        }
        duals
    }

    /// The variable to move and its direction: the best of a section, or by number alone once steps have no length.
    fn price(&mut self, duals: &[f64], repairing: bool) -> Option<(usize, f64)> {
        let (n, all) = (self.columns.len(), self.x.len());
        let by_number = self.cautious();
        let start = if by_number { 0 } else { self.cursor };
        let mut best = None;
        let mut most = GAIN;
        for step in 0..all {
            let at = (start + step) % all;
            if step % SECTION == 0 && best.is_some() {
                self.cursor = at;
                break;
            }
            if self.basic[at] || self.lower[at] == self.upper[at] {
                continue;
            }
            let own: f64 = match self.columns.get(at) {
                Some(column) => column.entries.iter().map(|(row, value)| duals[*row as usize] * value).sum(),
                None => -duals[at - n],
            };
            let reduced = self.cost_of(at, repairing) - own;
            let room = if reduced < 0.0 { self.x[at] < self.upper[at] } else { self.x[at] > self.lower[at] };
            if room && reduced.abs() > most {
                (best, most) = (Some((at, -reduced.signum())), reduced.abs());
                if by_number {
                    break;
                }
            }
        }
        best
    }

    fn cautious(&self) -> bool {
        self.stalled > 2 * self.basis.len() + 50
    }

    /// How much each basic variable falls for a unit of variable `at`.
    fn rates(&self, at: usize) -> Vec<f64> {
        let (n, m) = (self.columns.len(), self.basis.len());
        let logical = [((at.max(n) - n) as u32, -1.0)];
        let entries = self.columns.get(at).map_or(&logical[..], |column| &column.entries[..]);
        let rate = |inverse: &[f64]| entries.iter().map(|(row, value)| inverse[*row as usize] * value).sum();
        self.inverse.chunks_exact(m.max(1)).map(rate).collect()
    }

    fn shift(&mut self, at: usize, by: f64, rates: &[f64]) {
        self.x[at] += by;
        for (basic, rate) in self.basis.iter().zip(rates) {
            self.x[*basic] -= by * rate;
        }
    }

    /// Moves `entering` as far as it pays; whatever blocks first leaves the basis.
    fn step(&mut self, entering: usize, direction: f64) -> Result<(), Unsettled> {
        let rates = self.rates(entering);
        let to = if direction > 0.0 { self.upper[entering] } else { self.lower[entering] };
        let (mut length, mut leaving) = ((to - self.x[entering]).abs(), None);
        for (row, rate) in rates.iter().enumerate() {
            let Some(bound) = self.blocks(self.basis[row], -direction * rate) else { continue };
            let room = ((bound - self.x[self.basis[row]]) / (-direction * rate)).max(0.0);
            let firmer = |(other, _): (usize, f64)| match self.cautious() {
                true => self.basis[row] < self.basis[other],
                false => rate.abs() > rates[other].abs(),
            };
            if room < length - RATE || (room <= length + RATE && leaving.is_some_and(firmer)) {
                (length, leaving) = (room.min(length), Some((row, bound)));
            }
        }
        if !length.is_finite() {
            return Err(Unsettled);
        }
        self.stalled = if length > RATE { 0 } else { self.stalled + 1 };
        self.shift(entering, direction * length, &rates);
        match leaving {
            Some((row, bound)) => self.pivot(entering, row, bound, &rates),
            None => self.x[entering] = to,
        }
        Ok(())
    }

    /// The bound at which a basic variable that changes by `rate` stops the step; one outside stops where it is let in.
    fn blocks(&self, at: usize, rate: f64) -> Option<f64> {
        let outside = self.outside(at);
        if rate.abs() < RATE || outside * rate > 0.0 {
            return None;
        }
        let upwards = rate > 0.0;
        let bound = if upwards == (outside == 0.0) { self.upper[at] } else { self.lower[at] };
        bound.is_finite().then_some(bound)
    }

    fn pivot(&mut self, entering: usize, row: usize, bound: f64, rates: &[f64]) {
        let leaving = std::mem::replace(&mut self.basis[row], entering);
        self.x[leaving] = bound;
        (self.basic[leaving], self.basic[entering]) = (false, true);
        let m = self.basis.len();
        eliminate(&mut self.inverse, m, row, rates);
        self.pivots += 1;
    }

    /// The inverse and the basic variables anew from the columns.
    fn refresh(&mut self) -> Result<(), Unsettled> {
        let (n, m) = (self.columns.len(), self.basis.len());
        self.inverse.fill(0.0);
        (0..m).for_each(|row| self.inverse[row * m + row] = -1.0);
        // From the basis of logicals: a logical that stays keeps its row, each other variable takes the firmest left.
        let mut taken: Vec<Option<usize>> = vec![None; m];
        let (logical, others): (Vec<usize>, Vec<usize>) = self.basis.iter().copied().partition(|at| *at >= n);
        logical.into_iter().for_each(|at| taken[at - n] = Some(at));
        for at in others {
            let rates = self.rates(at);
            let free = (0..m).filter(|row| taken[*row].is_none());
            let row = free.max_by(|a, b| rates[*a].abs().total_cmp(&rates[*b].abs())).ok_or(Unsettled)?;
            if rates[row].abs() < 1e-7 {
                return Err(Unsettled);
            }
            eliminate(&mut self.inverse, m, row, &rates);
            taken[row] = Some(at);
        }
        self.basis = taken.into_iter().flatten().collect();
        self.pivots = 0;
        self.recompute();
        Ok(())
    }

    /// The basic variables from all others, which add up to 0 in every row.
    fn recompute(&mut self) {
        let (n, m) = (self.columns.len(), self.basis.len());
        let mut sums: Vec<f64> = (n..n + m).map(|at| if self.basic[at] { 0.0 } else { -self.x[at] }).collect();
        for (column, at) in self.columns.iter().zip(0..n).filter(|(_, at)| !self.basic[*at]) {
            column.entries.iter().for_each(|(row, value)| sums[*row as usize] += value * self.x[at]);
        }
        for (row, at) in self.basis.iter().enumerate() {
            let inverse = &self.inverse[row * m..(row + 1) * m];
            self.x[*at] = -inverse.iter().zip(&sums).map(|(value, sum)| value * sum).sum::<f64>();
        }
    }
}

/// The inverse after the variable whose column is `rates` (under the old inverse) has taken `row`.
fn eliminate(inverse: &mut [f64], m: usize, row: usize, rates: &[f64]) {
    let mut pivot: Vec<(usize, f64)> = Vec::new();
    for (at, value) in inverse[row * m..(row + 1) * m].iter_mut().enumerate().filter(|(_, value)| **value != 0.0) {
        *value /= rates[row];
        pivot.push((at, *value));
    }
    for (other, rate) in rates.iter().enumerate().filter(|(other, rate)| *other != row && rate.abs() > 1e-12) {
        pivot.iter().for_each(|(at, value)| inverse[other * m + at] -= rate * value);
    }
}
