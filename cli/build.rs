//! Lists the scripts in `sql/`, each of which becomes part of the binary under its name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = fs::canonicalize(Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../sql"))?;
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        let name = file.file_stem().unwrap_or_default().display().to_string();
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("scripts.rs"), list + "]\n")?;
    Ok(())
}
