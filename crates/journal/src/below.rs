//! Links are not followed: what a run writes or deletes lies below its output root, whatever a link there points to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::JournalError;

/// The path of a file or directory below the root, which need not exist.
///
/// # Errors
/// `Corrupt` where the file, or a directory between it and the root, is a symbolic link. The root may be one.
pub(crate) fn below(root: &Path, path: impl AsRef<Path>) -> Result<PathBuf, JournalError> {
    let mut whole = root.to_owned();
    for part in path.as_ref().components() {
        whole.push(part);
        if fs::symlink_metadata(&whole).is_ok_and(|found| found.is_symlink()) {
            let what = "is a symbolic link, and nothing is written or deleted through one";
            return Err(JournalError::corrupt(&whole, what));
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_is_refused_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let (real, root) = (dir.path().join("real"), dir.path().join("root"));
        fs::create_dir_all(real.join("hr=05")).unwrap();
        fs::write(real.join("hr=05/part"), "x").unwrap();
        symlink(&real, &root).unwrap();
        assert_eq!(below(&root, "hr=05/part").unwrap(), root.join("hr=05/part"));
        assert_eq!(below(&root, "not/there").unwrap(), root.join("not/there"));
        symlink(real.join("hr=05"), real.join("hr=06")).unwrap();
        symlink("part", real.join("hr=05/link")).unwrap();
        symlink("nowhere", real.join("hr=05/broken")).unwrap();
        for (path, at) in [("hr=06/part", "hr=06"), ("hr=05/link", "hr=05/link"), ("hr=05/broken", "hr=05/broken")] {
            let error = below(&root, path).unwrap_err();
            assert!(matches!(&error, JournalError::Corrupt { path, .. } if *path == root.join(at)), "{path}: {error}");
        }
    }
}
