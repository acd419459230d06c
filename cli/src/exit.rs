//! Errors to exit codes, and the one place where an error is printed.

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Error;
use arrow::error::ArrowError;
use connector::SourceError;
use datafusion::error::DataFusionError;
use journal::{JournalError, Unbalanced};
use quota::RulesError;
use runner::{MissingInput, Occupied, OtherState};
use scan::{SampleError, ScriptError};

/// The command line asks for something that cannot be (exit 2).
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints an error with its causes on one line, and says what to exit with.
pub fn failed(error: &Error) -> ExitCode {
    let code = code(error);
    if code == BROKEN_PIPE {
        return ExitCode::SUCCESS;
    }
    eprintln!("rescan: {}", said_once(error));
    ExitCode::from(code)
}

/// What is printed by `println!` and by clap panics where nobody reads it, or the disk is full: no reason for a backtrace.
pub fn quiet_on_closed_pipes() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.payload_as_str() {
        Some(what) if what.starts_with("failed printing to") && what.contains("Broken pipe") => std::process::exit(0),
        Some(what) if what.starts_with("failed printing to") => std::process::exit(74),
        _ => usual(panic),
    }));
}

/// Not an exit code: nobody reads what we print.
const BROKEN_PIPE: u8 = 141;

fn code(error: &Error) -> u8 {
    // As the context of another error it is no link of the chain.
    if error.is::<Usage>() {
        return 2;
    }
    error
        .chain()
        .find_map(|cause| {
            if cause.is::<ScriptError>() {
                return Some(78);
            }
            if cause.is::<MissingInput>() {
                return Some(66);
            }
            if cause.is::<RulesError>() || cause.is::<Occupied>() || cause.is::<OtherState>() {
                return Some(78);
            }
            if let Some(error) = cause.downcast_ref::<SampleError>() {
                return Some(if matches!(error, SampleError::Short { .. }) { 70 } else { 65 });
            }
            if cause.is::<Unbalanced>() {
                return Some(70);
            }
            if let Some(error) = cause.downcast_ref::<SourceError>() {
                return Some(source(error));
            }
            if let Some(error) = cause.downcast_ref::<JournalError>() {
                return Some(match error {
                    JournalError::Locked { .. } => 75,
                    JournalError::ConfigChanged { .. } => 78,
                    JournalError::Corrupt { .. } => 65,
                    JournalError::Unbalanced(_) | JournalError::Refused { .. } => 70,
                    JournalError::Fenced { .. } => 76,
                    JournalError::Io { source, .. } => io(source.kind()),
                });
            }
            if let Some(error) = cause.downcast_ref::<DataFusionError>() {
                // What it read may be the reason, however deep.
                return Some(connector::sorted(error).map_or_else(|| engine(error), |error| source(&error)));
            }
            if cause.is::<ArrowError>() {
                return Some(65);
            }
            cause.downcast_ref::<std::io::Error>().map(|error| io(error.kind()))
        })
        .unwrap_or(70)
}

fn source(error: &SourceError) -> u8 {
    match error {
        SourceError::Usage(_) => 2,
        SourceError::BadData(_) => 65,
        SourceError::Missing(_) => 66,
        SourceError::Unavailable(_) => 69,
        SourceError::Denied(_) => 77,
        SourceError::Schema(_) => 78,
    }
}

fn io(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => 77,
        ErrorKind::NotFound => 66,
        ErrorKind::BrokenPipe => BROKEN_PIPE,
        _ => 74,
    }
}

fn engine(error: &DataFusionError) -> u8 {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) | DataFusionError::IoError(_) => 74,
        DataFusionError::Plan(_) | DataFusionError::SQL(_, _) | DataFusionError::SchemaError(_, _) => 78,
        DataFusionError::ParquetError(_) | DataFusionError::ArrowError(_, _) | DataFusionError::Execution(_) => 65,
        _ => 70,
    }
}

/// What the engine says of it names settings that nobody has here.
const TOO_LITTLE: &str = "needs more memory than it may take: raise --memory-limit";

fn exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The chain of causes, each part once.
fn said_once(error: &Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let part = match cause.downcast_ref::<DataFusionError>() {
            Some(error) if exhausted(error) => TOO_LITTLE.to_owned(),
            // Which kind of error it is to the engine helps nobody.
            Some(DataFusionError::Execution(what) | DataFusionError::Context(what, _)) => what.clone(),
            Some(DataFusionError::SQL(error, _)) => error.to_string(),
            _ => cause.to_string(),
        };
        // What a table without a name is called in the engine's own words.
        let part = part.replace("\"?table?\".", "");
        let part = part.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
        if !said.contains(&part) {
            if !said.is_empty() {
                said += ": ";
            }
            said += &part;
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::object_store::Error as StoreError;

    /// An error of a store, as a plan that reads from it reports it.
    fn planned(error: StoreError) -> Error {
        Error::new(DataFusionError::ObjectStore(Box::new(error)).context("scan")).context("run join for the hours")
    }

    #[test]
    fn what_a_store_reports_inside_a_plan_has_its_code() {
        let gone = StoreError::NotFound { path: "p".into(), source: "404".into() };
        let denied = StoreError::PermissionDenied { path: "p".into(), source: "403".into() };
        let reset = StoreError::Generic { store: "S3", source: "reset".into() };
        assert_eq!([gone, denied, reset].map(|error| code(&planned(error))), [66, 77, 69]);
        let bug = DataFusionError::Internal("a bug".to_owned());
        assert_eq!(code(&Error::new(bug).context("run join for the hours")), 70);
    }
}
