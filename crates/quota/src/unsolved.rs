//! Why there are no quotas, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clause::Clause;
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

/// A clause that gave way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relaxed {
    /// The clause, with what it wanted as its demand.
    #[serde(flatten)]
    pub clause: Clause,
    /// The rows it gets instead.
    pub given: u64,
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
