//! `rescan stratify`: a sample that keeps to rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use quota::{Rule, Rules, Splits};
use scan::{Literal, Sampling};

use crate::exit::Usage;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::plan::report_file::ReportFile;
use crate::words::{TimeColumn, expressions};

/// A sample of the rows that keeps to rules: so many of this, such a share of that
#[derive(Args, Debug)]
#[command(after_help = "Input: events.
Output: the columns of the rows that were chosen; weight, how many rows each stands for; with --split, split. Key: the column
of --id and the time.

Examples:
  rescan stratify --in archive/impressions --size 6000 --strata country,device --out sample
  rescan stratify --in archive/impressions --rules rules.toml --split train=0.8,val=0.1,test=0.1 --out sample
  rescan stratify --in archive/impressions --size 1000 --unit profile_id --seed 7 --out profiles
  rescan stratify --in archive/impressions --rules rules.toml --report sample.html --out sample

rules.toml:
  size = 6000
  [[rule]]
  strata = [\"device\"]
  share = { tv = 0.4, other = 0.6 }
  [[rule]]
  strata = [\"country\"]
  min = { US = 100 }
  [negatives]
  positive = \"rank = 1\"
  per_positive = 4

A stratum of several columns is named by its values with / between them, min = { \"US/tv\" = 10 }; a / or \\ within one
of them is written \\/ or \\\\. A null is null, the text null is \\null.

The rules hold over all rows of the run, so the sample is drawn at its end: with --follow, by a later run without it.
With --unit, sizes count units. An output holds one sample: a batch run that leaves hours of a former one out is refused,
unless with --force, which takes them away. While a batch run draws a sample, no other may.")]
pub struct Stratify {
    #[command(flatten)]
    run: RunFlags,
    /// The rules, TOML
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Keep the mix of these columns or expressions
    #[arg(long, value_name = "COLUMN,…")]
    strata: Option<String>,
    /// Rows in all
    #[arg(long, value_name = "N")]
    size: Option<u64>,
    /// The column whose rows are kept or dropped together [default: the id]
    #[arg(long, value_name = "COLUMN")]
    unit: Option<String>,
    /// Another seed, another sample
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: i64,
    /// Where the rules cannot all be met, give way by priority, and record it
    #[arg(long)]
    relax: bool,
    /// Add the column split: each unit in one
    #[arg(long, value_name = "NAME=SHARE,…")]
    split: Option<String>,
    /// Count what there is by sketches: state that does not grow with the units, weights within 1.6 % in two of three
    #[arg(long)]
    approx: bool,
    /// Write what was asked for and what came of it here
    #[arg(long, value_name = "FILE.html|FILE.json")]
    report: Option<ReportFile>,
    /// The column that tells one event from another
    #[arg(long, value_name = "COLUMN", default_value = "event_id")]
    id: String,
    /// The column that says when an event happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
}

impl Stratify {
    pub fn plan(self) -> Result<Plan> {
        if self.approx && self.unit.is_some() {
            let what = "--approx cannot tell whether units are whole: leave out --approx or --unit";
            return Err(Usage(what.to_owned()).into());
        }
        let sampling = Sampling { rules: self.rules()?, relax: self.relax };
        let splits = self.split.clone().unwrap_or_default();
        if !splits.is_empty() {
            Splits::parse(&splits).map_err(|e| Usage(e.to_string()))?;
        }
        let mut replaced = BTreeMap::from([
            ("event_id".to_owned(), vec![self.id.clone()]),
            ("ts".to_owned(), vec![self.time.name.clone()]),
        ]);
        if splits.is_empty() {
            replaced.insert("split".to_owned(), Vec::new());
        }
        let positive = sampling.rules.negatives.as_ref().map_or("false", |negatives| &negatives.positive);
        Ok(Plan {
            columns: replaced,
            expressions: BTreeMap::from([
                ("unit".to_owned(), vec![self.unit.clone().unwrap_or(self.id)]),
                ("positive".to_owned(), vec![positive.to_owned()]),
                ("stratum".to_owned(), sampling.strata()),
            ]),
            params: BTreeMap::from([
                ("seed".to_owned(), Literal::Integer(self.seed)),
                ("most".to_owned(), Literal::Integer(sampling.most().min(i64::MAX as u64) as i64)),
                ("splits".to_owned(), Literal::Text(splits)),
                ("whole".to_owned(), Literal::Bool(self.unit.is_some())),
            ]),
            approximate: self.approx,
            sampling: Some(sampling),
            report: self.report,
            ..Plan::of("stratify", &["events"], self.time, self.run)?
        })
    }

    /// The rules of the file, with `--size` in place of its own, and `--strata` as one rule more.
    fn rules(&self) -> Result<Rules> {
        let mut rules = self.rules.as_deref().map_or_else(|| Ok(Rules::default()), read)?;
        if let Some(size) = self.size {
            (rules.size, rules.max_size) = (Some(size), None);
        }
        if let Some(strata) = &self.strata {
            rules.rules.push(Rule { strata: expressions(strata)?, ..Rule::default() });
        }
        if rules == Rules::default() {
            return Err(Usage("nothing says what to sample: give --size N or --rules FILE".to_owned()).into());
        }
        Ok(rules)
    }
}

fn read(path: &Path) -> Result<Rules> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read rules {}", path.display()))?;
    Rules::parse(&text).with_context(|| format!("{}", path.display()))
}
