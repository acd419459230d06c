//! Errors to exit codes, and the one place where an error is printed.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Error, anyhow};
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

/// A panic ends in one line, as any error does. What is printed by `println!` and by clap panics where nobody reads it, or
/// the disk is full: that is no bug.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| match panic.payload_as_str() {
        Some(what) if what.starts_with("failed printing to") && what.contains("Broken pipe") => std::process::exit(0),
        Some(what) if what.starts_with("failed printing to") => std::process::exit(74),
        what => {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            let mut first = BUG.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| format!("{} at {at}", what.unwrap_or("no reason given")));
        }
    }));
}

/// The first panic of the process: others may follow from it.
static BUG: Mutex<Option<String>> = Mutex::new(None);

/// The error of a run that ended in a panic.
pub fn bug() -> Error {
    let what = BUG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    anyhow!("a bug in rescan, please report it: {}", what.unwrap_or_default())
}

/// Not an exit code: nobody reads what we print.
const BROKEN_PIPE: u8 = 141;

/// Whether nothing says yet what kind of error it is, but that decoding or planning ended in it: the cause may be a file
/// that was read.
pub fn of_unknown_cause(error: &Error) -> bool {
    let typed = error.chain().any(|cause| {
        cause.is::<SourceError>() || cause.is::<JournalError>() || cause.is::<Unbalanced>() || cause.is::<SampleError>()
    });
    !typed && matches!(code(error), 65 | 70)
}

fn code(error: &Error) -> u8 {
    // As the context of another error it is no link of the chain.
    if error.is::<Usage>() {
        return 2;
    }
    if full(error) {
        return 74;
    }
    if pattern(error).is_some() {
        return 78;
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
                    // No input: a place of the output that cannot be made.
                    JournalError::Io { source, .. } if source.kind() == ErrorKind::NotFound => 74,
                    JournalError::Io { source, .. } => io(source.kind()),
                });
            }
            if let Some(error) = cause.downcast_ref::<DataFusionError>() {
                // What it read may be the reason, however deep.
                let of_system = || system(error).map_or_else(|| engine(error), |error| io(error.kind()));
                return Some(connector::sorted(error).map_or_else(of_system, |error| source(&error)));
            }
            if let Some(error) = cause.downcast_ref::<ArrowError>() {
                return Some(system(error).map_or(65, |error| io(error.kind())));
            }
            cause.downcast_ref::<std::io::Error>().map(|error| io(error.kind()))
        })
        .unwrap_or(70)
}

/// Whether the disk is full, or what a user may have of it. Libraries make texts of errors: then it is in the words.
fn full(error: &Error) -> bool {
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().is_some_and(|error| kinds.contains(&error.kind()));
        let text = || cause.to_string();
        io || [28, 122, 27].iter().any(|number| text().contains(&format!("(os error {number})")))
    })
}

/// What the operating system said, where it is behind an error of a library.
fn system<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let own = error.downcast_ref::<std::io::Error>().filter(|error| error.raw_os_error().is_some());
    own.or_else(|| error.source().and_then(system))
}

/// What the engine says of a regular expression that it cannot use: to it that is a bug of its own.
fn pattern(error: &Error) -> Option<String> {
    const SAID: &str = "Regular expression did not compile: ";
    let said = error.chain().map(ToString::to_string).find(|said| said.contains(SAID))?;
    let (_, why) = said.split_once(SAID)?;
    let why = why.split(". This issue was likely").next().unwrap_or(why);
    let why = if why.starts_with("CompiledTooBig") { "it is too large" } else { why };
    Some(format!("a regular expression cannot be used: {why}: write a simpler one"))
}

fn source(error: &SourceError) -> u8 {
    match error {
        SourceError::Usage(_) => 2,
        SourceError::BadData(_) => 65,
        SourceError::Missing(_) => 66,
        SourceError::Unavailable(_) => 69,
        SourceError::Changing(_) => 75,
        SourceError::Denied(_) => 77,
        SourceError::Schema(_) | SourceError::Setting(_) => 78,
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
            Some(_) if pattern(error).is_some() => pattern(error).unwrap_or_default(),
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

    /// A full disk is that, whichever library found it full, and however it says so.
    #[test]
    fn a_full_disk_is_known_in_every_wrapping() {
        let full = || std::io::Error::from_raw_os_error(28);
        let arrow = || ArrowError::IoError("spill".to_owned(), full());
        let errors = [
            Error::new(full()),
            Error::new(arrow()),
            Error::new(ArrowError::ExternalError(Box::new(full()))),
            Error::new(DataFusionError::ArrowError(Box::new(arrow()), None)),
            Error::new(DataFusionError::IoError(full())),
            Error::new(DataFusionError::External(Box::new(full()))),
            Error::new(DataFusionError::Execution(full().to_string())),
            Error::new(ArrowError::ParquetError(format!("External: {}", full()))),
            Error::new(SourceError::BadData(format!("write: {}", full()))),
            Error::new(DataFusionError::ResourcesExhausted("the spill directory is full".to_owned())),
        ];
        for error in errors {
            assert_eq!(code(&error.context("write out")), 74);
        }
        let broken = ArrowError::IoError("read".to_owned(), std::io::Error::from_raw_os_error(5));
        assert_eq!(code(&Error::new(broken)), 74, "a disk that fails");
        let torn = ArrowError::IoError("read".to_owned(), ErrorKind::UnexpectedEof.into());
        assert_eq!(code(&Error::new(torn)), 65, "bytes that end too early");
    }

    #[test]
    fn a_regular_expression_that_cannot_be_used_is_no_bug() {
        let said = "failed to call 'f' Compute error: Regular expression did not compile: CompiledTooBig(10485760)";
        let error = Error::new(DataFusionError::Internal(said.to_owned())).context("run ingest");
        assert_eq!(code(&error), 78);
        assert_eq!(
            said_once(&error),
            "run ingest: a regular expression cannot be used: it is too large: write a simpler one"
        );
    }
}
