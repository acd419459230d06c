//! Where everything of an output is, below its root. Hours are at the root itself, or below the name of an output where
//! there are several; what only rescan reads is below `_rescan`. `_rescan/stage` and `_rescan/state` belong to the journal.

use std::path::{Path, PathBuf};

use connector::Hour;

use crate::wall_clock::now_ns;

/// What only rescan reads.
pub use connector::OWN;
/// The journals: one of a stream, one of a sample, or one for each hour of a batch run.
pub(crate) const JOURNALS: &str = "_rescan/journal";
/// The journal of a stream, and what it has read, sealed and kept.
pub const STREAM_JOURNAL: &str = "_rescan/journal/stream";
/// The journal of a sample, whose hours are decided together.
pub(crate) const SAMPLE_JOURNAL: &str = "_rescan/journal/sample";
/// Which command and which runner write the output.
pub(crate) const OWNER: &str = "_rescan/owner.json";
/// The files of sealed hours that were read and found to be those that were sealed.
pub(crate) const CHECKED: &str = "_rescan/checked.json";
/// What the runs that wrote the output were, each under its checksum.
pub(crate) const SPECS: &str = "_rescan/jobs";
/// What is in a sample.
pub(crate) const MANIFEST: &str = "_rescan/sample.json";

/// Rows that are of no use, with the reason; and rows that came after their hour was sealed.
pub const REJECTED: &str = "_rescan/rejected";
pub(crate) const LATE: &str = "_rescan/late";

/// What the name of the journal of an hour of a batch run begins with.
const OF_HOUR: &str = "batch-";

/// The journal of an hour of a batch run.
pub(crate) fn hour_journal(hour: Hour) -> String {
    format!("{JOURNALS}/{OF_HOUR}{hour}")
}

/// The hour of the journal with this name below [`JOURNALS`], where it is one of an hour.
pub(crate) fn hour_of_journal(name: &str) -> Option<Hour> {
    name.strip_prefix(OF_HOUR)?.parse().ok()
}

/// The directory of an hour of an output; `place` is empty or ends with `/`.
pub(crate) fn partition(place: &str, hour: Hour) -> String {
    format!("{place}{}", hour.path())
}

/// What the directories of hours with the rows of an input begin with that batch runs rejected.
pub(crate) fn rejected(input: &str) -> String {
    format!("{REJECTED}/{input}/")
}

/// Rows that an epoch of a stream set aside; `kind` is `late` or `rejected`.
pub(crate) fn aside(kind: &str, input: &str, epoch: &str) -> String {
    format!("{OWN}/{kind}/{input}-{epoch}.parquet")
}

/// Rows of an hour that a stream has not sealed.
pub(crate) fn open(partition: &str, epoch: &str) -> String {
    format!("{OWN}/open/{partition}/{epoch}.arrow")
}

/// The spec of a run, by its checksum.
pub(crate) fn spec(checksum: &str) -> String {
    format!("{SPECS}/{checksum}.json")
}

/// Where the damaged files of an hour are moved to.
pub(crate) fn damaged(out: &Path, partition: &str) -> PathBuf {
    out.join(OWN).join("damaged").join(partition)
}

/// A version of a side input that rows were joined to.
pub(crate) fn side(out: &Path, name: &str, version: &str) -> PathBuf {
    out.join(format!("{OWN}/side/{name}-{version}.parquet"))
}

/// Unique to an attempt.
pub(crate) fn token() -> String {
    format!("{:x}-{:x}", now_ns(), std::process::id())
}
