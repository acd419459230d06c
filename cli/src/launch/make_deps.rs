//! `--make-deps FILE`: on which input hours each hour of output depends, for Make to include.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use connector::{Hour, SUCCESS};
use runner::{Depends, Reached};

use crate::plan::Plan;
use crate::words::location;

/// A line that has an = before its colon would be an assignment to Make.
const EQUALS: &str = "$(rescan_equals)";

/// Writes the file; the names in it are those of the command line, so that they may be targets of other rules.
///
/// # Errors
/// A file that cannot be written.
pub fn write(plan: &Plan, file: &Path, depends: &[Depends]) -> Result<()> {
    let names = names(plan)?;
    let mut text = format!("# Written by rescan {}: -include it.\nrescan_equals := =\n", plan.command);
    for Depends { target, on } in depends {
        let target = plan.flags.out.join(target);
        write!(text, "\n{}:", escaped(&target.to_string_lossy()))?;
        for Reached { root, from, to, seals } in on {
            let Some(name) = names.get(root) else { continue };
            let what = if *seals { SUCCESS } else { "*.parquet" };
            // An hour that is not there, or not any more, is no error to Make.
            text += " $(wildcard";
            for hour in Hour::range(*from..*to) {
                write!(text, " \\\n  {}", escaped(&format!("{name}/{}/{what}", hour.path())))?;
            }
            text += ")";
        }
        text += "\n";
    }
    let said = || format!("write --make-deps {}", file.display());
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).with_context(said)?;
    }
    // Make that reads it meanwhile has the former one.
    let mut staged = file.as_os_str().to_owned();
    staged.push(format!(".{}", std::process::id()));
    std::fs::write(&staged, text).and_then(|()| std::fs::rename(&staged, file)).with_context(said)
}

/// What the command line calls the places on this disk.
fn names(plan: &Plan) -> Result<BTreeMap<String, String>> {
    let options = plan.flags.s3.options()?;
    let mut names = BTreeMap::new();
    for uri in plan.uris() {
        let place = location(uri, &options)?;
        if place.local_path().is_some() {
            let name = uri.strip_prefix("file://").unwrap_or(uri).trim_end_matches('/');
            names.insert(place.to_string(), name.to_owned());
        }
    }
    Ok(names)
}

fn escaped(path: &str) -> String {
    path.replace('$', "$$").replace('=', EQUALS).replace('#', "\\#").replace(' ', "\\ ").replace(':', "\\:")
}
