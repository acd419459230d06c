//! Rules that cannot be met: what is named, that it is minimal, and what is given instead.

use std::collections::BTreeSet;

use quota::{Cell, Rules, SolveError, relax, solve};
use rand::RngExt;

use crate::instances::{cell, cells, rules, seeded};
use crate::oracle::{id, missed, possible};

/// Each: rules, the conflict (`rule.key.stratum=demand/supply`), what gives (`...->given`).
const HOPELESS: [(&str, &str, &str); 10] = [
    ("size = 500", "size=500/430", "size=500/430->430"),
    ("size = 10\n[[rule]]\nstrata=['d']\nmin={tv=200}", "1.min.tv=200/110", "1.min.tv=200/110->10"),
    (
        "size = 100\n[[rule]]\nstrata=['d']\nmin={tv=60, web=70}\nmax={phone=5}",
        "size=100/430 1.min.tv=60/110 1.min.web=70/120",
        "1.min.tv=60/110->30",
    ),
    (
        "size = 400\n[[rule]]\nstrata=['d']\nmax={tv=50}\n[[rule]]\nstrata=['c']\nmin={FR=1}",
        "size=400/430 1.max.tv=50/110",
        "1.max.tv=50/110->80",
    ),
    (
        "size = 100\n[[rule]]\nstrata=['d']\nshare={tv=0.5, web=0.5}\n[[rule]]\nstrata=['c']\nmin={JP=1}",
        "1.share.phone=0/200 2.min.JP=1/10",
        "2.min.JP=1/10->0",
    ),
    (
        "size = 200\n[[rule]]\nname='d'\nstrata=['d']\nmax={tv=10}\npriority=2\n\
         [[rule]]\nstrata=['c']\nmin={FR=140}\npriority=1",
        "1.max.tv=10/110 2.min.FR=140/140",
        "1.max.tv=10/110->60",
    ),
    (
        "size = 200\n[[rule]]\nstrata=['d']\nmax={tv=10}\npriority=1\n[[rule]]\nstrata=['c']\nmin={FR=140}\npriority=2",
        "1.max.tv=10/110 2.min.FR=140/140",
        "2.min.FR=140/140->90",
    ),
    (
        "max_size = 50\n[[rule]]\nstrata=['c']\nmin_each=10\nexact={US=35}",
        "max_size=50/430 1.exact.US=35/280 1.min_each.FR=10/140 1.min_each.JP=10/10",
        "1.min_each.JP=10/10->5",
    ),
    (
        "size = 100\n[[rule]]\nstrata=['d']\nat_least={tv=0.5}\n[[rule]]\nstrata=['d']\nat_most={tv=0.4}",
        "size=100/430 1.at_least.tv=50/110 2.at_most.tv=40/110",
        "1.at_least.tv=50/110->40",
    ),
    (
        "[[rule]]\nstrata=['d']\nshare={tv=0.5, other=0.5}\npriority=1\n[[rule]]\nstrata=['c']\nmin={US=250}",
        "1.share.other=111/320 2.min.US=250/280",
        "2.min.US=250/280->161",
    ),
];

/// Devices by countries.
fn world() -> Vec<Cell> {
    vec![
        cell(&["tv", "US"], 50),
        cell(&["tv", "FR"], 60),
        cell(&["phone", "US"], 150),
        cell(&["phone", "FR"], 40),
        cell(&["phone", "JP"], 10),
        cell(&["web", "US"], 80),
        cell(&["web", "FR"], 40),
    ]
}

fn told(clause: &quota::Clause) -> String {
    let rule = clause.rule.map(|rule| format!("{}.", rule + 1)).unwrap_or_default();
    let stratum = clause.stratum.as_ref().map(|stratum| format!(".{stratum}")).unwrap_or_default();
    format!("{rule}{}{stratum}={}/{}", clause.kind.key(), clause.demand, clause.supply)
}

#[test]
fn ten_hopeless_files_name_exactly_what_conflicts() {
    for (text, conflict, gives) in HOPELESS {
        let rules = Rules::parse(text).unwrap();
        let labels = |cell: &Cell| {
            let label = |rule: &quota::Rule| cell.labels[usize::from(rule.strata == ["c"])].clone();
            Cell { labels: rules.rules.iter().map(label).collect(), supply: cell.supply }
        };
        let cells: Vec<Cell> = world().iter().map(labels).collect();
        let Err(SolveError::Infeasible(why)) = solve(&rules, &cells) else { panic!("solved: {text}") };
        assert_eq!(why.conflict.iter().map(told).collect::<Vec<_>>().join(" "), conflict, "{text}");
        let gave = why.relaxed.iter().map(|relaxed| format!("{}->{}", told(&relaxed.clause), relaxed.given));
        assert_eq!(gave.collect::<Vec<_>>().join(" "), gives, "{text}");
        minimal(&rules, &cells, &why.conflict, text);
        let (quotas, relaxed) = relax(&rules, &cells).unwrap();
        assert_eq!(relaxed, why.relaxed, "{text}");
        assert_eq!(missed(&rules, &cells, &quotas).len(), relaxed.len(), "{text}");
    }
}

/// That these clauses cannot be met together, and all but any one of them can.
fn minimal(rules: &Rules, cells: &[Cell], conflict: &[quota::Clause], told: &str) {
    let named: BTreeSet<_> = conflict.iter().map(id).collect();
    assert!(!possible(rules, cells, |id| named.contains(id)), "no conflict: {conflict:?} in {told}");
    for spared in &named {
        let rest = possible(rules, cells, |id| id != spared && named.contains(id));
        assert!(rest, "{spared:?} is not needed in {conflict:?} of {told}");
    }
}

#[test]
fn conflicts_of_made_up_rules_are_minimal() {
    let mut found = 0;
    for seed in 0..1000 {
        let mut rng = seeded(seed);
        let sizes: Vec<usize> = (0..rng.random_range(1..=3)).map(|_| rng.random_range(2..=4)).collect();
        let cells = cells(&mut rng, &sizes, 8);
        let rules = rules(&mut rng, &cells);
        let Err(SolveError::Infeasible(why)) = solve(&rules, &cells) else { continue };
        minimal(&rules, &cells, &why.conflict, &format!("seed {seed}"));
        assert!(!why.relaxed.is_empty(), "seed {seed}");
        found += 1;
    }
    assert!(found > 80, "only {found} of 1000 are infeasible");
}

#[test]
fn the_message_says_what_is_asked_for_and_what_there_is() {
    let rules = Rules::parse("size = 9\n[[rule]]\nname='by country'\nstrata=['c']\nmin={US=7}").unwrap();
    let error = solve(&rules, &[cell(&["US"], 5), cell(&["FR"], 9)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rules cannot be met together; in conflict:\n  rule 1 (by country): min.US asks for 7 rows; there are 5\n\
         nearest that can be met (--relax):\n  rule 1 (by country): min.US asks for 7 rows; there are 5: gets 5"
    );
    let error = solve(&rules, &[cell(&[], 5)]).unwrap_err();
    assert_eq!(error.to_string(), "cell 0 has 0 labels for 1 rules; give it one a rule");
}
