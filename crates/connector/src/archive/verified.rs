//! Which files of sealed hours were compared with their `_SUCCESS`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;

/// The files that were compared already, by path and version. Copies of a [`Location`] share it, so that a run reads a
/// file once for this, however many of its plans need it.
#[derive(Clone, Debug, Default)]
pub struct Verified(Arc<Mutex<HashSet<(Path, String)>>>);

impl Verified {
    /// Whether a file in this version is one of them.
    pub(crate) fn holds(&self, path: &Path, version: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(path.clone(), version.to_owned()))
    }

    /// Adds one.
    pub(crate) fn add(&self, path: &Path, version: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((path.clone(), version.to_owned()));
    }
}
