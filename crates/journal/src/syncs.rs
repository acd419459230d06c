//! Many files put on the disk at once: the kernel writes together what waits for it side by side, so that a thousand
//! files take hardly longer than ten that wait one after another.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::durable::step;
use crate::error::JournalError;
use crate::op::Op;

/// Files that wait for the disk at the same time, and files that are open and wait for their turn.
const AT_ONCE: usize = 32;

/// Files and directories on their way to the disk, while others are still written. All clones are the same group.
#[derive(Clone, Debug, Default)]
pub struct Syncs(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    files: VecDeque<(PathBuf, File)>,
    /// Threads that sync; each ends when no file waits.
    threads: usize,
    /// What was handed in since the last [`Syncs::wait`].
    handed: Vec<(Op, PathBuf)>,
    failed: Option<(PathBuf, io::Error)>,
}

impl Syncs {
    /// Takes a file that was written to its end. Waits while too many others are on their way.
    pub fn add(&self, path: &Path, file: File) {
        self.hand(Op::Sync, path, file);
    }

    /// Takes a directory: which names it holds goes to the disk. One that is gone has no names to keep.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn add_dir(&self, dir: &Path) -> Result<(), JournalError> {
        match File::open(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => {
                self.hand(Op::SyncDir, dir, opened.map_err(JournalError::at(dir))?);
                Ok(())
            }
        }
    }

    /// Waits until all that was handed in is on the disk.
    ///
    /// # Errors
    /// The first of the disk's. It is never tried again: the kernel may have dropped the pages.
    pub fn wait(&self) -> Result<(), JournalError> {
        let handed = std::mem::take(&mut self.lock().handed);
        handed.iter().try_for_each(|(op, path)| step(*op, path, None).map_err(JournalError::at(path)))?;
        let mut waiting = self.work();
        while waiting.threads > 0 {
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        match waiting.failed.take() {
            Some((path, source)) => Err(JournalError::Io { path, source }),
            None => Ok(()),
        }
    }

    fn hand(&self, op: Op, path: &Path, file: File) {
        let mut waiting = self.lock();
        while waiting.files.len() >= AT_ONCE {
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.handed.push((op, path.to_owned()));
        waiting.files.push_back((path.to_owned(), file));
        // The last file is left to who waits.
        if waiting.files.len() == 1 || waiting.threads == AT_ONCE {
            return;
        }
        waiting.threads += 1;
        drop(waiting);
        let group = self.clone();
        let work = move || {
            group.work().threads -= 1;
            group.0.changed.notify_all();
        };
        if thread::Builder::new().name("sync".to_owned()).spawn(work).is_err() {
            // Without another thread this one does it.
            self.work().threads -= 1;
        }
    }

    /// Syncs one file after another until none waits, and still holds the lock: a thread that ends is counted as gone
    /// before another file is handed in, so that no file waits for threads that are all about to end.
    fn work(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.lock();
        while let Some((path, file)) = waiting.files.pop_front() {
            self.0.changed.notify_all();
            drop(waiting);
            let synced = file.sync_all();
            drop(file);
            waiting = self.lock();
            if let Err(error) = synced {
                waiting.failed.get_or_insert((path, error));
            }
        }
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn more_files_than_threads_from_many_writers_are_all_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let syncs = Syncs::default();
        for round in 0..2 {
            thread::scope(|scope| {
                for writer in 0..4 {
                    let (syncs, dir) = (syncs.clone(), dir.path());
                    scope.spawn(move || {
                        for file in 0..3 * AT_ONCE {
                            let path = dir.join(format!("{round}-{writer}-{file}"));
                            syncs.add(&path, File::create(&path).unwrap());
                        }
                    });
                }
            });
            syncs.wait().unwrap();
            let waiting = syncs.lock();
            assert_eq!((waiting.files.len(), waiting.threads, waiting.handed.len()), (0, 0, 0));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2 * 4 * 3 * AT_ONCE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_disk_refuses_is_named_once() {
        let syncs = Syncs::default();
        // What cannot be synced, as a disk that fails.
        syncs.add(Path::new("pipe"), File::options().write(true).open("/dev/null").unwrap());
        let error = syncs.wait().unwrap_err();
        assert!(matches!(error, JournalError::Io { path, .. } if path == Path::new("pipe")));
        syncs.wait().unwrap();
    }
}
