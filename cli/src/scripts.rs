//! The scripts in the binary: f of each command.

use anyhow::Result;
use scan::Script;

use crate::exit::Usage;

/// Each by its name; the build lists `sql/`.
const SCRIPTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// The script of a command.
pub fn script(command: &str) -> Result<Script> {
    let Some((name, text)) = SCRIPTS.iter().find(|(name, _)| *name == command) else {
        let names: Vec<&str> = SCRIPTS.iter().map(|(name, _)| *name).collect();
        return Err(Usage(format!("no command {command} is a script: {} are", names.join(", "))).into());
    };
    Ok(Script::parse(&format!("{name}.sql"), text)?)
}
