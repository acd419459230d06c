//! Which objects lie where? A store lists them; the local disk is listed here, for stores follow links that are hidden, and
//! pass over those that lead nowhere.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path as LocalPath;

use anyhow::Result;
use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::task::spawn_blocking;

use crate::archive::layout::{OWN, SUCCESS, is_hidden};
use crate::archive::location::Location;
use crate::failure::failed;
use crate::files::tree::{level, tree};

/// What lies right in a directory.
#[derive(Debug, Default)]
pub(crate) struct Level {
    pub directories: Vec<Path>,
    pub objects: Vec<ObjectMeta>,
    /// How many names were passed over, for they are hidden.
    pub hidden: u64,
}

/// What lies below a directory.
#[derive(Debug, Default)]
pub(crate) struct Below {
    pub objects: Vec<ObjectMeta>,
    /// As of [`Level`]; a store lists what is hidden, too.
    pub hidden: u64,
}

/// What lies right in a directory and is not hidden; a directory that is not there holds nothing.
///
/// # Errors
/// The store cannot be listed; a link on the local disk leads nowhere.
pub(crate) async fn right_in(root: &Location, directory: &Path) -> Result<Level> {
    if root.local_path().is_none() {
        let listed = root.store.list_with_delimiter(Some(directory)).await;
        let listed = listed.map_err(|e| failed(format!("list {root}"), e))?;
        let shown = |path: &Path| !path.filename().is_none_or(is_hidden);
        let others = |path: &Path| !shown(path) && path.filename() != Some(OWN);
        let all = listed.common_prefixes.iter().chain(listed.objects.iter().map(|object| &object.location));
        let hidden = all.filter(|path| others(path)).count() as u64;
        let directories = listed.common_prefixes.into_iter().filter(shown).collect();
        let objects = listed.objects.into_iter().filter(|object| shown(&object.location)).collect();
        return Ok(Level { directories, objects, hidden });
    }
    let directory = LocalPath::new("/").join(directory.as_ref());
    spawn_blocking(move || {
        if !directory.is_dir() {
            return Ok(Level::default());
        }
        let (directories, files, mut hidden) = level(&directory, &is_bookkeeping)?;
        hidden -= u64::from(directory.join(OWN).exists());
        let directories = directories.iter().map(|path| Ok(Path::from_absolute_path(path)?)).collect::<Result<_>>()?;
        let objects = files.iter().filter_map(|path| object(path).transpose()).collect::<Result<_>>()?;
        Ok(Level { directories, objects, hidden })
    })
    .await?
}

/// All that lies below a directory; on the local disk without what is hidden.
///
/// # Errors
/// As of [`right_in`]; [`SourceError::BadData`](crate::SourceError::BadData) for a directory that is there twice, by a
/// link.
pub(crate) async fn below(root: &Location, directory: &Path) -> Result<Below> {
    if root.local_path().is_none() {
        let objects = root.store.list(Some(directory)).try_collect().await;
        return Ok(Below { objects: objects.map_err(|e| failed(format!("list {root}"), e))?, hidden: 0 });
    }
    let directory = LocalPath::new("/").join(directory.as_ref());
    spawn_blocking(move || {
        if !directory.is_dir() {
            return Ok(Below::default());
        }
        let tree = tree(&directory, &is_bookkeeping, &|_| true)?;
        let objects = tree.files.iter().filter_map(|path| object(&directory.join(path)).transpose());
        Ok(Below { objects: objects.collect::<Result<_>>()?, hidden: tree.hidden })
    })
    .await?
}

fn is_bookkeeping(name: &str) -> bool {
    is_hidden(name) && name != SUCCESS
}

/// What the store says of a file; none where it is gone meanwhile.
fn object(path: &LocalPath) -> Result<Option<ObjectMeta>> {
    let metadata = match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|e| failed(format!("read {}", path.display()), e))?,
    };
    let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
    let micros = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros();
    let (inode, size) = (metadata.ino(), metadata.len());
    let e_tag = Some(format!("{inode:x}-{micros:x}-{size:x}"));
    let location = Path::from_absolute_path(path)?;
    Ok(Some(ObjectMeta { location, last_modified: modified.into(), size, e_tag, version: None }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::ObjectStoreExt as _;

    use super::*;

    /// Outputs say of which versions of files they were made, as the store names them.
    #[tokio::test]
    async fn files_have_the_versions_that_the_store_gives_them() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Location::parse(directory.path().to_str().unwrap(), &BTreeMap::new()).unwrap();
        fs::create_dir(directory.path().join("a =é%20")).unwrap();
        fs::write(directory.path().join("a =é%20/x#1 b.parquet"), "abc").unwrap();
        fs::write(directory.path().join("y.parquet"), "").unwrap();
        let mut own = below(&root, &root.prefix).await.unwrap().objects;
        let mut stores: Vec<ObjectMeta> = root.store.list(Some(&root.prefix)).try_collect().await.unwrap();
        own.sort_by(|a, b| a.location.cmp(&b.location));
        stores.sort_by(|a, b| a.location.cmp(&b.location));
        assert_eq!(own, stores);
        for object in own {
            assert_eq!(root.store.head(&object.location).await.unwrap(), object);
        }
    }
}
