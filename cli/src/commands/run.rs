//! `rescan run`: a script of the user's own, with the same guarantees.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use scan::Script;

use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::words::{TimeColumn, literal, pair};

/// A SQL script of your own as f, with the same runners and guarantees
#[derive(Args, Debug)]
#[command(after_help = "Inputs: the tables batch.NAME of the script.
Output: the columns of its view output.NAME. Key: as the comment on that view says.

Examples:
  rescan sql join > mine.sql
  rescan run mine.sql --in impressions=archive/impressions --in plays=archive/plays --param within=1h --out joined")]
pub struct Run {
    /// The script; `rescan sql COMMAND` prints one to begin with
    #[arg(value_name = "SCRIPT")]
    script: PathBuf,
    #[command(flatten)]
    run: RunFlags,
    /// A value of the script's `param` in place of its own
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// The event time column of the inputs, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
}

impl Run {
    pub fn plan(self) -> Result<Plan> {
        let path = &self.script;
        let text = std::fs::read_to_string(path).with_context(|| format!("read script {}", path.display()))?;
        let name = path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let script = Script::parse(&path.to_string_lossy(), &text)?;
        Ok(Plan {
            command: name,
            inputs: self.run.named(&[])?,
            anywhere: true,
            params: self.param.into_iter().map(|(name, value)| (name, literal(&value))).collect(),
            ..Plan::bare(script, self.time, self.run)
        })
    }
}
