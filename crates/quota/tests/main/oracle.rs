//! What rules mean, said a second time and in the plainest way, and whether numbers exist that meet them: by trying
//! all of them, or by a solver of another author.

use std::collections::BTreeSet;

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use quota::{Cell, Clause, Kind, Rules};

/// Rule, key, stratum.
pub type Id = (Option<usize>, Kind, Option<String>);

pub fn id(clause: &Clause) -> Id {
    (clause.rule, clause.kind, clause.stratum.clone())
}

/// A clause at a known total: the cells it is about, the least and the most of their sum.
#[derive(Debug, Clone)]
pub struct Plain {
    pub id: Id,
    pub cells: Vec<usize>,
    pub least: u64,
    pub most: u64,
}

const ANY: u64 = u64::MAX;

pub fn clauses(rules: &Rules, cells: &[Cell], total: u64) -> Vec<Plain> {
    let mut plain = Vec::new();
    let everything: Vec<usize> = (0..cells.len()).collect();
    if let Some(size) = rules.size {
        plain.push(Plain { id: (None, Kind::Size, None), cells: everything.clone(), least: size, most: size });
    }
    if let Some(size) = rules.max_size {
        plain.push(Plain { id: (None, Kind::MaxSize, None), cells: everything, least: 0, most: size });
    }
    for (index, rule) in rules.rules.iter().enumerate() {
        let of = |label: &str| (0..cells.len()).filter(|at| cells[*at].labels[index] == label).collect::<Vec<_>>();
        let labels: BTreeSet<&String> = cells.iter().map(|cell| &cell.labels[index]).collect();
        let mut push = |kind, label: &str, cells, least, most| {
            plain.push(Plain { id: (Some(index), kind, Some(label.to_owned())), cells, least, most });
        };
        rule.min.iter().for_each(|(label, count)| push(Kind::Min, label, of(label), *count, ANY));
        rule.max.iter().for_each(|(label, count)| push(Kind::Max, label, of(label), 0, *count));
        rule.exact.iter().for_each(|(label, count)| push(Kind::Exact, label, of(label), *count, *count));
        for label in &labels {
            match rule.min_each {
                Some(count) if !rule.min.contains_key(*label) => push(Kind::MinEach, label, of(label), count, ANY),
                _ => {}
            }
            match rule.max_each {
                Some(count) if !rule.max.contains_key(*label) => push(Kind::MaxEach, label, of(label), 0, count),
                _ => {}
            }
        }
        // The tests write proportions in thousandths.
        let thousandths = |part: &f64| (part * 1000.0).round() as u64;
        for (label, part) in &rule.at_least {
            push(Kind::AtLeast, label, of(label), (thousandths(part) * total).div_ceil(1000), ANY);
        }
        for (label, part) in &rule.at_most {
            push(Kind::AtMost, label, of(label), 0, thousandths(part) * total / 1000);
        }
        let mut rows: Vec<(u64, u64, &String)> = rule
            .share
            .iter()
            .map(|(label, part)| (thousandths(part) * total / 1000, thousandths(part) * total % 1000, label))
            .collect();
        let left = total.saturating_sub(rows.iter().map(|row| row.0).sum());
        rows.sort_by_key(|row| (std::cmp::Reverse(row.1), row.2));
        let left = if rule.share.is_empty() { 0 } else { left as usize };
        rows.iter_mut().take(left).for_each(|row| row.0 += 1);
        for (count, _, label) in &rows {
            let named = |label: &str| label != "other" && rule.share.contains_key(label);
            let cells = match label.as_str() {
                "other" => (0..cells.len()).filter(|at| !named(&cells[*at].labels[index])).collect(),
                label => of(label),
            };
            push(Kind::Share, label, cells, *count, *count);
        }
        if !rule.share.is_empty() && !rule.share.contains_key("other") {
            for label in labels.iter().filter(|label| !rule.share.contains_key(**label)) {
                push(Kind::Share, label, of(label), 0, 0);
            }
        }
    }
    plain
}

/// The clauses that quotas miss, with what they have.
pub fn missed(rules: &Rules, cells: &[Cell], quotas: &[u64]) -> Vec<(Plain, u64)> {
    assert_eq!(quotas.len(), cells.len());
    assert!(cells.iter().zip(quotas).all(|(cell, quota)| *quota <= cell.supply), "a quota over its supply");
    let total = rules.size.unwrap_or(quotas.iter().sum());
    let sum = |plain: &Plain| plain.cells.iter().map(|cell| quotas[*cell]).sum::<u64>();
    let sums = clauses(rules, cells, total).into_iter().map(|plain| (sum(&plain), plain));
    sums.filter(|(sum, plain)| *sum < plain.least || *sum > plain.most).map(|(sum, plain)| (plain, sum)).collect()
}

/// `sum of quota^2 / supply`.
pub fn distance(cells: &[Cell], quotas: &[u64]) -> f64 {
    let squares = cells.iter().zip(quotas).filter(|(cell, _)| cell.supply > 0);
    squares.map(|(cell, quota)| (*quota as f64).powi(2) / cell.supply as f64).sum()
}

/// Every list of quotas there can be; for a handful of small cells.
pub fn everything(cells: &[Cell]) -> Vec<Vec<u64>> {
    cells.iter().fold(vec![Vec::new()], |lists, cell| {
        let longer =
            |list: &Vec<u64>| (0..=cell.supply).map(|quota| [&list[..], &[quota]].concat()).collect::<Vec<_>>();
        lists.iter().flat_map(longer).collect()
    })
}

/// Whether whole numbers meet the clauses that `keep` names, of `total` rows in all.
pub fn feasible(rules: &Rules, cells: &[Cell], total: u64, keep: impl Fn(&Id) -> bool) -> bool {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let variables: Vec<_> =
        cells.iter().map(|cell| problem.add_integer_var(0.0, (0, i32::try_from(cell.supply).unwrap()))).collect();
    let sum = |cells: &[usize]| cells.iter().map(|cell| (variables[*cell], 1.0)).collect::<Vec<_>>();
    let all: Vec<usize> = (0..cells.len()).collect();
    problem.add_constraint(&sum(&all)[..], ComparisonOp::Eq, total as f64);
    for plain in clauses(rules, cells, total).iter().filter(|plain| keep(&plain.id)) {
        if plain.cells.is_empty() && plain.least > 0 {
            return false;
        }
        if plain.least > 0 {
            problem.add_constraint(&sum(&plain.cells)[..], ComparisonOp::Ge, plain.least as f64);
        }
        if plain.most < ANY {
            problem.add_constraint(&sum(&plain.cells)[..], ComparisonOp::Le, plain.most as f64);
        }
    }
    match problem.solve() {
        Ok(outcome) => outcome.solution().is_some(),
        Err(microlp::Error::Infeasible) => false,
        Err(error) => panic!("the oracle gave up: {error}"),
    }
}

/// Whether the clauses that `keep` names can be met with any total.
pub fn possible(rules: &Rules, cells: &[Cell], keep: impl Fn(&Id) -> bool) -> bool {
    let all: u64 = cells.iter().map(|cell| cell.supply).sum();
    match rules.size.filter(|_| keep(&(None, Kind::Size, None))) {
        Some(size) => size <= all && feasible(rules, cells, size, keep),
        None => (0..=all).rev().any(|total| feasible(rules, cells, total, &keep)),
    }
}
