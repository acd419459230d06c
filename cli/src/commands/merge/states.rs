//! `rescan merge --state`: what streams left for runs to come, as one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use report::count;
use runner::unite_states;

use crate::exit::Usage;
use crate::plan::flags::RunFlags;
use crate::words::directory;

/// Unites the states in `places` into `--out`, and says what they hold.
///
/// # Errors
/// [`Usage`]; those of [`unite_states`].
pub fn unite(places: &[String], flags: &RunFlags) -> Result<ExitCode> {
    let places = places.iter().map(|place| directory(place)).collect::<Result<Vec<PathBuf>, _>>().map_err(Usage)?;
    let out = &flags.out;
    if out.as_os_str().is_empty() {
        return Err(Usage("nothing says where the states go: write --out DIR".to_owned()).into());
    }
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if places.iter().any(|place| real(place) == real(out)) {
        let what = format!("{} is read and written: give the union a directory of its own", out.display());
        return Err(Usage(what).into());
    }
    let united = unite_states(&places, out)?;
    if flags.show.json {
        println!("{:#}", serde_json::to_value(&united)?);
    }
    if united.up_to_date {
        eprintln!("merge: up to date");
    } else {
        let (rows, files) = (count(united.rows), united.files);
        eprintln!("merge: the state of {} places, {rows} rows in {files} files, in {}", places.len(), out.display());
    }
    Ok(ExitCode::SUCCESS)
}
