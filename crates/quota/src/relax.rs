//! The nearest rules that can be met: what each clause has to give, the less important ones first.

use std::cmp::Ordering;

use crate::branch::{self, Goal};
use crate::problem::Problem;
use crate::proportion;
use crate::simplex::{Column, Simplex, Unsettled};
use crate::system::{Program, Row, System};
use crate::unsolved::Relaxed;

/// Where [`Elastic::bend`] comes to: what each class is missed by, the total, the numbers.
struct Bent {
    missed: Vec<f64>,
    total: u64,
    x: Vec<i64>,
}

/// A clause of one cell, whose miss is a price on the cell's own rows: class, least and most.
type Single = (usize, i64, i64);

/// Changes of one cell that all miss its clauses by the same per row: least, most, and by class how much a row adds.
type Piece = (i64, i64, Vec<(usize, f64)>);

/// The clauses apart by how they enter a program.
struct Elastic<'a> {
    problem: &'a Problem,
    /// The total that proportions are of, if it is known.
    total: Option<u64>,
    /// The clauses on each cell alone.
    singles: Vec<Vec<Single>>,
    /// Bounds in rows, and of the first of these which clause each is; others must hold.
    fixed: Vec<Row>,
    fixed_as: Vec<usize>,
    /// Those that grow with a total that is not known.
    scaled: Vec<usize>,
}

impl Problem {
    /// Numbers that meet what can be met, and the clauses that gave way, in the rules' order.
    pub fn relaxed(&self) -> Result<(Vec<i64>, Vec<Relaxed>), Unsettled> {
        let bent = self.bent()?;
        let total = bent.iter().sum::<i64>().unsigned_abs();
        let rows = self.demands.at(self.size(&self.clauses()).unwrap_or(total));
        let bound = |at: usize| {
            let (cells, lower, upper) = self.bound(at, rows[at]);
            (cells, lower, upper, cells.iter().map(|cell| bent[*cell as usize]).sum::<i64>())
        };
        let clauses: Vec<_> = self.clauses().into_iter().map(bound).collect();
        let widened = clauses.iter().map(|(cells, lower, upper, sum)| (*cells, *lower.min(sum), *upper.max(sum)));
        let system = System::of(&self.supply, widened.chain([self.whole(total)])).ok_or(Unsettled)?;
        let x = system.nearest()?.ok_or(Unsettled)?;
        let gave = clauses.iter().enumerate().filter(|(_, (_, lower, upper, sum))| sum < lower || sum > upper);
        let relaxed = |(at, (.., sum)): (usize, &(_, _, _, i64))| Relaxed {
            clause: self.clause(at, &rows),
            given: sum.unsigned_abs(),
        };
        Ok((x, gave.map(relaxed).collect()))
    }

    /// Numbers that miss the clauses by the least. Where proportions are of a total that no `size` sets, that total is
    /// sought with proportions off by less than a row, and then the best is taken of it and its neighbours.
    fn bent(&self) -> Result<Vec<i64>, Unsettled> {
        let all = self.clauses();
        if let Some(size) = self.size(&all) {
            return Ok(Elastic::of(self, Some(size)).bend(size)?.x);
        }
        let supply: u64 = self.supply.iter().map(|supply| supply.unsigned_abs()).sum();
        let rough = Elastic::of(self, None).bend(supply)?;
        if all.iter().all(|at| self.scaled(*at).is_none()) {
            return Ok(rough.x);
        }
        let totals = rough.total.saturating_sub(NEIGHBOURS)..=supply.min(rough.total + NEIGHBOURS);
        let each = totals.rev().map(|total| {
            let mut elastic = Elastic::of(self, Some(total));
            let (cells, lower, upper) = self.whole(total);
            elastic.fixed.push(Row { cells: cells.to_vec(), lower, upper });
            elastic.bend(total)
        });
        let best = each.collect::<Result<Vec<_>, _>>()?.into_iter().min_by(|a, b| compare(&a.missed, &b.missed));
        best.map(|bent| bent.x).ok_or(Unsettled)
    }
}

