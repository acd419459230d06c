//! Why rules cannot be met: a set of clauses that cannot be met together, while all but any one of them can.

use crate::clause::{Amount, Kind};
use crate::problem::Problem;
use crate::simplex::Unsettled;

impl Problem {
    /// Such a set, by place, where all clauses together cannot be met. One clause alone (or with `size`) if any asks for
    /// more than there is; else the smaller of what halving leaves (Junker's QuickXplain) from either end.
    pub fn conflict(&self) -> Result<Vec<usize>, Unsettled> {
        let all = self.clauses();
        let rows = self.demands.at(self.size(&all).unwrap_or(0));
        let short = |at: &usize| {
            let clause = &self.demands.all[*at].clause;
            clause.kind.from_below() && rows[*at] > clause.supply
        };
        if let Some(alone) = all.iter().copied().find(short) {
            // A proportion asks for so many rows only because of the size.
            let scaled = !matches!(self.demands.all[alone].amount, Amount::Count(_));
            let size = all.iter().copied().find(|at| self.demands.all[*at].clause.kind == Kind::Size);
            return Ok(size.filter(|_| scaled).into_iter().chain([alone]).collect());
        }
        let backwards: Vec<usize> = all.iter().rev().copied().collect();
        let (one, other) = (self.explain(&[], false, &all)?, self.explain(&[], false, &backwards)?);
        let mut conflict = if other.len() < one.len() { other } else { one };
        conflict.sort_unstable();
        Ok(conflict)
    }

    fn explain(&self, given: &[usize], changed: bool, suspects: &[usize]) -> Result<Vec<usize>, Unsettled> {
        if changed && !self.feasible(given)? {
            return Ok(Vec::new());
        }
        if suspects.len() <= 1 {
            return Ok(suspects.to_vec());
        }
        let (left, right) = suspects.split_at(suspects.len() / 2);
        let from_right = self.explain(&[given, left].concat(), true, right)?;
        let from_left = self.explain(&[given, &from_right].concat(), !from_right.is_empty(), left)?;
        Ok([from_left, from_right].concat())
    }
}
