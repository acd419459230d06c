//! One run a chain: an advisory lock that the kernel frees with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::durable::create_dirs;
use crate::error::JournalError;

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes `dir/LOCK`, making the directory where it is missing, and writes who holds it. Never waits.
    ///
    /// # Errors
    /// [`JournalError::Locked`] with the holder, or [`JournalError::Io`].
    pub fn acquire(dir: &Path) -> Result<Self, JournalError> {
        create_dirs(dir).map_err(JournalError::at(dir))?;
        let path = dir.join("LOCK");
        let at = || JournalError::at(&path);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(at())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(path, &mut file)),
            Err(TryLockError::Error(source)) => return Err(JournalError::Io { path, source }),
        }
        file.set_len(0).map_err(at())?;
        file.write_all(holder().as_bytes()).map_err(at())?;
        Ok(Self { file })
    }

    /// Takes part in `dir/LOCK` with other readers of the chain, so that no run changes it meanwhile; none where no run
    /// has ever locked it. Writes nothing and never waits.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn shared(dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = dir.join("LOCK");
        let mut file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(JournalError::at(&path))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Err(locked(path, &mut file)),
            Err(TryLockError::Error(source)) => Err(JournalError::Io { path, source }),
        }
    }
}

impl Drop for Lock {
    /// Not by closing alone: a child process between fork and exec has the file open too, and would keep the lock.
    fn drop(&mut self) {
        // Nothing is to be done about an error; the kernel frees the lock with the last holder.
        let _ = self.file.unlock();
    }
}

fn locked(path: PathBuf, file: &mut File) -> JournalError {
    let mut holder = String::new();
    // Between its two writes the holder is nameless, and an unreadable name is no reason to fail otherwise.
    if file.take(1 << 12).read_to_string(&mut holder).is_err() || holder.is_empty() {
        holder = "another process".to_owned();
    }
    JournalError::Locked { path, holder: holder.trim_end().to_owned() }
}

/// Process id, program and subcommand: the words before the first flag, since a flag's value may be a secret.
fn holder() -> String {
    let words: Vec<String> =
        std::env::args_os().map(|a| a.to_string_lossy().into_owned()).take_while(|a| !a.starts_with('-')).collect();
    format!("process {} ({})\n", std::process::id(), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let chain = dir.path().join("new/chain");
        let first = Lock::acquire(&chain).unwrap();
        let error = Lock::acquire(&chain).unwrap_err();
        assert!(matches!(error, JournalError::Locked { .. }));
        assert!(error.to_string().contains(&format!("process {} (", std::process::id())), "{error}");
        drop(first);
        Lock::acquire(&chain).unwrap();
    }

    #[test]
    fn readers_share_what_a_run_has_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Lock::shared(dir.path()).unwrap().is_none() && std::fs::read_dir(dir.path()).unwrap().next().is_none());
        let run = Lock::acquire(dir.path()).unwrap();
        assert!(matches!(Lock::shared(dir.path()), Err(JournalError::Locked { .. })));
        drop(run);
        let readers = [Lock::shared(dir.path()).unwrap(), Lock::shared(dir.path()).unwrap()];
        assert!(matches!(Lock::acquire(dir.path()), Err(JournalError::Locked { .. })));
        drop(readers);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_longer_name_of_an_earlier_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("LOCK"), "x".repeat(10_000)).unwrap();
        let _lock = Lock::acquire(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("LOCK")).unwrap(), holder());
    }
}
