//! What reconcile reports: differences, each with one cause, and their sum.

use std::collections::BTreeMap;
use std::fmt;

use connector::Hour;
use serde::{Deserialize, Serialize};

use crate::reconcile::events::Event;
use crate::reconcile::serve::Served;

/// Why a row differs. Found from evidence and never guessed: what has none is [`Cause::Unexplained`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The stream met an event of the row behind its watermark.
    Late,
    /// An event came more than once.
    Duplicate,
    /// One of the two partitions is not sealed: what it holds may still change.
    Pending,
    /// Offsets are missing.
    Gap,
    /// One side rejected an event of the row.
    Rejected,
    /// The sides were made with other flags, another script or version.
    Config,
    /// The sides saw other versions of a side input.
    SideInput,
    /// The batch's input is not what it was made of any more.
    Input,
    /// Two numbers, no further apart than the user allows.
    Tolerance,
    /// Only more than one cause together explain it.
    Several,
    /// No evidence of anything else.
    Unexplained,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Pending => "pending",
            Self::Gap => "gap",
            Self::Rejected => "rejected",
            Self::Config => "config",
            Self::SideInput => "side-input",
            Self::Input => "input",
            Self::Tolerance => "tolerance",
            Self::Several => "several",
            Self::Unexplained => "unexplained",
        })
    }
}

/// One value that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// The partition.
    pub hour: Hour,
    /// The row: its key columns and their values. All values are `*` where it is the whole partition.
    pub key: Vec<(String, String)>,
    /// The column; `*` for the whole row, which then is on one side only (`name=value, …`) or several times under one
    /// key (`2 rows`). With the key `*`, a column that only one side has, or has in this type.
    pub column: String,
    /// The value in the batch output; none if null, or not there.
    pub batch: Option<String>,
    /// The value in the stream output; none if null, or not there.
    pub stream: Option<String>,
    /// Why.
    pub cause: Cause,
    /// The smallest set of causes that explains it; none where it is unexplained.
    pub causes: Vec<Cause>,
    /// The events behind it, at most 100.
    pub events: Vec<Event>,
    /// How many they are.
    pub event_count: u64,
    /// Whether the cause is shown by f itself, or by what the outputs have on record, and by nothing less.
    pub proven: bool,
}

/// What was compared, and how it came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Partitions that are on either side.
    pub partitions: u64,
    /// Those of them that were equal by their checksums, and were not read.
    pub partitions_equal_by_checksum: u64,
    /// Rows of the batch output.
    pub rows_batch: u64,
    /// Rows of the stream output.
    pub rows_stream: u64,
    /// Rows that are on both sides, once, with equal values in every column that both sides have.
    pub rows_equal: u64,
    /// Differences by cause.
    pub differences: BTreeMap<Cause, u64>,
    /// The same by hour, of hours that have some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hours: BTreeMap<Hour, BTreeMap<Cause, u64>>,
    /// Why hours could not be explained, and how many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unproven: BTreeMap<String, u64>,
    /// What became of the serving view, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<Served>,
}

impl Summary {
    /// 0: equal. 1: every difference is explained. 3: at least one is not.
    pub fn exit_code(&self) -> u8 {
        match self.differences.get(&Cause::Unexplained) {
            Some(1..) => 3,
            _ if self.differences.values().any(|n| *n > 0) => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Cause; 11] = [
        Cause::Late,
        Cause::Duplicate,
        Cause::Pending,
        Cause::Gap,
        Cause::Rejected,
        Cause::Config,
        Cause::SideInput,
        Cause::Input,
        Cause::Tolerance,
        Cause::Several,
        Cause::Unexplained,
    ];

    #[test]
    fn a_cause_is_written_alike_for_people_and_machines() {
        for cause in ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{cause}\""));
        }
    }

    #[test]
    fn only_what_is_unexplained_is_worse_than_different() {
        let code = |causes: &[Cause]| {
            let differences = causes.iter().map(|c| (*c, 1)).collect();
            Summary { differences, ..Summary::default() }.exit_code()
        };
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&ALL[..10]), 1);
        assert_eq!(code(&[Cause::Pending, Cause::Unexplained]), 3);
        let none = BTreeMap::from([(Cause::Unexplained, 0), (Cause::Late, 0)]);
        assert_eq!(Summary { differences: none, ..Summary::default() }.exit_code(), 0);
    }
}
