//! The scripts in `sql/`, found by listing it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The scripts by name, `join`, with their texts; from the directory `RESCAN_SQL` where a broken one is to be tried.
///
/// # Panics
/// A directory without scripts: a law over none would hold.
pub fn scripts() -> BTreeMap<String, String> {
    let dir = std::env::var_os("RESCAN_SQL").map_or_else(|| above("sql"), PathBuf::from);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "sql"));
    let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let scripts: BTreeMap<_, _> = files.map(|file| (name(&file), std::fs::read_to_string(file).unwrap())).collect();
    assert!(!scripts.is_empty(), "{} has no scripts", dir.display());
    scripts
}

/// The scripts that run over inputs of a command line. `merge` is not among them: `rescan merge` makes its input, and it
/// says nothing without the columns of that.
///
/// # Panics
/// As [`scripts`].
pub fn scripts_of_commands() -> BTreeMap<String, String> {
    let mut scripts = scripts();
    assert!(scripts.remove("merge").is_some() && !scripts.is_empty(), "{scripts:?}");
    scripts
}

/// The text of a script.
///
/// # Panics
/// A script that is not there.
pub fn script(name: &str) -> String {
    scripts().remove(name).unwrap_or_else(|| panic!("sql/ has no {name}.sql"))
}

/// A place in the checkout that the tests run in, and not where they were compiled: checkouts share a target directory.
fn above(place: &str) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let mut above = here.ancestors().map(|dir| dir.join(place));
    above.find(|place| place.is_dir()).unwrap_or_else(|| panic!("{} is in no checkout", here.display()))
}
