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

/// Texts of scripts of rescan's own that say what an earlier text said, and keep the same state: so an output that was
/// made with the earlier one is up to date, or goes on. The checksum of each text, and of the earlier one.
const SAME: [(&str, &str); 12] = [
    ("bae0330dc74114cc3165d25746532bed", "9cbb59bd0ea5eac6f279be99a8adee6d"),
    ("c309bfa3347b2acadb3301668c0b6b6d", "029e4649468ff8a86568bd2070ca4fd7"),
    ("480a04f7ffe5eea62ff9dd9a67475e17", "7ebb58cb6dbc9916edb665874539c2c4"),
    ("31b2aa8ff140171bfd2fbaf57847eeb1", "b514a1a8f22723db8f972d20b4f32525"),
    ("050e13bd4811441947093b75f40a12ba", "7dba5f7be72628efeaf84ca07b5b10a4"),
    ("ccee9624ac46bf1a4d850ba3e4b06450", "8524ebeb6dbecdf69b50f739abc64cf4"),
    ("43ab1e11ebd09ec5e587030fe33a4187", "9cbb59bd0ea5eac6f279be99a8adee6d"),
    ("7f246e18cc4713a374bda4f71ebc56ba", "029e4649468ff8a86568bd2070ca4fd7"),
    ("f88b74e14c9eaee3badbc77b710cbe8c", "b514a1a8f22723db8f972d20b4f32525"),
    ("7c8342fdfa75e6a0c549d89830683acb", "b8394f4cbc4d96888e8cb37b496389f1"),
    ("f8c71e879bf1a7d3f672a2d0bbd43a73", "8524ebeb6dbecdf69b50f739abc64cf4"),
    ("47241ac482e797718e3d18d444daf1d6", "7dba5f7be72628efeaf84ca07b5b10a4"),
];

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

    /// What tells one f from another of the same name: the checksum of the script's text, or of an earlier text that says
    /// the same.
    pub fn text_of(script: &Script) -> String {
        let checksum = Sum::of(script.text.as_bytes()).checksum;
        let same = SAME.iter().find(|(text, _)| *text == checksum);
        same.map_or(checksum, |(_, earlier)| (*earlier).to_owned())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Who changes one of these scripts says here whether it still is the same f.
    #[test]
    fn scripts_that_say_the_same_are_the_same_f() {
        let firsts = BTreeMap::from([
            ("aggregate", "7ebb58cb6dbc9916edb665874539c2c4"),
            ("attribute", "b514a1a8f22723db8f972d20b4f32525"),
            ("facts", "b8394f4cbc4d96888e8cb37b496389f1"),
            ("ingest", "9cbb59bd0ea5eac6f279be99a8adee6d"),
            ("join", "029e4649468ff8a86568bd2070ca4fd7"),
            ("stratify", "8524ebeb6dbecdf69b50f739abc64cf4"),
            ("tuples", "7dba5f7be72628efeaf84ca07b5b10a4"),
        ]);
        let mut scripts = testkit::scripts::scripts();
        for (name, first) in firsts {
            let text = scripts.remove(name).unwrap();
            assert_eq!(Made::text_of(&Script::parse(name, &text).unwrap()), first, "{name}");
        }
    }
}
