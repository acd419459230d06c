//! What quotas achieve of what the rules ask for, for the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clause::{Cell, Kind};
use crate::problem::Problem;
use crate::rules::{Rule, Rules};
use crate::unsolved::SolveError;

/// Achieved against desired, of a whole sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Achieved {
    /// Rows there were.
    pub supply: u64,
    /// Of these, rows to choose from, where there are fewer: negatives in proportion to the positives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Rows chosen.
    pub total: u64,
    /// The greatest [`RuleAchieved::largest_deviation`].
    pub largest_deviation: f64,
    /// One for each rule, in order.
    pub rules: Vec<RuleAchieved>,
}

/// One rule's strata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleAchieved {
    /// The rule, counted from 0.
    pub rule: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its columns.
    pub strata: Vec<String>,
    /// One for each stratum that occurs or that the rule names, by label; then `other`, if `share` names it.
    pub lines: Vec<Line>,
    /// The greatest of the lines' deviations, without their signs.
    pub largest_deviation: f64,
    /// For a rule with `share`: the Kullback-Leibler divergence `sum of a ln(a / d)` over the groups of `share`, with
    /// `a` achieved and `d` desired proportions, and 0 ln 0 = 0. `None` where it is infinite (rows of a group that was
    /// to have none) and without `share`.
    pub kl_divergence: Option<f64>,
    /// For a rule with `share`: Pearson's `sum of (n - total d)^2 / (total d)` over its groups of rows `n` whose `d`
    /// is not 0.
    pub chi_square: Option<f64>,
}

/// One stratum of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its label.
    pub stratum: String,
    /// Whether it is all strata together that `share` does not name.
    pub rest: bool,
    /// Rows there were.
    pub supply: u64,
    /// Of these, rows to choose from, where there are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Rows chosen.
    pub count: u64,
    /// Of all rows chosen; 0 if there are none.
    pub share: f64,
    /// The proportion that `share` asks for.
    pub desired: Option<f64>,
    /// The least rows that the clauses ask for, if any do.
    pub least: Option<u64>,
    /// The most rows that they allow, if any do.
    pub most: Option<u64>,
    /// `share - desired`; without a desired share the rows below `least` (negative) or above `most`, of all chosen.
    pub deviation: f64,
}

/// The summary of `quotas`, one for each of `cells`, under `rules`. `there` are the rows of each cell before some were
/// left out, so that there is more of it than its supply.
pub fn achieved(rules: &Rules, cells: &[Cell], there: &[u64], quotas: &[u64]) -> Result<Achieved, SolveError> {
    let problem = Problem::of(rules, cells)?;
    let (supply, total) = (there.iter().sum(), quotas.iter().sum());
    let to_choose = cells.iter().map(|cell| cell.supply).sum::<u64>();
    let left = (to_choose < supply).then_some(to_choose);
    let rows = problem.demands.at(rules.size.unwrap_or(total));
    let rules: Vec<RuleAchieved> = rules
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let mut table = Table::of(cells, there, quotas, index, total);
            for (at, demand) in problem.demands.all.iter().enumerate().filter(|(_, it)| it.clause.rule == Some(index)) {
                table.ask(rule, demand.clause.kind, demand.clause.stratum.as_deref().unwrap_or_default(), rows[at]);
            }
            table.finish(index, rule)
        })
        .collect();
    let largest_deviation = rules.iter().map(|rule| rule.largest_deviation).fold(0.0, f64::max);
    Ok(Achieved { supply, left, total, largest_deviation, rules })
}

/// The lines of a rule, the rest after all others.
struct Table {
    total: u64,
    lines: BTreeMap<(bool, String), Line>,
}

impl Table {
    fn of(cells: &[Cell], there: &[u64], quotas: &[u64], rule: usize, total: u64) -> Table {
        let mut table = Table { total, lines: BTreeMap::new() };
        for ((cell, there), quota) in cells.iter().zip(there).zip(quotas) {
            let line = table.line(false, &cell.labels[rule]);
            line.supply += there;
            line.left = Some(line.left.unwrap_or(0) + cell.supply);
            line.count += quota;
        }
        table
    }

    fn line(&mut self, rest: bool, stratum: &str) -> &mut Line {
        self.lines.entry((rest, stratum.to_owned())).or_insert_with(|| Line {
            stratum: stratum.to_owned(),
            rest,
            supply: 0,
            left: None,
            count: 0,
            share: 0.0,
            desired: None,
            least: None,
            most: None,
            deviation: 0.0,
        })
    }

