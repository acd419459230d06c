//! Lists the golden folders, so that each of them is a test with a name of its own: a macro that hands them to another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../testdata");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut listed = String::new();
    let mut folders = 0;
    for command in sorted(&root) {
        let behaviours: Vec<PathBuf> = sorted(&command).into_iter().filter(|dir| dir.join("args").exists()).collect();
        folders += behaviours.len();
        let names: Vec<String> = behaviours.iter().map(|dir| name(dir)).collect();
        writeln!(listed, "        {}: {};", name(&command), names.join(" ")).unwrap();
    }
    assert!(folders > 0, "{} has no folder with args", root.display());
    let text = format!(
        "/// Calls a macro with all golden folders: `command: behaviour behaviour; command: …;`.
#[macro_export]
macro_rules! golden_folders {{
    ($tests:ident) => {{ $tests! {{
{listed}    }} }};
}}
"
    );
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("golden_folders.rs"), text).unwrap();
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap().to_str().unwrap().to_owned()
}
