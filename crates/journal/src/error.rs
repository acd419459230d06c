//! Why a journal cannot go on, a variant for each thing a caller does about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::Unbalanced;
use crate::recover::Difference;

/// Why a journal cannot go on. What was decided before stays as it is in every case.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another run holds the chain (exit 75).
    #[error("{} is locked by {holder}: wait for it to end, or stop it, and start again", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process id and command, as far as the lock file says.
        holder: String,
    },
    /// The chain was made with other flags, script or sources (exit 78).
    #[error(
        "the configuration is not that of epoch {epoch} ({}): use the former one, or another --out",
        differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    ConfigChanged {
        /// The last epoch.
        epoch: u64,
        /// Every key whose value differs.
        differences: Vec<Difference>,
    },
    /// A file is not what the chain says it is (exit 65).
    #[error("{}: {what}: restore the file, or start over with another --out", path.display())]
    Corrupt {
        /// The file or directory at fault.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Rows were lost or counted twice (exit 70).
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
    /// The caller asked for an epoch that cannot be; nothing was decided (exit 70).
    #[error("epoch {epoch} cannot be committed: {what}; nothing of it was kept: please report it")]
    Refused {
        /// The epoch asked for.
        epoch: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Another run decided this epoch in spite of the lock (exit 76).
    #[error("{} was decided by another run: stop this one; a later start goes on from there", path.display())]
    Fenced {
        /// The record that is not ours.
        path: PathBuf,
    },
    /// The disk failed, is full or says no (exit 74; 77 for [`io::ErrorKind::PermissionDenied`]).
    #[error("{} cannot be read or written: mend the cause and start again, nothing decided is lost", path.display())]
    Io {
        /// The file or directory at fault.
        path: PathBuf,
        /// What the system said; [`io::ErrorKind::StorageFull`] where the disk is full.
        source: io::Error,
    },
}

impl JournalError {
    /// For `map_err`: an error of the disk at this path.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// The file at `path` is not what it should be.
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}
