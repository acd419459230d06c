//! Roll forward: everything an epoch promises made visible, as often as need be, to the same end.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::below::below;
use crate::checksum::checksum_of;
use crate::durable::{link, make_dirs, remove, rename, write_replacement};
use crate::epoch::{Epoch, Marker, Publish};
use crate::error::JournalError;
use crate::op::folder;
use crate::syncs::Syncs;
use crate::vouch::vouched;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Staged,
    Published,
}

/// Unseals what changes, links the files into place, removes the superseded ones, then writes the markers: whoever goes
/// by markers finds a partition's files, all of them and no others, and never some partitions of before this epoch
/// beside others of it. Each group is on the disk before the next begins.
pub(crate) fn publish(root: &Path, epoch: &Epoch, syncs: &Syncs) -> Result<(), JournalError> {
    let changed = epoch.markers.iter().filter(|marker| says_other(root, marker)).map(|marker| &marker.path);
    remove_all(root, changed.chain(&epoch.unseal), syncs)?;
    let paths = epoch.publish.iter().map(|file| &file.path).chain(epoch.markers.iter().map(|marker| &marker.path));
    let folders = paths.map(|path| Ok(folder(&below(root, path)?).to_owned()));
    let folders = folders.collect::<Result<BTreeSet<PathBuf>, JournalError>>()?;
    for dir in &folders {
        make_dirs(dir).map_err(JournalError::at(dir))?;
    }
    epoch.publish.iter().try_for_each(|file| publish_file(root, file))?;
    sync_below(root, &folders, syncs)?;
    remove_all(root, epoch.remove.iter().chain(epoch.publish.iter().map(|file| &file.staged)), syncs)?;
    write_markers(root, &epoch.markers, syncs)
}

/// Writes all beside where they go, and moves them there once all are on the disk.
fn write_markers(root: &Path, markers: &[Marker], syncs: &Syncs) -> Result<(), JournalError> {
    let mut written = Vec::new();
    for marker in markers {
        let path = below(root, &marker.path)?;
        if let Some((tmp, file)) =
            write_replacement(&path, vouched(&marker.content).as_bytes()).map_err(JournalError::at(&path))?
        {
            syncs.add(&tmp, file);
            written.push((tmp, path));
        }
    }
    syncs.wait()?;
    for (tmp, path) in &written {
        rename(tmp, path).map_err(JournalError::at(path))?;
    }
    let folders = markers.iter().map(|marker| folder(&root.join(&marker.path)).to_owned()).collect();
    sync_below(root, &folders, syncs)
}

/// Whether a marker is there that says something else.
fn says_other(root: &Path, marker: &Marker) -> bool {
    fs::read(root.join(&marker.path)).is_ok_and(|said| said != vouched(&marker.content).as_bytes())
}

/// Checks that the epoch can be published and resumed, and puts the names of its files on the disk: what a decision
/// relies on must be there before it.
pub(crate) fn prepare(root: &Path, epoch: &Epoch, syncs: &Syncs) -> Result<(), JournalError> {
    let mut touched = BTreeSet::new();
    for file in &epoch.publish {
        locate(root, file)?;
        touched.insert(folder(&root.join(&file.staged)).to_owned());
    }
    check_state(root, epoch)?;
    touched.extend(epoch.kept().map(|(path, _)| folder(&root.join(path)).to_owned()));
    sync_below(root, &touched, syncs)
}

/// Checks that every file of state and offsets is there at its full length.
pub(crate) fn check_state(root: &Path, epoch: &Epoch) -> Result<(), JournalError> {
    for (path, bytes) in epoch.kept() {
        let path = root.join(path);
        match length(&path)? {
            Some(found) if found == bytes => {}
            Some(found) => return Err(wrong_length(&path, found, bytes)),
            None => return Err(JournalError::corrupt(&path, format!("state of epoch {} is missing", epoch.number))),
        }
    }
    Ok(())
}

/// A link and not a rename: it never replaces a file, and two directories cannot lose both names between them.
fn publish_file(root: &Path, file: &Publish) -> Result<(), JournalError> {
    let (staged, path) = (below(root, &file.staged)?, below(root, &file.path)?);
    match locate(root, file)? {
        Place::Published => Ok(()),
        Place::Staged => link(&staged, &path).map_err(JournalError::at(&path)),
    }
}

fn remove_all<'a>(root: &Path, paths: impl Iterator<Item = &'a String>, syncs: &Syncs) -> Result<(), JournalError> {
    let mut touched = BTreeSet::new();
    for path in paths {
        let path = below(root, path)?;
        remove(&path).map_err(JournalError::at(&path))?;
        touched.insert(folder(&path).to_owned());
    }
    sync_below(root, &touched, syncs)
}

/// Where the file is. What is at its destination must be it; what is staged must have its length.
fn locate(root: &Path, file: &Publish) -> Result<Place, JournalError> {
    let (staged, path) = (below(root, &file.staged)?, below(root, &file.path)?);
    if let Some(bytes) = length(&path)? {
        if bytes != file.bytes {
            return Err(wrong_length(&path, bytes, file.bytes));
        }
        let found = checksum_of(&path).map_err(JournalError::at(&path))?.checksum;
        return if found == file.checksum {
            Ok(Place::Published)
        } else {
            Err(JournalError::corrupt(&path, format!("has checksum {found}, should be {}", file.checksum)))
        };
    }
    match length(&staged)? {
        Some(bytes) if bytes == file.bytes => Ok(Place::Staged),
        Some(bytes) => Err(wrong_length(&staged, bytes, file.bytes)),
        None => Err(JournalError::corrupt(&path, format!("is missing, and so is {}", staged.display()))),
    }
}

fn wrong_length(path: &Path, found: u64, expected: u64) -> JournalError {
    JournalError::corrupt(path, format!("has {found} bytes, should have {expected}"))
}

fn length(path: &Path) -> Result<Option<u64>, JournalError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(JournalError::at(path)(e)),
    }
}

/// Syncs these directories and those above them up to the root: a run that was killed may have made one without syncing
/// its name. Directories that are gone hold no names to keep.
pub(crate) fn sync_below(root: &Path, dirs: &BTreeSet<PathBuf>, syncs: &Syncs) -> Result<(), JournalError> {
    let all: BTreeSet<&Path> =
        dirs.iter().flat_map(|dir| dir.ancestors().take_while(|dir| dir.starts_with(root))).collect();
    all.into_iter().try_for_each(|dir| syncs.add_dir(dir))?;
    syncs.wait()
}
