//! Made-up instances by the hundred.

use std::collections::BTreeSet;

use quota::{Cell, Rules, SolveError, relax, solve};
use rand::RngExt;

use crate::instances::{cells, rules, seeded, shuffle};
use crate::oracle::{self, distance, everything, id, missed};

/// That the answer is right as to whether there is one, and meets the rules; the quotas if there are any.
fn checked(seed: u64, rules: &Rules, cells: &[Cell], possible: bool) -> Option<Vec<u64>> {
    match solve(rules, cells) {
        Ok(quotas) => {
            assert!(possible, "seed {seed}: solved what has no solution: {rules:?}");
            let missed = missed(rules, cells, &quotas);
            assert!(missed.is_empty(), "seed {seed}: {missed:?} in {quotas:?}");
            Some(quotas)
        }
        Err(SolveError::Infeasible(why)) => {
            assert!(!possible, "seed {seed}: refused what has a solution: {why}\n{rules:?}\n{cells:?}");
            None
        }
        Err(error) => panic!("seed {seed}: {error}"),
    }
}

#[test]
fn one_partition_agrees_with_another_solver_and_no_exchange_of_two_rows_helps() {
    let mut solved = 0;
    for seed in 0..1000 {
        let mut rng = seeded(seed);
        let strata = rng.random_range(2..=200);
        let cells = cells(&mut rng, &[strata], 1000);
        let mut rules = rules(&mut rng, &cells);
        let total = rules.max_size.take();
        rules.size = rules.size.or(total).or(Some(cells.len() as u64));
        let Some(quotas) = checked(seed, &rules, &cells, oracle::possible(&rules, &cells, |_| true)) else { continue };
        solved += 1;
        // Where a row cannot go from one cell to another without breaking a rule, it must stay.
        let plain = oracle::clauses(&rules, &cells, rules.size.unwrap());
        let (mut least, mut most) = (vec![0; cells.len()], cells.iter().map(|cell| cell.supply).collect::<Vec<_>>());
        let mut whole = vec![0; cells.len()];
        for (at, plain) in plain.iter().enumerate().filter(|(_, plain)| plain.cells.len() < cells.len()) {
            if let [cell] = plain.cells[..] {
                (least[cell], most[cell]) = (plain.least.max(least[cell]), plain.most.min(most[cell]));
            } else {
                plain.cells.iter().for_each(|cell| whole[*cell] = at);
            }
        }
        for (from, to) in (0..cells.len()).flat_map(|from| (0..cells.len()).map(move |to| (from, to))) {
            if whole[from] == whole[to] && quotas[from] > least[from] && quotas[to] < most[to] {
                let gain = u128::from(2 * quotas[from] - 1) * u128::from(cells[to].supply);
                let loss = u128::from(2 * quotas[to] + 1) * u128::from(cells[from].supply);
                assert!(from == to || gain <= loss, "seed {seed}: a row of cell {from} is better in {to}");
            }
        }
    }
    assert!((300..900).contains(&solved), "{solved} of 1000 have a solution: no test of both");
}

#[test]
fn overlapping_rules_agree_with_another_solver() {
    let mut solved = 0;
    for seed in 0..500 {
        let mut rng = seeded(seed);
        let sizes: Vec<usize> = (0..rng.random_range(2..=3)).map(|_| rng.random_range(2..=6)).collect();
        let cells = cells(&mut rng, &sizes, 40);
        let mut rules = rules(&mut rng, &cells);
        rules.size = rules.size.or(rules.max_size.take()).or(Some(20));
        let possible = oracle::possible(&rules, &cells, |_| true);
        solved += usize::from(checked(seed, &rules, &cells, possible).is_some());
    }
    assert!((100..400).contains(&solved), "{solved} of 500 have a solution: no test of both");
}

