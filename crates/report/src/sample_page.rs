//! The page of a sample: what its rules asked for, and what they got.

use crate::bars::{Bar, Bars};
use crate::number::{count, number};
use crate::page::{Page, Section, Table};

/// A rule of a sample, with its strata.
#[derive(Clone, Debug)]
pub struct SampledRule {
    /// What the rule is called.
    pub name: String,
    /// Its strata, in the order to show.
    pub strata: Vec<SampledStratum>,
    /// Kullback-Leibler divergence and chi-square of achieved from desired shares, where the rule has shares.
    pub distance: Option<(Option<f64>, Option<f64>)>,
    /// The greatest deviation from what was asked for, as a share of the sample.
    pub largest_deviation: f64,
}

/// A stratum of a sample.
#[derive(Clone, Debug)]
pub struct SampledStratum {
    /// Its label.
    pub label: String,
    /// Rows there were, and rows taken.
    pub rows: (u64, u64),
    /// The share of the sample that it was to have; where none was asked for, that which it had before.
    pub desired: f64,
    /// The share that it has.
    pub share: f64,
    /// What was asked for, in words.
    pub asked: String,
}

/// The page.
pub fn sample_page(title: &str, summary: &str, rules: &[SampledRule]) -> Page {
    let mut sections = vec![
        Section::Text(summary.to_owned()),
        Section::Terms(vec![
            (
                "asked for".to_owned(),
                "the share that a rule asks for; of a stratum that no rule names, its share of all rows".to_owned(),
            ),
            ("taken".to_owned(), "the share that the stratum has in the sample".to_owned()),
            ("weight".to_owned(), "a column of the sample: how many rows of its strata a row stands for".to_owned()),
        ]),
    ];
    for rule in rules {
        sections.push(Section::Heading(rule.name.clone()));
        let bar = |stratum: &SampledStratum| Bar {
            name: stratum.label.clone(),
            values: vec![Some(100.0 * stratum.desired), Some(100.0 * stratum.share)],
        };
        sections.push(Section::Bars(Bars {
            measure: "% of the sample".to_owned(),
            series: vec!["asked for".to_owned(), "taken".to_owned()],
            rows: rule.strata.iter().map(bar).collect(),
        }));
        sections.push(Section::Table(table(rule)));
        let mut told = format!("Largest deviation: {} % of the sample.", number(Some(100.0 * rule.largest_deviation)));
        if let Some((divergence, chi_square)) = rule.distance {
            told += &format!(
                " Of the taken shares from those asked for: Kullback-Leibler divergence {}, chi-square {}.",
                number(divergence),
                number(chi_square)
            );
        }
        sections.push(Section::Text(told));
    }
    Page { title: title.to_owned(), sections }
}

fn table(rule: &SampledRule) -> Table {
    let row = |stratum: &SampledStratum| {
        let (there, taken) = stratum.rows;
        let share = format!("{:.2} %", 100.0 * stratum.share);
        vec![stratum.label.clone(), count(there), count(taken), share, stratum.asked.clone()]
    };
    Table {
        title: String::new(),
        columns: ["stratum", "there are", "taken", "share", "asked for"].map(str::to_owned).into(),
        rows: rule.strata.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_every_stratum_as_text() {
        let stratum = |label: &str| SampledStratum {
            label: label.to_owned(),
            rows: (1_000, 10),
            desired: 0.5,
            share: 0.25,
            asked: "50.00 %".to_owned(),
        };
        let rule = SampledRule {
            name: "device".to_owned(),
            strata: vec![stratum("tv"), stratum("<script>")],
            distance: Some((Some(0.125), None)),
            largest_deviation: 0.25,
        };
        let html = sample_page("A sample", "Ten rows.", &[rule]).html();
        for told in ["A sample", "Ten rows.", "&lt;script&gt;", "1,000", "0.125", "25.00 %"] {
            assert!(html.contains(told), "{told}");
        }
        assert!(!html.contains("<script>"));
    }
}
