//! The scripts in the binary: f of each command.

use anyhow::Result;
use scan::Script;

use crate::exit::Usage;

const SCRIPTS: [(&str, &str); 7] = [
    ("ingest", include_str!("../../sql/ingest.sql")),
    ("join", include_str!("../../sql/join.sql")),
    ("aggregate", include_str!("../../sql/aggregate.sql")),
    ("attribute", include_str!("../../sql/attribute.sql")),
    ("tuples", include_str!("../../sql/tuples.sql")),
    ("merge", include_str!("../../sql/merge.sql")),
    ("stratify", include_str!("../../sql/stratify.sql")),
];

/// The script of a command.
pub fn script(command: &str) -> Result<Script> {
    let Some((name, text)) = SCRIPTS.iter().find(|(name, _)| *name == command) else {
        let names: Vec<&str> = SCRIPTS.iter().map(|(name, _)| *name).collect();
        return Err(Usage(format!("no command {command} is a script: {} are", names.join(", "))).into());
    };
    Ok(Script::parse(&format!("{name}.sql"), text)?)
}
