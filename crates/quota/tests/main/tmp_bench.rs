use crate::instances::{cells, seeded};
use quota::*;
use std::time::Instant;
fn rule(c: &str) -> Rule {
    Rule { strata: vec![c.into()], ..Rule::default() }
}
fn go(name: &str, rules: &Rules, cells: &[Cell]) {
    let t = Instant::now();
    let r = solve(rules, cells);
    let told = match &r {
        Ok(q) => format!("ok {}", q.iter().sum::<u64>()),
        Err(SolveError::Infeasible(w)) => format!("conflict {} relaxed {}", w.conflict.len(), w.relaxed.len()),
        Err(e) => e.to_string(),
    };
    println!("{name}: {:?} {} cells {told}", t.elapsed(), cells.len());
}
#[test]
fn bench() {
    let c200 = cells(&mut seeded(3), &[200], 100_000);
    go(
        "200 one rule",
        &Rules {
            size: Some(1_000_000),
            rules: vec![Rule { min_each: Some(2000), max_each: Some(8000), ..rule("a") }],
            ..Rules::default()
        },
        &c200,
    );
    go(
        "200 one rule infeasible",
        &Rules { size: Some(1_000_000), rules: vec![Rule { min_each: Some(6000), ..rule("a") }], ..Rules::default() },
        &c200,
    );
    let mut named = rule("a");
    for i in 0..200 {
        named.share.insert(format!("a{i}"), 0.005);
    }
    go("200 shares no size", &Rules { rules: vec![named.clone()], ..Rules::default() }, &c200);
    go("200 shares infeasible", &Rules { size: Some(10_000_000), rules: vec![named], ..Rules::default() }, &c200);
    for (n, dims) in
        [("700x7", &[700usize, 7][..]), ("300x300", &[300, 300]), ("20x20x14", &[20, 20, 14]), ("9^4", &[9, 9, 9, 9])]
    {
        let c = cells(&mut seeded(4), dims, 1_000_000);
        let s: u64 = c.iter().map(|c| c.supply).sum();
        for (m, f) in [("loose", 0.7), ("tight", 0.97), ("infeasible", 1.02)] {
            let size = s / 10;
            let rules = dims
                .iter()
                .enumerate()
                .map(|(i, d)| Rule {
                    min_each: Some((size as f64 * f / *d as f64) as u64),
                    max_each: Some((size as f64 * 1.1 / *d as f64) as u64),
                    ..rule(["a", "b", "c", "d"][i])
                })
                .collect::<Vec<_>>();
            go(&format!("{n} {m}"), &Rules { size: Some(size), rules: rules.clone(), ..Rules::default() }, &c);
            if m == "loose" {
                let mut rules = rules;
                rules[0].share =
                    [("a0".to_string(), 0.01), ("a1".to_string(), 0.013), ("other".to_string(), 0.977)].into();
                rules[0].min_each = None;
                go(&format!("{n} no size, share"), &Rules { rules, ..Rules::default() }, &c);
            }
        }
    }
    let c = cells(&mut seeded(5), &[100_000], 1000);
    go("100k no size", &Rules { rules: vec![Rule { max_each: Some(300), ..rule("a") }], ..Rules::default() }, &c);
    go(
        "100k infeasible",
        &Rules { size: Some(1_000_000), rules: vec![Rule { min_each: Some(20), ..rule("a") }], ..Rules::default() },
        &c,
    );
    let c: Vec<Cell> = c.into_iter().filter(|c| c.supply >= 20).collect();
    go(
        "100k infeasible by size",
        &Rules { size: Some(1_000_000), rules: vec![Rule { min_each: Some(20), ..rule("a") }], ..Rules::default() },
        &c,
    );
}
