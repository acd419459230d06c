//! What goes wrong: with one row, which is rejected and kept, or with a whole source, which stops the run.

use std::fmt;

use thiserror::Error;

/// Why one row is no row: it goes to the rejected rows with this as its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In snake case, for machines: `lossy_number`.
    pub code: &'static str,
    /// What was found and what was wanted, for people.
    pub text: String,
}

/// The code of a message that has a key and no value: it says that what was said under the key is void, and is no fault.
pub const TOMBSTONE: &str = "tombstone";

impl Fault {
    /// A message without a value.
    pub(crate) fn tombstone(key: Option<&[u8]>) -> Self {
        let key = String::from_utf8_lossy(key.unwrap_or_default());
        Self::of(TOMBSTONE, "key", &key, "has no value")
    }

    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// `NAME: VALUE WHY`, the value cut where it is long.
    pub(crate) fn of(code: &'static str, name: &str, value: &str, why: &str) -> Self {
        const SHOWN: usize = 40;
        let shown: String = value.chars().take(SHOWN).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        Self::new(code, format!("{name}: {shown}{more} {why}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Why a source cannot be read, or read on. Callers find it with `downcast_ref` and choose the exit code by it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// A file, directory or topic that is not there, or holds nothing (exit 66).
    #[error("{0}")]
    Missing(String),
    /// Bytes that are not what they should be, and rows that are no longer where they were (exit 65).
    #[error("{0}")]
    BadData(String),
    /// Something that changes while it is looked at, so that nothing can be said of it (exit 75).
    #[error("{0}")]
    Changing(String),
    /// A remote that does not answer (exit 69).
    #[error("{0}")]
    Unavailable(String),
    /// No permission (exit 77).
    #[error("{0}")]
    Denied(String),
    /// An address or a setting that cannot be one (exit 2).
    #[error("{0}")]
    Usage(String),
    /// A setting that a client cannot work with, such as a key file that holds no key (exit 78).
    #[error("{0}")]
    Setting(String),
    /// A schema that cannot be read as one (exit 78).
    #[error("{0}")]
    Schema(String),
}
