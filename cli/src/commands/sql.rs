//! `rescan sql`: f as it is.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::scripts::script;

/// Prints the script that a command runs
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rescan sql join
  rescan sql aggregate > mine.sql")]
pub struct Sql {
    /// A command that is a script, tuples (attribute --tuples) or merge (of rows as they are)
    command: String,
}

impl Sql {
    pub fn run(&self) -> Result<ExitCode> {
        use std::io::Write;
        std::io::stdout().write_all(script(&self.command)?.text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