    fn ask(&mut self, rule: &Rule, kind: Kind, stratum: &str, rows: u64) {
        let rest = kind == Kind::Share && rule.shares_rest(stratum);
        if rest {
            let others = self.lines.values().filter(|line| !rule.names_in_share(&line.stratum));
            let of = |line: &Line| [line.supply, line.left.unwrap_or(line.supply), line.count];
            let [supply, left, count] =
                others.map(of).fold([0; 3], |sum, of| [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]]);
            let line = self.line(true, stratum);
            (line.supply, line.left, line.count) = (supply, Some(left), count);
        }
        let line = self.line(rest, stratum);
        if kind == Kind::Share {
            line.desired = Some(rule.share.get(stratum).copied().unwrap_or(0.0));
        }
        if kind.binds_below() {
            line.least = Some(line.least.map_or(rows, |least| least.max(rows)));
        }
        if kind.binds_above() {
            line.most = Some(line.most.map_or(rows, |most| most.min(rows)));
        }
    }

    fn finish(self, index: usize, rule: &Rule) -> RuleAchieved {
        let of_total = |rows: f64| if self.total == 0 { 0.0 } else { rows / self.total as f64 };
        let mut lines: Vec<Line> = self.lines.into_values().collect();
        for line in &mut lines {
            line.left = line.left.filter(|left| *left < line.supply);
            line.share = of_total(line.count as f64);
            let below = line.least.map_or(0, |least| least.saturating_sub(line.count));
            let above = line.most.map_or(0, |most| line.count.saturating_sub(most));
            line.deviation = match line.desired {
                Some(desired) => line.share - desired,
                None => of_total(above as f64 - below as f64),
            };
        }
        let groups: Vec<(f64, f64)> = lines.iter().filter_map(|line| Some((line.share, line.desired?))).collect();
        RuleAchieved {
            rule: index,
            name: rule.name.clone(),
            strata: rule.strata.clone(),
            largest_deviation: lines.iter().map(|line| line.deviation.abs()).fold(0.0, f64::max),
            kl_divergence: if groups.is_empty() { None } else { kl_divergence(&groups) },
            chi_square: (!groups.is_empty()).then(|| self.total as f64 * chi_square(&groups)),
            lines,
        }
    }
}

/// Over pairs of achieved and desired; `None` if infinite.
fn kl_divergence(groups: &[(f64, f64)]) -> Option<f64> {
    let groups = groups.iter().filter(|(achieved, _)| *achieved > 0.0);
    let sum: f64 = groups.map(|(achieved, desired)| achieved * (achieved / desired).ln()).sum();
    sum.is_finite().then_some(sum)
}

/// For each row of the total.
fn chi_square(groups: &[(f64, f64)]) -> f64 {
    let groups = groups.iter().filter(|(_, desired)| *desired > 0.0);
    groups.map(|(achieved, desired)| (achieved - desired).powi(2) / desired).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(label: &str, supply: u64) -> Cell {
        Cell { labels: vec![label.to_owned()], supply }
    }

    fn of(rule: &str, quotas: &[u64]) -> RuleAchieved {
        let rules = Rules::parse(&format!("size = 10\n[[rule]]\nstrata = ['device']\n{rule}")).unwrap();
        let cells = [cell("tv", 100), cell("web", 50), cell("phone", 50)];
        achieved(&rules, &cells, &[100, 50, 50], quotas).unwrap().rules.remove(0)
    }

    #[test]
    fn what_was_left_out_before_is_there_all_the_same() {
        let rules = Rules::parse("[[rule]]\nstrata = ['device']\nshare = {tv = 0.5, other = 0.5}").unwrap();
        let cells = [cell("tv", 10), cell("web", 50), cell("phone", 50)];
        let told = achieved(&rules, &cells, &[1_000, 50, 90], &[10, 5, 5]).unwrap();
        assert_eq!((told.supply, told.left, told.total), (1_140, Some(110), 20));
        let lines: Vec<_> = told.rules[0].lines.iter().map(|line| (line.supply, line.left)).collect();
        assert_eq!(lines, [(90, Some(50)), (1_000, Some(10)), (50, None), (140, Some(100))]);
    }

    #[test]
    fn shares_are_told_by_group_with_both_distances() {
        let told = of("share = {tv = 0.5, other = 0.5}", &[6, 3, 1]);
        let lines: Vec<_> =
            told.lines.iter().map(|line| (&line.stratum[..], line.supply, line.count, line.most)).collect();
        let none = |label, supply, count| (label, supply, count, None);
        assert_eq!(
            lines,
            [none("phone", 50, 1), ("tv", 100, 6, Some(5)), none("web", 50, 3), ("other", 100, 4, Some(5))]
        );
        // 10 (0.1^2 / 0.5 + 0.1^2 / 0.5), and 0.6 ln 1.2 + 0.4 ln 0.8.
        assert!((told.chi_square.unwrap() - 0.4).abs() < 1e-12);
        assert!((told.kl_divergence.unwrap() - 0.020_135_513_550_688_8).abs() < 1e-12);
        assert!((told.largest_deviation - 0.1).abs() < 1e-12);
    }

    #[test]
    fn rows_where_none_were_due_are_infinitely_far_and_none_at_all_are_no_distance() {
        assert_eq!(of("share = {tv = 1.0}", &[9, 1, 0]).kl_divergence, None);
        let told = of("share = {tv = 1.0}", &[10, 0, 0]);
        assert_eq!((told.kl_divergence, told.chi_square, told.largest_deviation), (Some(0.0), Some(0.0), 0.0));
    }

    #[test]
    fn counts_deviate_by_the_rows_they_miss() {
        let told = of("min = {tv = 8, nowhere = 1}\nmax_each = 3\nexact = {web = 3}", &[6, 3, 1]);
        let deviations: Vec<_> = told.lines.iter().map(|line| (&line.stratum[..], line.deviation)).collect();
        // tv is asked for 8 and allowed 3: both cannot be, and the table says both.
        assert_eq!(deviations, [("nowhere", -0.1), ("phone", 0.0), ("tv", 0.1), ("web", 0.0)]);
        assert_eq!((told.chi_square, told.kl_divergence), (None, None));
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!((&json["lines"][2]["least"], &json["lines"][2]["most"]), (&8.into(), &3.into()));
    }
}
