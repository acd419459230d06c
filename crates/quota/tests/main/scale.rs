//! Sizes that must be no wait. The bounds are far above what they take: they are for a method that has gone wrong.

use std::collections::BTreeMap;

use quota::{Rule, Rules, solve};

use crate::instances::{cells, seeded};
use crate::oracle::missed;

#[test]
fn a_hundred_thousand_strata_of_one_rule() {
    let mut cells = cells(&mut seeded(1), &[100_000], 1000);
    let rule = Rule { strata: vec!["c".into()], min_each: Some(1), max_each: Some(300), ..Rule::default() };
    cells.retain(|cell| cell.supply > 0);
    let rules = Rules { size: Some(20_000_000), rules: vec![rule], ..Rules::default() };
    assert!(missed(&Rules { rules: vec![], ..rules.clone() }, &cells, &solve(&rules, &cells).unwrap()).is_empty());
}

#[test]
fn three_rules_of_five_thousand_cells() {
    let cells = cells(&mut seeded(2), &[25, 20, 11], 1000);
    let share = |parts: &[(&str, f64)]| {
        parts.iter().map(|(label, part)| ((*label).to_owned(), *part)).collect::<BTreeMap<_, _>>()
    };
    let rule = |column: &str| Rule { strata: vec![column.into()], ..Rule::default() };
    let rules = Rules {
        size: Some(200_000),
        rules: vec![
            Rule { min_each: Some(7_000), max_each: Some(9_000), ..rule("a") },
            Rule { share: share(&[("b0", 0.1), ("b1", 0.2), ("other", 0.7)]), max_each: Some(45_000), ..rule("b") },
            Rule { at_least: share(&[("c3", 0.2)]), at_most: share(&[("c4", 0.05)]), min_each: Some(100), ..rule("c") },
        ],
        ..Rules::default()
    };
    assert_eq!(missed(&rules, &cells, &solve(&rules, &cells).unwrap()).len(), 0);
}
