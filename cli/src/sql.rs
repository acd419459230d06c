//! `rescan sql`: f as it is.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use scan::Script;

use crate::exit::Usage;

/// Prints the script that a command runs
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rescan sql join
  rescan sql aggregate > mine.sql")]
pub struct Sql {
    /// ingest, join, aggregate, attribute, tuples (attribute --tuples), merge (of rows as they are) or stratify
    command: String,
}

/// The scripts in the binary.
const SCRIPTS: [(&str, &str); 7] = [
    ("ingest", include_str!("../../sql/ingest.sql")),
    ("join", include_str!("../../sql/join.sql")),
    ("aggregate", include_str!("../../sql/aggregate.sql")),
    ("attribute", include_str!("../../sql/attribute.sql")),
    ("tuples", include_str!("../../sql/tuples.sql")),
    ("merge", include_str!("../../sql/merge.sql")),
    ("stratify", include_str!("../../sql/stratify.sql")),
];

impl Sql {
    pub fn run(&self) -> Result<ExitCode> {
        use std::io::Write;
        std::io::stdout().write_all(script(&self.command)?.text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The script of a command.
pub fn script(command: &str) -> Result<Script> {
    let Some((name, text)) = SCRIPTS.iter().find(|(name, _)| *name == command) else {
        let names: Vec<&str> = SCRIPTS.iter().map(|(name, _)| *name).collect();
        return Err(Usage(format!("no command {command} is a script: {} are", names.join(", "))).into());
    };
    Ok(Script::parse(&format!("{name}.sql"), text)?)
}
