//! What survives a crash: a chain of epochs in a directory on the local disk, each decided by one atomic create.
//!
//! - Invariant: the create of an epoch's record is its decision. Everything before it can be thrown away, everything
//!   after it is repeated until done.
//! - Invariant: no record, data file or state file is ever overwritten. A marker that is to say something else goes
//!   before anything of its partition changes, and comes last.
//! - Invariant: what a decision relies on is on the disk before it, and what follows is on the disk before `.done`.
//! - Invariant: `read = accepted + duplicate + late + rejected + filtered`, for every input of every epoch.
//! - Invariant: a marker vouches for its own text.
//! - Invariant: nothing is written or deleted through a symbolic link below the root.
//! - Invariant: doubt is an error that names the file, never a guess; the disk stays as it is.
//!
//! - Not here: Kafka, Parquet, object stores; what an offset or a row is.
//! - Not here: the clock and randomness; tokens come from the caller.

#![warn(missing_docs)]

mod below;
mod chain;
mod checksum;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crash_tests;
mod durable;
mod epoch;
mod error;
mod journal;
mod ledger;
mod lock;
mod op;
mod publish;
mod recover;
mod syncs;
mod vouch;

pub use chain::{is_unfinished, look};
pub use checksum::{Checksum, Sum, checksum_of};
pub use durable::{Created, create_dirs, create_exclusive, replace};
pub use epoch::{Epoch, Marker, OffsetFile, OpenFile, Publish, SideFacts, SourceFacts, StateFile};
pub use error::JournalError;
pub use journal::Journal;
pub use ledger::{Ledger, Unbalanced};
pub use lock::Lock;
pub use recover::{Decision, Difference, Facts, differences, recover};
pub use syncs::Syncs;
pub use vouch::vouches;
