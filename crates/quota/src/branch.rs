//! Whole-number optima of linear programs, by branch and bound.

use crate::simplex::{Simplex, Unsettled};

/// Nodes after which the search gives up: far beyond what rules of a few columns need.
const NODES: usize = 20_000;
/// Nodes after which the cheapest so far stands for the cheapest there is.
const PROOF: usize = 500;
/// How near to a whole number is one.
const WHOLE: f64 = 1e-6;

/// When a whole solution is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The first one.
    Any,
    /// The cheapest, where whole solutions have whole costs, or the cheapest of [`PROOF`] nodes.
    WholeCost,
    /// The cheapest that so many nodes find; if none of them does, the first one after.
    Nodes(usize),
}

/// A solution of `program` with its first `whole` variables in whole numbers, or none if there is none: the values of
/// those variables.
pub(crate) fn minimise(program: Simplex, whole: usize, goal: Goal) -> Result<Option<Vec<i64>>, Unsettled> {
    let mut open = vec![program];
    let mut best: Option<(f64, Vec<i64>)> = None;
    for node in 0..NODES {
        let enough = match (goal, &best) {
            (Goal::Any, Some(_)) => true,
            (Goal::WholeCost, Some(_)) => node >= PROOF,
            (Goal::Nodes(nodes), Some(_)) => node >= nodes,
            _ => false,
        };
        let Some(mut program) = open.pop().filter(|_| !enough) else {
            return Ok(best.map(|(_, values)| values));
        };
        if !program.minimise()? {
            continue;
        }
        let cost = program.cost();
        let bound = if goal == Goal::WholeCost { (cost - WHOLE).ceil() } else { cost };
        if best.as_ref().is_some_and(|(least, _)| bound > least - WHOLE * WHOLE) {
            continue;
        }
        match most_fractional(&program.values()[..whole]) {
            Some((variable, value)) => {
                let around = (node == 0).then(|| around(&program, whole));
                branch(program, variable, value, &mut open);
                open.extend(around);
            }
            None => {
                let values = program.values()[..whole].iter();
                best = Some((bound, values.map(|value| value.round() as i64).collect()));
            }
        }
    }
    Err(Unsettled)
}

/// The program with every whole variable next to where it is: what is looked at first, as it has few fractions to mend.
fn around(program: &Simplex, whole: usize) -> Simplex {
    let mut around = program.clone();
    for (variable, value) in program.values()[..whole].iter().enumerate() {
        let (lower, upper) = program.bounds(variable);
        around.bound(variable, (value + WHOLE).floor().max(lower), (value - WHOLE).ceil().min(upper));
    }
    around
}

/// Both sides of a fraction; the nearer whole number is looked at first.
fn branch(program: Simplex, variable: usize, value: f64, open: &mut Vec<Simplex>) {
    let (lower, upper) = program.bounds(variable);
    let (mut below, mut above) = (program.clone(), program);
    below.bound(variable, lower, value.floor());
    above.bound(variable, value.ceil(), upper);
    match value - value.floor() < 0.5 {
        true => open.extend([above, below]),
        false => open.extend([below, above]),
    }
}

fn most_fractional(values: &[f64]) -> Option<(usize, f64)> {
    let off = |value: f64| (value - value.round()).abs();
    let fractional = values.iter().copied().enumerate().filter(|(_, value)| off(*value) > WHOLE);
    fractional.max_by(|a, b| off(a.1).total_cmp(&off(b.1)).then(b.0.cmp(&a.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simplex::Column;

    /// Maximise value within a weight, each thing once: 8, 11, 6, 4 of weights 5, 7, 4, 3, within 14.
    fn knapsack(least: f64) -> Simplex {
        let things = [(8.0, 5.0), (11.0, 7.0), (6.0, 4.0), (4.0, 3.0)].into_iter();
        let column = |(value, weight): (f64, f64)| Column {
            entries: vec![(0, weight)],
            lower: 0.0,
            upper: 1.0,
            start: 0.0,
            cost: -value,
        };
        Simplex::new(things.map(column).collect(), &[(least, 14.0)])
    }

    #[test]
    fn the_best_whole_choice_is_not_the_rounded_one() {
        // In fractions 22 (half of the third); in whole things 21, without the first, which goes first by value.
        assert_eq!(minimise(knapsack(0.0), 4, Goal::WholeCost), Ok(Some(vec![0, 1, 1, 1])));
        assert_eq!(minimise(knapsack(0.0), 4, Goal::Nodes(100)), Ok(Some(vec![0, 1, 1, 1])));
    }

    #[test]
    fn what_only_fractions_meet_has_no_solution() {
        assert_eq!(minimise(knapsack(13.5), 4, Goal::Any), Ok(Some(vec![0, 1, 1, 1])));
        let pair = |at: u32| Column {
            entries: vec![(at, 1.0), ((at + 1) % 3, 1.0)],
            lower: 0.0,
            upper: 9.0,
            start: 0.0,
            cost: 0.0,
        };
        let triangle = Simplex::new((0..3).map(pair).collect(), &[(1.0, 1.0); 3]);
        assert_eq!(minimise(triangle, 3, Goal::Any), Ok(None));
    }
}
