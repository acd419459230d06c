//! How many rows of each cell: the way in to the solver.

use std::fmt;

use serde::Serialize;

use crate::clause::{Cell, Clause};
use crate::problem::Problem;
use crate::relax::Relaxed;
use crate::rules::Rules;
use crate::simplex::Unsettled;

/// Why there are no quotas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// A cell that has not one label for each rule.
    #[error("cell {cell} has {got} labels for {wanted} rules; give it one a rule")]
    Labels {
        /// Its place in the list.
        cell: usize,
        /// One for each rule.
        wanted: usize,
        /// What it has.
        got: usize,
    },
    /// More than 2^52 rows, or 2^32 cells.
    #[error("there are more rows than can be counted exactly (2^52); stratify fewer partitions at a time")]
    TooMany,
    /// The rules cannot all be met.
    #[error("{0}")]
    Infeasible(Box<Infeasible>),
    /// The search found no end, which no sound rules should bring about.
    #[error("the quotas of these rules could not be settled; state them over fewer columns")]
    Unsettled,
}

impl From<Unsettled> for SolveError {
    fn from(_: Unsettled) -> SolveError {
        SolveError::Unsettled
    }
}

/// Rules that cannot all be met, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Infeasible {
    /// Clauses that cannot be met together (with the supply), while all but any one of them can.
    pub conflict: Vec<Clause>,
    /// What [`relax`] would do.
    pub relaxed: Vec<Relaxed>,
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rules cannot be met together; in conflict:")?;
        self.conflict.iter().try_for_each(|clause| write!(f, "\n  {clause}"))?;
        f.write_str("\nnearest that can be met (--relax):")?;
        self.relaxed.iter().try_for_each(|relaxed| write!(f, "\n  {}: gets {}", relaxed.clause, relaxed.given))
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = self.rule {
            write!(f, "rule {}", rule + 1)?;
            self.name.iter().try_for_each(|name| write!(f, " ({name})"))?;
            f.write_str(": ")?;
        }
        f.write_str(self.kind.key())?;
        self.stratum.iter().try_for_each(|stratum| write!(f, ".{stratum}"))?;
        write!(f, " asks for {} rows; there are {}", self.demand, self.supply)
    }
}

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
