//! Sorts what object stores, Parquet and DataFusion report into [`SourceError`], so that the exit code is right however
//! deep below a plan the reason lies.

use std::error::Error;
use std::io;

use arrow::error::ArrowError;
use object_store::Error as StoreError;
use parquet::errors::ParquetError;

use crate::fault::SourceError;

/// The error with `what` (the step that failed: `read s3://…`) before it, as [`SourceError`] where its kind is known.
/// The texts of stores and of DataFusion tell all their reasons already, so that a typed one has no chain behind it.
pub fn failed(what: String, error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    match sort(&error) {
        Some(sort) => sort(format!("{what}: {error}")).into(),
        None => anyhow::Error::new(error).context(what),
    }
}

/// The error as [`SourceError`], where its kind is known: for one that is somewhere in a chain already.
pub fn sorted(error: &(dyn Error + 'static)) -> Option<SourceError> {
    sort(error).map(|sort| sort(error.to_string()))
}

type Sort = fn(String) -> SourceError;

/// The deepest reason decides: a Parquet error is bad data only if no store's error is behind it.
fn sort(error: &(dyn Error + 'static)) -> Option<Sort> {
    if let Some(deeper) = error.source().and_then(sort) {
        return Some(deeper);
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return match io.kind() {
            io::ErrorKind::PermissionDenied => Some(SourceError::Denied),
            io::ErrorKind::NotFound => Some(SourceError::Missing),
            // What decompression reports: the system itself has a number.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if io.raw_os_error().is_none() => {
                Some(SourceError::BadData)
            }
            _ => None,
        };
    }
    if let Some(store) = error.downcast_ref::<StoreError>() {
        return match store {
            StoreError::NotFound { .. } => Some(SourceError::Missing),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => Some(SourceError::Denied),
            // What else the local disk reports (full, broken) is input and output, and no remote's fault.
            StoreError::Generic { store, .. } if *store != LOCAL => Some(refusal(&error.to_string())),
            _ => None,
        };
    }
    let bytes = error.is::<ParquetError>() || error.is::<ArrowError>();
    (bytes && error.source().is_none()).then_some(SourceError::BadData as Sort)
}

/// Listings answer every status as a generic error, and the type that holds the status is private to the store.
fn refusal(text: &str) -> Sort {
    match text.split_once("status code: ").and_then(|(_, status)| status.get(..3)) {
        Some("404") => SourceError::Missing,
        Some("401" | "403") => SourceError::Denied,
        _ => SourceError::Unavailable,
    }
}

/// How `object_store` names the local disk in its errors.
const LOCAL: &str = "LocalFileSystem";

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::error::DataFusionError;

    fn found(error: impl Error + Send + Sync + 'static) -> Option<SourceError> {
        failed("read x".to_string(), error).downcast_ref::<SourceError>().cloned()
    }

    fn store(store: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Generic { store, source: source.into() }
    }

    #[test]
    fn every_kind_is_found_however_deep() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(found(store("S3", "no route")), Some(SourceError::Unavailable(_))));
        assert!(matches!(found(store(LOCAL, denied)), Some(SourceError::Denied(_))));
        assert_eq!(found(store(LOCAL, io::Error::other("disk"))), None);
        let deep = ParquetError::External(Box::new(store("S3", "reset")));
        let deep = DataFusionError::ParquetError(Box::new(deep)).context("scan");
        assert!(matches!(found(deep), Some(SourceError::Unavailable(_))));
        let bad = DataFusionError::ParquetError(Box::new(ParquetError::General("magic".into())));
        assert!(matches!(found(bad), Some(SourceError::BadData(_))));
        let gone = StoreError::NotFound { path: "p".into(), source: "404".into() };
        assert!(matches!(found(gone), Some(SourceError::Missing(_))));
        assert_eq!(found(DataFusionError::Plan("no such column".into())), None);
    }

    #[test]
    fn a_typed_reason_is_said_once_and_any_other_has_its_chain() {
        let typed = failed("read x".to_string(), store("S3", "reset"));
        assert_eq!(format!("{typed:#}"), "read x: Generic S3 error: reset");
        let other = failed("read x".to_string(), DataFusionError::Plan("no such column".into()));
        assert_eq!(format!("{other:#}"), "read x: Error during planning: no such column");
    }
}