/// Small enough to try everything, in one, two and three partitions.
fn small(seed: u64) -> (Rules, Vec<Cell>) {
    let mut rng = seeded(seed);
    let sizes: &[usize] = [&[6][..], &[5], &[3, 2], &[2, 2], &[2, 2, 2], &[3]][rng.random_range(0..6)];
    let mut cells = cells(&mut rng, sizes, if sizes.len() == 3 { 3 } else { 5 });
    cells.truncate(if sizes.len() == 3 { 8 } else { 6 });
    (rules(&mut rng, &cells), cells)
}

#[test]
fn trying_everything_finds_no_larger_total_and_nothing_nearer() {
    let (mut solved, mut off) = (0, 0);
    for seed in 0..1500 {
        let (rules, cells) = small(seed);
        let all = everything(&cells);
        let met: Vec<&Vec<u64>> = all.iter().filter(|quotas| missed(&rules, &cells, quotas).is_empty()).collect();
        let total = met.iter().map(|quotas| quotas.iter().sum::<u64>()).max();
        let best = met.iter().filter(|quotas| Some(quotas.iter().sum()) == total);
        let best = best.map(|quotas| distance(&cells, quotas)).min_by(f64::total_cmp);
        let Some(quotas) = checked(seed, &rules, &cells, best.is_some()) else { continue };
        solved += 1;
        assert_eq!(Some(quotas.iter().sum()), total, "seed {seed}: {rules:?}");
        let (found, best) = (distance(&cells, &quotas), best.unwrap());
        if rules.rules.len() < 3 {
            assert!(found < best + 1e-9, "seed {seed}: {found} over {best}: {quotas:?}\n{rules:?}\n{cells:?}");
        }
        off += usize::from(found > best + 1e-9);
    }
    assert!((400..1400).contains(&solved), "{solved} of 1500 have a solution: no test of both");
    assert!(off <= 5, "with three partitions {off} are not the nearest");
}

#[test]
fn trying_everything_finds_nothing_that_gives_less() {
    let mut bent = 0;
    for seed in 0..2000 {
        let (rules, cells) = small(seed);
        let (quotas, relaxed) = relax(&rules, &cells).unwrap();
        let missed = missed(&rules, &cells, &quotas);
        let told = relaxed.iter().map(|relaxed| (id(&relaxed.clause), relaxed.given));
        let seen: BTreeSet<_> = missed.iter().map(|(plain, has)| (plain.id.clone(), *has)).collect();
        assert_eq!(told.collect::<BTreeSet<_>>(), seen, "seed {seed}: {rules:?}");
        bent += usize::from(!missed.is_empty());
        let found = by_class(&rules, &cells, &quotas);
        let best = everything(&cells).iter().map(|quotas| by_class(&rules, &cells, quotas)).min().unwrap();
        assert_eq!(found, best, "seed {seed}: {rules:?}\n{cells:?}\n{quotas:?}");
    }
    assert!(bent > 100, "only {bent} rules had to give");
}

/// The rows missed, by class: size, then priorities upwards, then rules without one.
fn by_class(rules: &Rules, cells: &[Cell], quotas: &[u64]) -> Vec<u64> {
    let mut classes = vec![0; 5];
    for (plain, has) in missed(rules, cells, quotas) {
        let priority = |rule: usize| rules.rules[rule].priority.map_or(4, |priority| 1 + priority as usize);
        classes[plain.id.0.map_or(0, priority)] += plain.least.saturating_sub(has) + has.saturating_sub(plain.most);
    }
    classes
}

#[test]
fn the_order_of_the_cells_says_nothing() {
    for seed in 0..200 {
        let mut rng = seeded(seed);
        let mut cells = cells(&mut rng, &[5, 4, 3], 30);
        let rules = rules(&mut rng, &cells);
        let answer = |cells: &[Cell]| match solve(&rules, cells) {
            Ok(quotas) => {
                let mut rows: Vec<_> =
                    cells.iter().zip(quotas).map(|(cell, quota)| (cell.labels.clone(), quota)).collect();
                rows.sort();
                Ok(rows)
            }
            Err(error) => Err(error),
        };
        let first = answer(&cells);
        shuffle(&mut cells, &mut rng);
        assert_eq!(answer(&cells), first, "seed {seed}");
    }
}
