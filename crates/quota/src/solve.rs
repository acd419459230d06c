//! How many rows of each cell: the way in to the solver.

use crate::clause::Cell;
use crate::problem::Problem;
use crate::rules::Rules;
use crate::simplex::Unsettled;
use crate::unsolved::{Infeasible, Relaxed, SolveError};

/// One quota for each cell, in the order of `cells`, at most its supply; the same for any order.
///
/// Every clause is met exactly. Of the quotas that do, those nearest to proportional to the supply: they minimise
/// `sum of quota^2 / supply` (see the head of `nearest.rs` for when this is exact). Without a `size` the total is the
/// greatest that the rules allow.
pub fn solve(rules: &Rules, cells: &[Cell]) -> Result<Vec<u64>, SolveError> {
    let problem = Problem::of(rules, cells)?;
    let all = problem.clauses();
    let total = match problem.size(&all) {
        Some(size) => Some(size),
        None => problem.largest(&all, &mut problem.supply.clone())?,
    };
    let nearest = match total.and_then(|total| problem.system(&all, total)) {
        Some(system) => system.nearest()?,
        None => None,
    };
    match nearest {
        Some(x) => Ok(problem.quotas(&x)),
        None => Err(SolveError::Infeasible(Box::new(problem.infeasible()?))),
    }
}

/// Quotas that meet the rules as far as they can be met, and the clauses that gave way (none: then as [`solve`]).
///
/// The rows by which clauses are missed are the fewest for `size` and `max_size`, then the fewest for the rules of the
/// lowest priority number given that, and so on; rules without a priority come last. (Fewest as proven in 500 nodes of
/// the search: with three and more partitions it may be a few more.)
pub fn relax(rules: &Rules, cells: &[Cell]) -> Result<(Vec<u64>, Vec<Relaxed>), SolveError> {
    match solve(rules, cells) {
        Ok(quotas) => Ok((quotas, Vec::new())),
        Err(SolveError::Infeasible(_)) => {
            let problem = Problem::of(rules, cells)?;
            let (x, relaxed) = problem.relaxed()?;
            Ok((problem.quotas(&x), relaxed))
        }
        Err(error) => Err(error),
    }
}

impl Problem {
    fn infeasible(&self) -> Result<Infeasible, Unsettled> {
        let (x, relaxed) = self.relaxed()?;
        let total = self.size(&self.clauses()).unwrap_or_else(|| x.iter().sum::<i64>().unsigned_abs());
        let rows = self.demands.at(total);
        let conflict = self.conflict()?.into_iter().map(|at| self.clause(at, &rows)).collect();
        Ok(Infeasible { conflict, relaxed })
    }
}
