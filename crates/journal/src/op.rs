//! Changes to the disk, which tests count, stop at and take back.

use std::path::Path;

/// A change to the disk, as the seam before it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Sync,
    Link,
    Rename,
    Remove,
    MakeDir,
    SyncDir,
}

/// The directory of a path; `.` where it has none.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
