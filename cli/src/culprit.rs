//! A run that ended for no known reason, in a panic or in an error of the engine: was it a file that it read?

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use anyhow::{Error, Result};
use connector::{Hour, culprit, list};
use futures::FutureExt;

use crate::exit::{bug, of_unknown_cause};
use crate::words::location;

/// The hours of Parquet that a run reads.
pub struct Read {
    /// Where; what is not hours of Parquet is passed over.
    pub uris: Vec<String>,
    /// How a bucket is reached.
    pub s3: BTreeMap<String, String>,
    /// Which hours.
    pub hours: (Bound<Hour>, Bound<Hour>),
}

/// Runs something to its end. Decoding libraries name no file, and a damaged one makes them panic: where the error does
/// not say what is wrong, each file is read by itself, and the first that cannot be read is the error.
///
/// # Errors
/// Those of the run.
pub async fn named(read: Read, run: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let error = match AssertUnwindSafe(run).catch_unwind().await {
        Ok(Err(error)) => error,
        Ok(ended) => return ended,
        Err(_) => bug(),
    };
    if !of_unknown_cause(&error) {
        return Err(error);
    }
    Err(unreadable(read).await.unwrap_or(error))
}

async fn unreadable(read: Read) -> Option<Error> {
    for uri in read.uris {
        let Ok(place) = location(&uri, &read.s3) else { continue };
        for hour in list(&place, read.hours).await.unwrap_or_default().into_values() {
            for file in hour.files {
                if let Some(culprit) = culprit(&place, &file).await {
                    return Some(culprit.into());
                }
            }
        }
    }
    None
}