fn compare(missed: &[f64], other: &[f64]) -> Ordering {
    missed.iter().zip(other).map(|(one, other)| one.total_cmp(other)).find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
}

impl<'a> Elastic<'a> {
    fn of(problem: &'a Problem, total: Option<u64>) -> Elastic<'a> {
        let (fixed, fixed_as, scaled) = (Vec::new(), Vec::new(), Vec::new());
        let singles = vec![Vec::new(); problem.supply.len()];
        let mut elastic = Elastic { problem, total, singles, fixed, fixed_as, scaled };
        let rows = problem.demands.at(total.unwrap_or(0));
        for at in problem.clauses() {
            if total.is_none() && problem.scaled(at).is_some() {
                elastic.scaled.push(at);
                continue;
            }
            match problem.bound(at, rows[at]) {
                ([cell], lower, upper) => {
                    elastic.singles[*cell as usize].push((problem.demands.all[at].class, lower, upper));
                }
                (cells, lower, upper) => {
                    elastic.fixed.push(Row { cells: cells.to_vec(), lower, upper });
                    elastic.fixed_as.push(at);
                }
            }
        }
        elastic
    }

    /// Class after class, the most important first: the least rows by which its clauses are missed, given what those
    /// before it are missed by; last, if no total is known, the most rows in all. They are sought from `total` rows in
    /// proportion.
    fn bend(&self, total: u64) -> Result<Bent, Unsettled> {
        let supply: Vec<u64> = self.problem.supply.iter().map(|supply| supply.unsigned_abs()).collect();
        let start = proportion::largest_remainder(total.min(supply.iter().sum()), &supply);
        let mut x: Vec<i64> = start.into_iter().map(u64::cast_signed).collect();
        let mut missed = Vec::new();
        let classes = 1 + self.problem.demands.all.iter().map(|demand| demand.class).max().unwrap_or(0);
        for class in 0..classes {
            let (miss, _) = self.improve(&mut x, &missed, Some(class))?;
            missed.push(miss);
        }
        let total = match self.total {
            Some(total) => total,
            None => (self.improve(&mut x, &missed, None)?.1 + ROUNDING) as u64,
        };
        Ok(Bent { missed, total, x })
    }

    /// Moves `x` to where `class` is missed by the least (or, without one, the total is greatest), while the classes
    /// before are `missed` by no more than that. What it is missed by, and the total; while that is sought among
    /// proportions both are real numbers, and `x` stays.
    fn improve(&self, x: &mut [i64], missed: &[f64], class: Option<usize>) -> Result<(f64, f64), Unsettled> {
        let supply = self.problem.supply.clone();
        let system = System { lower: vec![0; supply.len()], upper: supply.clone(), supply, rows: self.fixed.clone() };
        let pieces: Vec<Vec<Piece>> = (0..x.len()).map(|cell| self.pieces(cell, x[cell])).collect();
        let cost = |adds: &[(usize, f64)]| match class {
            Some(class) => adds.iter().filter(|(of, _)| *of == class).map(|(_, add)| add).sum(),
            None => -1.0,
        };
        let mut program = system
            .program(x, |cell| pieces[cell].iter().map(|(least, most, adds)| (*least, *most, cost(adds))).collect());
        let whole = program.columns.len();
        let mut rows: Vec<(usize, usize)> = self.fixed_as.iter().copied().zip(0..).collect();
        let total = (!self.scaled.is_empty()).then(|| self.problem.add_total(&mut program, x, 0.0));
        if let Some(total) = total {
            for at in &self.scaled {
                rows.push((*at, program.rows.len()));
                self.problem.add_scaled(&mut program, *at, x, total);
            }
        }
        let singly = |of: usize| self.singly(x, of);
        let first = program.rows.len();
        // Whole misses need no slack, and any would let fractions in.
        let slack = if self.scaled.is_empty() { 0.0 } else { ROUNDING };
        program.rows.extend((0..missed.len()).map(|of| (f64::NEG_INFINITY, missed[of] - singly(of) + slack)));
        for (column, (.., adds)) in program.columns.iter_mut().zip(pieces.iter().flatten()) {
            let adds = adds.iter().filter(|(of, _)| *of < missed.len());
            column.entries.extend(adds.map(|(of, add)| ((first + of) as u32, *add)));
        }
        self.add_misses(&mut program, &rows, first, missed.len(), class);
        let before = class.map_or(0.0, |class| self.singly(x, class));
        let mut simplex = Simplex::new(program.columns, &program.rows);
        if let Some(total) = total {
            if !simplex.minimise()? {
                return Err(Unsettled);
            }
            return Ok((before + simplex.cost(), simplex.values()[total]));
        }
        let steps = branch::minimise(simplex, whole, Goal::WholeCost)?.ok_or(Unsettled)?;
        program.owners.iter().zip(&steps).for_each(|(cell, step)| x[*cell] += step);
        Ok((class.map_or(0.0, |class| self.missed(x, class)), x.iter().sum::<i64>() as f64))
    }

    /// For every clause in a row, variables for the rows it has too few and too many.
    fn add_misses(
        &self,
        program: &mut Program,
        rows: &[(usize, usize)],
        first: usize,
        known: usize,
        class: Option<usize>,
    ) {
        for (at, row) in rows {
            let of = self.problem.demands.all[*at].class;
            let cost = if class == Some(of) { 1.0 } else { 0.0 };
            for sign in [1.0, -1.0] {
                let mut entries = vec![(*row as u32, sign)];
                entries.extend((of < known).then_some(((first + of) as u32, 1.0)));
                program.columns.push(Column { entries, lower: 0.0, upper: f64::INFINITY, start: 0.0, cost });
            }
        }
    }

    /// The changes of a cell from `x`, cut where one of its own clauses begins or ends to be missed.
    fn pieces(&self, cell: usize, x: i64) -> Vec<Piece> {
        let supply = self.problem.supply[cell];
        let singles = &self.singles[cell];
        let mut cuts: Vec<i64> = singles.iter().flat_map(|(_, lower, upper)| [*lower, *upper]).collect();
        cuts.retain(|cut| (0..=supply).contains(cut));
        cuts.extend([0, x, supply]);
        cuts.sort_unstable();
        cuts.dedup();
        let adds = |from: i64, to: i64| {
            let add = |(class, lower, upper): &Single| match () {
                () if to <= *lower => Some((*class, -1.0)),
                () if from >= *upper => Some((*class, 1.0)),
                () => None,
            };
            singles.iter().filter_map(add).collect()
        };
        let piece = |cut: &[i64]| match cut {
            [from, to] => Some((from.min(&x) - x.min(*to), to - x.max(*from).min(*to), adds(*from, *to))),
            _ => None,
        };
        cuts.windows(2).filter_map(piece).collect()
    }

    /// By how many rows the clauses of a class on single cells are missed.
    fn singly(&self, x: &[i64], class: usize) -> f64 {
        let off = |(x, singles): (&i64, &Vec<Single>)| {
            let misses = singles.iter().filter(|(of, ..)| *of == class);
            misses.map(|(_, lower, upper)| miss(*x as f64, *lower as f64, *upper as f64)).sum::<f64>()
        };
        x.iter().zip(&self.singles).map(off).sum()
    }

    /// By how many rows all clauses of a class are missed, where none grows with the total.
    fn missed(&self, x: &[i64], class: usize) -> f64 {
        let of = |at: &usize| self.problem.demands.all[*at].class == class;
        let fixed = self.fixed.iter().zip(&self.fixed_as).filter(|(_, at)| of(at));
        let fixed = fixed.map(|(row, _)| miss(row.sum(x) as f64, row.lower as f64, row.upper as f64));
        self.singly(x, class) + fixed.sum::<f64>()
    }
}

/// What a class that was settled may be missed by more, for rounding.
const ROUNDING: f64 = 1e-6;
/// Totals on either side that are tried.
const NEIGHBOURS: u64 = 3;

fn miss(rows: f64, lower: f64, upper: f64) -> f64 {
    (lower - rows).max(rows - upper).max(0.0)
}
