//! The notes of an epoch of a stream: how far its outputs are sealed, and how far the rows of files were given to f.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use connector::Hour;
use journal::{Epoch, Ledger};
use serde::{Deserialize, Serialize};

/// How far outputs are sealed, once an hour of them is: the notes of an epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SealedTo {
    /// By output: the first hour that is not sealed.
    pub sealed_to: BTreeMap<String, Hour>,
    /// By output: the last sealed hour that has rows.
    #[serde(default)]
    pub rows_to: BTreeMap<String, Hour>,
    /// By input: rows that were taken back beyond those that this run has taken, for it began with the state of one that
    /// took them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    owed: BTreeMap<String, u64>,
    /// How far the rows of a bounded run over files are given to f, until all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Position>,
}

impl SealedTo {
    /// As an epoch wrote it down.
    pub(crate) fn read(epoch: &Epoch) -> Result<SealedTo> {
        serde_json::from_value(epoch.notes.clone()).context("the journal's notes")
    }

    /// The first hour of an output that is not sealed, once one is.
    pub(crate) fn end(&self, output: &str) -> Option<Hour> {
        self.sealed_to.get(output).copied()
    }

    /// By output: the first hour that is not sealed.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&str, Hour)> {
        self.sealed_to.iter().map(|(output, end)| (output.as_str(), *end))
    }

    /// What a run begins with that goes on where another had sealed its outputs, all hours before `from`.
    pub(crate) fn carried(self, from: Hour) -> SealedTo {
        let sealed_to = self.sealed_to.into_iter().map(|(output, sealed_to)| (output, sealed_to.min(from))).collect();
        SealedTo { sealed_to, owed: BTreeMap::new(), given: None, ..self }
    }

    /// Takes rows back off those that were accepted, as soon as there are so many: however input is cut, the sums are
    /// the same at its end.
    pub(crate) fn take_back(&mut self, input: String, rows: u64, ledger: &mut Ledger) {
        let owed = self.owed.remove(&input).unwrap_or(0) + rows;
        let now = owed.min(ledger.accepted);
        ledger.reclass(now, |ledger| &mut ledger.duplicate);
        self.owed.extend((owed > now).then_some((input, owed - now)));
    }
}

/// How far an epoch of such a run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The watermark that the run began with: rows before it were late.
    pub floor: Option<i64>,
    /// By input.
    pub inputs: BTreeMap<String, Of>,
}

/// The same of one input, in rows that f may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Of {
    /// All there are.
    pub rows: u64,
    /// Those that f took as they were read.
    pub early: u64,
    /// Of the others f took those before this hour, and so many of it.
    pub hour: Option<Hour>,
    pub of_hour: u64,
}
