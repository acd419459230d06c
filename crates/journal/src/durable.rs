//! The only place that changes the disk: creates, replaces and moves that hold after a power cut.
//!
//! An error of fsync is returned and never tried again: the kernel may have dropped the pages, and a second fsync
//! would then report success.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::checksum::Sum;
#[cfg(test)]
pub(crate) use crate::crash::step;
use crate::op::{Op, folder};

/// How [`create_exclusive`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The file is there with our bytes.
    Won,
    /// A file was there before, whose it may be: read it to find out.
    Exists,
}

/// Creates a file with these bytes, whole and on the disk, unless the path is taken. Of many that try, one wins.
///
/// # Errors
/// Any of the disk's. The outcome is then unknown: the file may be there. What is left beside it ends in `.tmp`.
pub fn create_exclusive(path: &Path, bytes: &[u8]) -> io::Result<Created> {
    let tmp = write_beside(path, bytes)?;
    let created = match link(&tmp, path) {
        Ok(()) => Created::Won,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Created::Exists,
        Err(e) => return Err(e),
    };
    // After `Exists` too: the file may be ours, from an attempt that ended before this line.
    sync_dir(folder(path))?;
    remove(&tmp)?;
    Ok(created)
}

/// Makes a file hold these bytes, on the disk, so that readers see the old or the new ones and never a mixture. A file
/// that already holds them stays as it is, its time too. Answers whether it wrote. For one writer at a time.
///
/// # Errors
/// Any of the disk's; the file then holds the old bytes or the new.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let replacement = write_replacement(path, bytes)?;
    if let Some((tmp, file)) = &replacement {
        step(Op::Sync, tmp, None)?;
        file.sync_all()?;
        rename(tmp, path)?;
    }
    sync_dir(folder(path))?;
    Ok(replacement.is_some())
}

/// Writes what is to take the place of a file beside it; sync it before it does. None where the file holds it already.
pub(crate) fn write_replacement(path: &Path, bytes: &[u8]) -> io::Result<Option<(PathBuf, File)>> {
    let same = match fs::read(path) {
        Ok(old) => old == bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        Err(e) => return Err(e),
    };
    let tmp = folder(path).join(format!(".{}.tmp", name(path)));
    remove(&tmp)?;
    if same {
        return Ok(None);
    }
    let file = write_unsynced(&tmp, bytes)?;
    Ok(Some((tmp, file)))
}

/// Puts on the disk which names the directory holds; the content of its files is not its business.
///
/// # Errors
/// Any of the disk's.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    step(Op::SyncDir, dir, None)?;
    File::open(dir)?.sync_all()
}

/// Creates a directory and the missing ones above it, each on the disk.
///
/// # Errors
/// Any of the disk's.
pub fn create_dirs(dir: &Path) -> io::Result<()> {
    make_dirs(dir)?.iter().try_for_each(|made| sync_dir(folder(made)))
}

/// Creates a directory and the missing ones above it, and answers which: each is on the disk once the one above it is
/// synced.
pub(crate) fn make_dirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut made = make_dirs(folder(dir))?;
    step(Op::MakeDir, dir, None)?;
    match fs::create_dir(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => made.push(dir.to_owned()),
    }
    Ok(made)
}

/// Gives a file a second name, unless that is taken. On the disk once its directory is synced.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    step(Op::Link, from, Some(to))?;
    fs::hard_link(from, to)
}

/// Moves a file, over another if need be. On the disk once both directories are synced.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(Op::Rename, from, Some(to))?;
    fs::rename(from, to)
}

/// Removes a file and answers whether it was there. On the disk once its directory is synced.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    if !path.try_exists()? {
        return Ok(false);
    }
    step(Op::Remove, path, None)?;
    fs::remove_file(path).map(|()| true)
}

/// Writes a file that was not there; its bytes are on the disk, its name once the directory is synced.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_unsynced(path, bytes)?;
    step(Op::Sync, path, None)?;
    file.sync_all()
}

/// Writes a file that was not there, and does not wait for the disk.
pub(crate) fn write_unsynced(path: &Path, bytes: &[u8]) -> io::Result<File> {
    step(Op::Create, path, None)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// `.NAME.TOKEN.tmp`. A name left over from a crash is passed by and never written to: it can be a second link to a
/// record. The bytes' checksum is in the token, so that another writer's file is never taken for ours.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let checksum = Sum::of(bytes).checksum;
    let mut attempt = 0u32;
    loop {
        let tmp = folder(path).join(format!(".{}.{checksum}-{attempt}.tmp", name(path)));
        match write_new(&tmp, bytes) {
            Ok(()) => return Ok(tmp),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The seam before each change to the disk: tests stop there, and note what a power cut would lose.
#[cfg(not(test))]
pub(crate) fn step(_: Op, _: &Path, _: Option<&Path>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_of_many_threads_creates() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let won: Vec<String> = std::thread::scope(|scope| {
            let path = &path;
            let runs: Vec<_> = (0..16)
                // Pairs of threads write the same bytes: even then one wins, and nobody reads half a file.
                .map(|i| scope.spawn(move || (i, create_exclusive(path, format!("{}", i / 2).as_bytes()).unwrap())))
                .collect();
            let done = runs.into_iter().map(|run| run.join().unwrap());
            done.filter(|(_, created)| *created == Created::Won).map(|(i, _)| format!("{}", i / 2)).collect()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), won[0]);
        assert_eq!(names(dir.path()), ["record"]);
    }

    #[test]
    fn a_left_over_second_link_to_the_record_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        assert_eq!(create_exclusive(&path, b"same").unwrap(), Created::Won);
        let left = dir.path().join(format!(".record.{}-0.tmp", Sum::of(b"same").checksum));
        fs::hard_link(&path, &left).unwrap();
        let inode = fs::File::open(&path).unwrap();
        let time = inode.metadata().unwrap().modified().unwrap();
        assert_eq!(create_exclusive(&path, b"same").unwrap(), Created::Exists);
        assert_eq!(inode.metadata().unwrap().modified().unwrap(), time);
        assert_eq!(fs::read(&path).unwrap(), b"same");
    }

    #[test]
    fn replace_leaves_equal_content_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("_SUCCESS");
        assert!(replace(&path, b"one").unwrap());
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(7);
        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        assert!(!replace(&path, b"one").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
        fs::write(dir.path().join("._SUCCESS.tmp"), "left over").unwrap();
        assert!(replace(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["_SUCCESS"]);
    }

    #[test]
    fn directories_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dirs(&deep).unwrap();
        create_dirs(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(create_dirs(&dir.path().join("file/below")).is_err());
    }
}
