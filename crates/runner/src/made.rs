//! Of which f the rows of an output are. `_SUCCESS` says it, so that `merge` knows what they hold.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use connector::Success;
use journal::Sum;
use scan::{Binding, Output, Scan, Script};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An output of a script, with what the command line said in it: rows of equal ones can be merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The output's name, which `_SUCCESS` has beside this.
    #[serde(skip)]
    pub output: String,
    /// Its key, likewise.
    #[serde(skip)]
    pub key: Vec<String>,
    /// What the script is called: `join`.
    pub script: String,
    /// The checksum of its text.
    pub text: String,
    /// How many of the first columns of the key make a group, whose rows stand together.
    pub group: usize,
    /// What the command line said.
    #[serde(flatten)]
    pub binding: Binding,
}

impl Made {
    /// By an f as it runs.
    pub(crate) fn of(scan: &Scan, output: &Output) -> Made {
        let script = scan.script();
        let name = Path::new(&script.name).file_stem().unwrap_or_default();
        Made {
            output: output.name.clone(),
            key: output.key.clone(),
            script: name.to_string_lossy().into_owned(),
            text: Made::text_of(script),
            group: output.group,
            binding: scan.binding().clone(),
        }
    }

    /// The checksum of a script's text: what tells one f from another of the same name.
    pub fn text_of(script: &Script) -> String {
        Sum::of(script.text.as_bytes()).checksum
    }

    /// Whether it is of this very script.
    pub fn is_of(&self, script: &Script) -> bool {
        self.text == Made::text_of(script)
    }

    /// As a `_SUCCESS` has it; none where it does not say.
    pub fn read(success: &Success) -> Option<Made> {
        let made: Made = serde_json::from_value(success.f.clone()).ok()?;
        Some(Made { output: success.output.clone(), key: success.key.clone(), ..made })
    }

    /// What a `_SUCCESS` says beside output and key.
    pub(crate) fn written(&self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} with {}", self.output, self.script, json!(self.binding))
    }
}
