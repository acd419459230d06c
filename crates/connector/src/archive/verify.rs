//! Files of sealed hours compared with what their `_SUCCESS` says: Parquet itself takes many a flipped bit for data.

use std::path::Path as LocalPath;

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use journal::{Checksum, Sum, checksum_of};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::archive::location::Location;
use crate::archive::partitions::DataFile;
use crate::failure::failed;
use crate::fault::SourceError;

/// How many files are compared at the same time.
const READS: usize = 8;

/// Reads files once and compares their bytes with what the `_SUCCESS` of their hour says. Files of hours that other
/// engines wrote pass: nothing is known of them. An object in a bucket is fetched for it a second time.
///
/// # Errors
/// [`SourceError::BadData`] for a file that is another one; a store that cannot be read.
pub async fn verify(root: &Location, files: &[DataFile]) -> Result<()> {
    let open = files
        .iter()
        .filter_map(|file| Some((file.sum.clone()?, file)))
        .filter(|(_, f)| !root.verified.holds(&f.path, &f.version));
    // Owned, or the future could not be sent to another thread: the compiler takes the borrow for a general one.
    let checks: Vec<_> = open.map(|(sum, file)| check(root.clone(), file.clone(), sum)).collect();
    stream::iter(checks).buffer_unordered(READS).try_collect::<()>().await
}

async fn check(root: Location, file: DataFile, sum: Sum) -> Result<()> {
    let found = if root.local_path().is_some() {
        let path = LocalPath::new("/").join(file.path.as_ref());
        let read = tokio::task::spawn_blocking(move || checksum_of(&path)).await?;
        read.map_err(|e| failed(format!("read {}", root.spelled(&file.path)), e))?
    } else {
        fetched(&root, &file.path).await.map_err(|e| failed(format!("read {}", root.spelled(&file.path)), e))?
    };
    let differs = || {
        let said = "is not the file that _SUCCESS names: restore it, or make its hour again";
        let (now, then) = (shown(&found, &sum), shown(&sum, &found));
        SourceError::BadData(format!("{} {said}; it has {now}, and was sealed with {then}", root.spelled(&file.path)))
    };
    ensure!(found == sum, differs());
    root.verified.add(&file.path, &file.version);
    Ok(())
}

/// By what a sum differs from another one.
fn shown(sum: &Sum, other: &Sum) -> String {
    if sum.bytes == other.bytes { format!("checksum {}", sum.checksum) } else { format!("{} bytes", sum.bytes) }
}

async fn fetched(root: &Location, path: &Path) -> Result<Sum, object_store::Error> {
    let mut pieces = root.store.get(path).await?.into_stream();
    let mut sum = Checksum::new(std::io::sink());
    while let Some(piece) = pieces.try_next().await? {
        let taken = std::io::Write::write_all(&mut sum, &piece);
        taken.map_err(|e| object_store::Error::Generic { store: "checksum", source: e.into() })?;
    }
    Ok(sum.sum())
}
