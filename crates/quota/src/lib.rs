//! How many rows to take of which stratum: the rules of `rescan stratify`, solved exactly.
//!
//! - Invariant: a quota is at most its cell's supply, and quotas meet every clause of the rules to the row; or the
//!   error names clauses that cannot be met together.
//! - Invariant: the result depends on the rules and on the set of cells, never on their order.
//!
//! - Not here: rows, files, hashes of rows, the clock, randomness.
//!
//! Begin at `solve.rs`. A problem (`problem`, `clause`) becomes bounds on sums of cells (`system`), the sums a linear
//! program (`simplex`, `branch`).

mod achieved;
mod branch;
mod clause;
mod conflict;
mod nearest;
mod problem;
mod proportion;
mod relax;
mod rules;
mod simplex;
mod solve;
mod split;
mod system;
mod total;
mod unsolved;

pub use achieved::{Achieved, Line, RuleAchieved, achieved};
pub use clause::{Cell, Clause, Kind};
pub use rules::{Negatives, Place, Rule, Rules, RulesError};
pub use solve::{relax, solve};
pub use split::{SplitError, Splits};
pub use unsolved::{Infeasible, Relaxed, SolveError};
