//! What lies below a directory: links are followed, what is hidden is neither followed nor judged, and each directory is
//! looked into once.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::failure::failed;
use crate::fault::SourceError;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Paths of what is no directory, from the root on; links to such too.
    pub files: Vec<PathBuf>,
    /// Those of them and of the directories that are links.
    pub links: BTreeSet<PathBuf>,
    /// How many names were passed over, for they are hidden; a directory is one.
    pub hidden: u64,
}

/// What lies below `root`. Names for which `is_hidden` says so are passed over, and of the others what `wanted` does not want,
/// each by its path from the root.
///
/// # Errors
/// A directory that cannot be listed, a link that leads nowhere; [`SourceError::BadData`] for a directory that is there
/// twice, by a link: its rows would be read twice.
pub(crate) fn tree(root: &Path, is_hidden: &dyn Fn(&str) -> bool, wanted: &dyn Fn(&Path) -> bool) -> Result<Tree> {
    let mut found = Tree::default();
    let mut seen: HashMap<(u64, u64), PathBuf> = HashMap::new();
    // Directories go by the name that they have themselves, before those that links give.
    let (mut open, mut linked) = (vec![PathBuf::new()], BTreeSet::new());
    while let Some(directory) = open.pop().or_else(|| linked.pop_first()) {
        let path = root.join(&directory);
        let is_root = directory.as_os_str().is_empty();
        let entries = fs::metadata(&path).and_then(|of| Ok((of, fs::read_dir(&path)?)));
        let (metadata, entries) = match entries {
            Err(e) if !is_root && e.kind() == ErrorKind::NotFound && has_gone(&path) => continue,
            entries => entries.map_err(|e| unlisted(&path, e))?,
        };
        if let Some(first) = seen.insert((metadata.dev(), metadata.ino()), directory.clone()) {
            bail!(twice(root, &first, &directory));
        }
        for entry in entries {
            let entry = entry.map_err(|e| unlisted(&path, e))?;
            let below = directory.join(entry.file_name());
            if is_hidden(&entry.file_name().to_string_lossy()) {
                found.hidden += 1;
            } else if wanted(&below) {
                match kind(&entry)? {
                    Kind::Directory => open.push(below),
                    Kind::LinkedDirectory => {
                        found.links.insert(below.clone());
                        linked.insert(below);
                    }
                    Kind::File => found.files.push(below),
                    Kind::LinkedFile => {
                        found.links.insert(below.clone());
                        found.files.push(below);
                    }
                    Kind::Gone => {}
                }
            }
        }
    }
    Ok(found)
}

/// The directories and the files right in a directory, and how many names are hidden.
///
/// # Errors
/// As of [`tree`], which looks deeper.
pub(crate) fn level(directory: &Path, is_hidden: &dyn Fn(&str) -> bool) -> Result<(Vec<PathBuf>, Vec<PathBuf>, u64)> {
    let (mut directories, mut files, mut hidden) = (Vec::new(), Vec::new(), 0);
    for entry in fs::read_dir(directory).map_err(|e| unlisted(directory, e))? {
        let entry = entry.map_err(|e| unlisted(directory, e))?;
        if is_hidden(&entry.file_name().to_string_lossy()) {
            hidden += 1;
            continue;
        }
        match kind(&entry)? {
            Kind::Directory | Kind::LinkedDirectory => directories.push(entry.path()),
            Kind::File | Kind::LinkedFile => files.push(entry.path()),
            Kind::Gone => {}
        }
    }
    Ok((directories, files, hidden))
}

enum Kind {
    Directory,
    LinkedDirectory,
    File,
    LinkedFile,
    /// A name that was just listed is one no more.
    Gone,
}

fn kind(entry: &DirEntry) -> Result<Kind> {
    let path = entry.path();
    match entry.file_type() {
        Ok(kind) if kind.is_dir() => Ok(Kind::Directory),
        Ok(kind) if !kind.is_symlink() => Ok(Kind::File),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(unlisted(&path, e)),
        _ => match fs::metadata(&path) {
            Ok(target) if target.is_dir() => Ok(Kind::LinkedDirectory),
            Ok(_) => Ok(Kind::LinkedFile),
            Err(e) if e.kind() == ErrorKind::NotFound && has_gone(&path) => Ok(Kind::Gone),
            Err(e) => Err(unlisted(&path, e)),
        },
    }
}

fn has_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

fn unlisted(path: &Path, error: io::Error) -> anyhow::Error {
    failed(format!("list {}", path.display()), error)
}

/// That one of two paths from the root is a link to what the other names.
pub(crate) fn twice(root: &Path, first: &Path, again: &Path) -> SourceError {
    let leads = if again.starts_with(first) { "leads back to" } else { "leads to what is read already as" };
    let [first, again] = [first, again].map(|path| root.join(path));
    let again = again.display();
    SourceError::BadData(format!("{again}: the link {leads} {}: hide it with a `_` before its name", first.display()))
}
