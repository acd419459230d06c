//! Made-up rules and cells, from a seed that is printed where a test fails.

use quota::{Cell, Rule, Rules};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub fn cell(labels: &[&str], supply: u64) -> Cell {
    Cell { labels: labels.iter().map(|label| (*label).to_owned()).collect(), supply }
}

/// Every combination of `sizes[r]` strata in each rule r, some of them missing.
pub fn cells(rng: &mut ChaCha8Rng, sizes: &[usize], most: u64) -> Vec<Cell> {
    let mut cells = vec![Cell { labels: Vec::new(), supply: 0 }];
    for (rule, size) in sizes.iter().enumerate() {
        let label = |at: usize| format!("{}{at}", char::from(b'a' + rule as u8));
        let wider = |cell: &Cell| {
            let labels = cell.labels.clone();
            (0..*size).map(move |at| Cell { labels: [&labels[..], &[label(at)]].concat(), supply: 0 })
        };
        cells = cells.iter().flat_map(|cell| wider(cell).collect::<Vec<_>>()).collect();
    }
    cells.iter_mut().for_each(|cell| cell.supply = rng.random_range(0..=most));
    if cells.len() > 2 {
        cells.retain(|_| rng.random_range(0..10) > 0);
    }
    cells
}

/// One rule over the `index`-th labels, of clauses near what the supply in proportion would give of `total`.
pub fn rule(rng: &mut ChaCha8Rng, cells: &[Cell], index: usize, total: u64) -> Rule {
    let mut labels: Vec<&String> = cells.iter().map(|cell| &cell.labels[index]).collect();
    labels.sort();
    labels.dedup();
    let all: u64 = cells.iter().map(|cell| cell.supply).sum();
    let mut rule = Rule { strata: vec![format!("c{index}")], ..Rule::default() };
    let share = rng.random_range(0..3) == 0;
    for label in &labels {
        let supply: u64 = cells.iter().filter(|cell| cell.labels[index] == **label).map(|cell| cell.supply).sum();
        let fair = total * supply / all.max(1);
        let permille = 1000 * supply / all.max(1);
        let near = |rng: &mut ChaCha8Rng, fair: u64| fair * rng.random_range(50..=130) / 100;
        let part = |permille: u64| permille.min(1000) as f64 / 1000.0;
        let label = (*label).clone();
        match rng.random_range(0..12) {
            0 | 1 => drop(rule.min.insert(label, near(rng, fair))),
            2 | 3 => drop(rule.max.insert(label, near(rng, fair + 1) + fair / 4)),
            4 => drop(rule.exact.insert(label, near(rng, fair))),
            5 => drop(rule.at_least.insert(label, part(near(rng, permille * 3 / 4)))),
            6 => drop(rule.at_most.insert(label, part(near(rng, permille * 3 / 2)))),
            7 | 8 if share => drop(rule.share.insert(label, part(near(rng, permille * 3 / 4)))),
            _ => {}
        }
    }
    if !rule.share.is_empty() {
        let named: u64 = rule.share.values().map(|part| (part * 1000.0).round() as u64).sum();
        match named {
            0..=1000 => drop(rule.share.insert("other".into(), (1000 - named) as f64 / 1000.0)),
            _ => rule.share.clear(),
        }
    }
    let fair = total / labels.len().max(1) as u64;
    rule.min_each = (rng.random_range(0..6) == 0).then(|| fair * rng.random_range(0..60) / 100);
    rule.max_each = (rng.random_range(0..6) == 0).then(|| fair * rng.random_range(100..300) / 100 + 1);
    rule.priority = (rng.random_range(0..2) == 0).then(|| rng.random_range(0..3));
    rule
}

/// Rules over all labels of `cells`, with a size, a greatest size or neither.
pub fn rules(rng: &mut ChaCha8Rng, cells: &[Cell]) -> Rules {
    let all: u64 = cells.iter().map(|cell| cell.supply).sum();
    let total = all * rng.random_range(5..=80) / 100;
    let labels = cells.first().map_or(0, |cell| cell.labels.len());
    let rules = (0..labels).map(|index| rule(rng, cells, index, total)).collect();
    let (size, max_size) = match rng.random_range(0..4) {
        0 => (None, None),
        1 => (None, Some(total)),
        _ => (Some(total), None),
    };
    Rules { size, max_size, rules, negatives: None }
}

pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.random_range(0..=at));
    }
}
