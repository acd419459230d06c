//! Why rules cannot be met: a set of clauses that cannot be met together, while all but any one of them can.

use crate::clause::{Amount, Kind};
use crate::problem::Problem;
use crate::simplex::Unsettled;

impl Problem {
    /// Such a set, by place, where all clauses together cannot be met. One clause alone (or with `size`) if any asks
    /// for more than there is; else the smaller of what halving leaves (Junker's QuickXplain) from either end.
    pub fn conflict(&self) -> Result<Vec<usize>, Unsettled> {
        let all = self.clauses();
        let rows = self.demands.at(self.size(&all).unwrap_or(0));
        let short = |at: &usize| {
            let clause = &self.demands.all[*at].clause;
            clause.kind.binds_below() && rows[*at] > clause.supply
        };
        if let Some(alone) = all.iter().copied().find(short) {
            // A proportion asks for so many rows only because of the size.
            let scaled = !matches!(self.demands.all[alone].amount, Amount::Count(_));
            let size = all.iter().copied().find(|at| self.demands.all[*at].clause.kind == Kind::Size);
            return Ok(size.filter(|_| scaled).into_iter().chain([alone]).collect());
        }
        // First by what is seen without a search: it leaves a few clauses where sums do not fit.
        let size = self.size(&all);
        let mut plainly = |active: &[usize]| Ok(size.is_none_or(|size| self.fits(active, size)));
        let suspects = if plainly(&all)? { all } else { smaller(&mut plainly, &all)? };
        let mut near = self.supply.clone();
        let mut conflict = smaller(&mut |active| self.feasible(active, &mut near), &suspects)?;
        conflict.sort_unstable();
        Ok(conflict)
    }

    /// Whether the clauses in force, if `size` is among them, fit as far as sums tell.
    fn fits(&self, active: &[usize], size: u64) -> bool {
        self.size(active).is_none() || self.system(active, size).is_some_and(|system| system.sums_fit())
    }
}

/// The smaller of the conflicts that are left from either end.
fn smaller(test: &mut Test<'_>, suspects: &[usize]) -> Result<Vec<usize>, Unsettled> {
    let backwards: Vec<usize> = suspects.iter().rev().copied().collect();
    let (one, other) = (explain(test, &[], false, suspects)?, explain(test, &[], false, &backwards)?);
    Ok(if other.len() < one.len() { other } else { one })
}

/// Whether some clauses can be met together.
type Test<'a> = dyn FnMut(&[usize]) -> Result<bool, Unsettled> + 'a;

/// A conflict among `suspects`, which beside `given` cannot be met; `changed` if `given` may be why.
fn explain(test: &mut Test<'_>, given: &[usize], changed: bool, suspects: &[usize]) -> Result<Vec<usize>, Unsettled> {
    if changed && !test(given)? {
        return Ok(Vec::new());
    }
    if suspects.len() <= 1 {
        return Ok(suspects.to_vec());
    }
    let (left, right) = suspects.split_at(suspects.len() / 2);
    let from_right = explain(test, &[given, left].concat(), true, right)?;
    let from_left = explain(test, &[given, &from_right].concat(), !from_right.is_empty(), left)?;
    Ok([from_left, from_right].concat())
}
