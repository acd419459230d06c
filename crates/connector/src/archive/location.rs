//! A place that holds files: a local directory or a prefix in an S3 bucket, and the store that reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig};
use url::Url;

use crate::archive::verified::Verified;
use crate::failure::failed;
use crate::fault::SourceError;

/// A directory, file or prefix in a store; it need not exist.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store, from the root of the local disk or of the bucket.
    pub store: Arc<dyn ObjectStore>,
    /// Where in the store.
    pub prefix: Path,
    /// What DataFusion registers the store by: `file:///` or `s3://bucket`.
    pub url: Url,
    /// The files there that were compared with their `_SUCCESS`.
    pub verified: Verified,
}

impl Location {
    /// Reads a local path, `file:///path` or `s3://bucket/prefix`. S3 takes its settings from the environment
    /// (`AWS_ENDPOINT_URL`, `AWS_REGION`, keys, …) and then from `options`, by object_store's names (`endpoint`,
    /// `region`, `allow_http`, …). Nothing is contacted.
    ///
    /// # Errors
    /// Another scheme, no bucket, an option that does not exist, or a path that cannot be one.
    pub fn parse(uri: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let place = match uri.split_once("://") {
            Some(("s3", rest)) => Self::s3(rest, options),
            Some(("file", _)) => local_path(uri).and_then(|path| Self::local(&path)),
            Some((scheme, _)) => {
                bail!("cannot read {uri}: {scheme} is no store for files: use a path, file:// or s3://")
            }
            None => Self::local(LocalPath::new(uri)),
        };
        place.with_context(|| format!("location {uri}"))
    }

    /// The place as a local path, where it is one.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| LocalPath::new("/").join(self.prefix.as_ref()))
    }

    /// A path of the store as a user writes it: absolute on the local disk, with the bucket in a store.
    pub fn spelled(&self, path: &Path) -> String {
        format!("{}/{path}", if self.local_path().is_some() { "" } else { self.url.as_str().trim_end_matches('/') })
    }

    /// All bytes of a file of the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn bytes(&self, path: &Path) -> Result<Bytes> {
        let read = async { self.store.get(path).await?.bytes().await };
        read.await.map_err(|e| failed(format!("read {}", self.spelled(path)), e))
    }

    fn local(path: &LocalPath) -> Result<Self> {
        let prefix = Path::from_absolute_path(resolve(path)?)?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            prefix,
            url: Url::parse("file:///")?,
            verified: Verified::default(),
        })
    }

    fn s3(rest: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(!bucket.is_empty(), "no bucket: write s3://bucket/prefix");
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(patience());
        for (name, value) in options {
            let key: AmazonS3ConfigKey = name.parse().with_context(|| format!("no S3 option {name}"))?;
            builder = builder.with_config(key, value);
        }
        let store = builder.build().with_context(|| format!("settings of bucket {bucket}"))?;
        let (prefix, url) = (Path::parse(prefix)?, Url::parse(&format!("s3://{bucket}"))?);
        Ok(Self { store: Arc::new(store), prefix, url, verified: Verified::default() })
    }
}

/// Ten tries within three minutes, the store's own default, is longer than anybody looks at a run that says nothing.
fn patience() -> RetryConfig {
    RetryConfig { max_retries: 6, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() }
}

/// The path that the words of a user name: a path as it is, or `file:///path` with `%20` for a blank. What other URLs
/// have behind `?` or `#` is part of the path here: files have such names, and patterns such signs.
///
/// # Errors
/// [`SourceError::Usage`]: a path on another machine.
pub(crate) fn local_path(words: &str) -> Result<PathBuf> {
    if !words.starts_with("file://") {
        return Ok(words.into());
    }
    let escaped = words.replace('?', "%3F").replace('#', "%23").replace('\\', "%5C");
    let path = Url::parse(&escaped).ok().and_then(|url| url.to_file_path().ok());
    path.ok_or_else(|| SourceError::Usage(format!("{words} is no local path: write file:///path")).into())
}

/// The absolute path, links and `..` followed in the part of it that exists.
pub(crate) fn resolve(path: &LocalPath) -> Result<PathBuf> {
    ensure!(!path.as_os_str().is_empty(), "an empty path: write . for this directory");
    let absolute = std::path::absolute(path)?;
    let mut there = absolute.as_path();
    loop {
        match there.canonicalize() {
            Ok(real) => return Ok(real.join(absolute.strip_prefix(there)?)),
            Err(e) => there = there.parent().ok_or(e)?,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Location> {
        Location::parse(uri, &BTreeMap::new())
    }

    #[test]
    fn local_places_are_absolute_and_keep_odd_names() {
        let cwd = std::env::current_dir().unwrap().canonicalize().unwrap();
        let cases = [
            ("not/there", cwd.join("not/there")),
            ("./src/../not-there/", cwd.join("not-there")),
            ("../out there%20#1~é=", cwd.parent().unwrap().join("out there%20#1~é=")),
            ("file:///not/there%20", PathBuf::from("/not/there ")),
            ("file:///not/x?.json#1", PathBuf::from("/not/x?.json#1")),
            ("file:///not/dt=*/[ab]?", PathBuf::from("/not/dt=*/[ab]?")),
            ("/", PathBuf::from("/")),
        ];
        for (uri, path) in cases {
            let place = parse(uri).unwrap();
            assert_eq!(place.local_path(), Some(path.clone()), "{uri}");
            assert_eq!((place.url.as_str(), place.to_string()), ("file:///", path.display().to_string()));
        }
    }

    #[test]
    fn buckets_and_prefixes_are_told_apart() {
        for (uri, url, prefix) in [("s3://b1.x/a/b c%20/", "s3://b1.x", "a/b c%20"), ("s3://bkt", "s3://bkt", "")] {
            let place = parse(uri).unwrap();
            assert_eq!((place.url.as_str(), place.prefix.as_ref(), place.local_path()), (url, prefix, None));
        }
        assert_eq!(parse("s3://bkt/a/").unwrap().to_string(), "s3://bkt/a");
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        let options = BTreeMap::from([("enpoint".to_string(), "x".to_string())]);
        let typo = Location::parse("s3://bkt/a", &options).unwrap_err();
        assert!(format!("{typo:#}").contains("no S3 option enpoint"), "{typo:#}");
        let cases =
            [("s3://", "no bucket"), ("kafka://h/t", "use a path"), ("", "an empty path"), ("s3://b/a//b", "empty")];
        for (uri, reason) in cases {
            let error = format!("{:#}", parse(uri).unwrap_err());
            assert!(error.contains(reason), "{uri}: {error}");
        }
    }
}
