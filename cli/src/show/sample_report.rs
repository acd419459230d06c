//! What a sample is, beside what its rules asked for: lines for a terminal, a page for a browser, or JSON.

use anyhow::Result;
use quota::{Line, RuleAchieved};
use report::{Page, SampledRule, SampledStratum, count, sample_page};
use runner::Manifest;

use crate::plan::report_file::ReportFile;
use crate::show::table::Table;

/// How far a sample is what its rules asked for; then what gave way.
pub fn lines(sample: &Manifest) -> String {
    // Which rows there are to choose from is told where they are not all.
    let cut = sample.achieved.left.is_some();
    let mut head = vec!["rule", "stratum", "there are", "left", "taken", "share", "asked for"];
    head.retain(|column| cut || *column != "left");
    let mut table = Table::new(&head);
    for rule in &sample.achieved.rules {
        for line in &rule.lines {
            let left = cut.then(|| count(line.left.unwrap_or(line.supply)));
            let share = format!("{:.2} %", 100.0 * line.share);
            let mut cells = vec![name(rule), line.stratum.clone(), count(line.supply)];
            cells.extend(left.into_iter().chain([count(line.count), share, asked(line)]));
            table.push(cells);
        }
    }
    let cut = sample.achieved.left.map_or_else(String::new, |left| format!("  {}\n", cut_to(sample, left)));
    let gave =
        sample.relaxed.iter().map(|relaxed| format!("  gave way: {}; gets {}\n", relaxed.clause, count(relaxed.given)));
    format!("{table}{cut}{}", gave.collect::<String>())
}

/// What `per_positive` leaves to choose from.
fn cut_to(sample: &Manifest, left: u64) -> String {
    let (there, left) = (count(sample.achieved.supply), count(left));
    format!("of {there}, {left} are left by per_positive: negatives in proportion to the positives of their strata")
}

/// Writes the report of a sample.
pub fn write(sample: &Manifest, file: &ReportFile) -> Result<()> {
    file.write(|| page(sample).html(), || Ok(serde_json::to_string_pretty(sample)?))
}

fn page(sample: &Manifest) -> Page {
    let content = &sample.content;
    let mut summary = format!("{} rows of {}.", count(content.rows), count(sample.achieved.supply));
    summary +=
        &sample.achieved.left.map_or_else(String::new, |left| format!(" To choose from: {}.", cut_to(sample, left)));
    for relaxed in &sample.relaxed {
        summary += &format!(" Gave way: {}; gets {}.", relaxed.clause, count(relaxed.given));
    }
    let rules: Vec<SampledRule> =
        sample.achieved.rules.iter().map(|rule| sampled(rule, sample.achieved.supply)).collect();
    sample_page("A stratified sample", &summary, &rules)
}

fn sampled(rule: &RuleAchieved, supply: u64) -> SampledRule {
    let stratum = |line: &Line| SampledStratum {
        label: line.stratum.clone(),
        rows: (line.supply, line.count),
        desired: line.desired.unwrap_or(line.supply as f64 / supply.max(1) as f64),
        share: line.share,
        asked: asked(line),
    };
    let shares = rule.lines.iter().any(|line| line.desired.is_some());
    SampledRule {
        name: name(rule),
        strata: rule.lines.iter().map(stratum).collect(),
        distance: shares.then_some((rule.kl_divergence, rule.chi_square)),
        largest_deviation: rule.largest_deviation,
    }
}

fn name(rule: &RuleAchieved) -> String {
    rule.name.clone().unwrap_or_else(|| rule.strata.join(", "))
}

fn asked(line: &Line) -> String {
    match (line.desired, line.least, line.most) {
        (Some(desired), ..) => format!("{:.2} %", 100.0 * desired),
        (None, Some(least), Some(most)) if least == most => count(least),
        (None, Some(least), Some(most)) => format!("{} to {}", count(least), count(most)),
        (None, Some(least), None) => format!("at least {}", count(least)),
        (None, None, Some(most)) => format!("at most {}", count(most)),
        (None, None, None) => String::new(),
    }
}
