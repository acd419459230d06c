//! Whose an output is: one command's, by one runner. Hours of two commands beside one another would read as one table.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use connector::Hour;
use journal::{JournalError, create_dirs, create_exclusive};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::job::Job;
use crate::output::layout::{OWN, OWNER};

/// What is at an output is not what a run would write there (exit 78). Nothing was written.
#[derive(Debug, Error)]
pub enum Occupied {
    /// Another command's, or the other runner's.
    #[error("{} is of {there}, and not of {asked}: give it another --out, or remove what is there", out.display())]
    Owned {
        /// The output's root.
        out: PathBuf,
        /// Whose it is.
        there: String,
        /// Who asked for it.
        asked: String,
    },
    /// A sample of hours that this one is not of.
    #[error(
        "{} holds a sample of other hours too, {hour} for one: draw it of the same hours, give it another --out, or \
         --force to take those out",
        out.display()
    )]
    OtherHours {
        /// The output's root.
        out: PathBuf,
        /// The first of them.
        hour: Hour,
    },
}

/// What drives f.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runner {
    Batch,
    Stream,
}

/// Who may write to an output: any run of the same command, whatever its other flags and hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    command: String,
    outputs: BTreeSet<String>,
    runner: Runner,
}

impl Owner {
    pub(crate) fn new(job: &Job, runner: Runner) -> Owner {
        let outputs = job.scan.outputs().iter().map(|output| job.made(output).output).collect();
        Owner { command: job.command.clone(), outputs, runner }
    }

    /// Of a place that holds the union of states.
    pub(crate) fn of_states() -> Owner {
        Owner { command: "merge --state".to_owned(), outputs: ["state".to_owned()].into(), runner: Runner::Stream }
    }

    /// Of a serving view of two outputs.
    pub(crate) fn of_view() -> Owner {
        Owner { command: "reconcile --merge".to_owned(), outputs: ["view".to_owned()].into(), runner: Runner::Batch }
    }

    /// That the output is this owner's, or nobody's; writes nothing. Answers whether it is somebody's.
    ///
    /// # Errors
    /// [`Occupied::Owned`]; `Corrupt` where the file does not say whose it is.
    pub(crate) fn check(&self, out: &Path) -> Result<bool> {
        let path = out.join(OWNER);
        let text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        let there: Owner = serde_json::from_slice(&text)
            .map_err(|e| JournalError::Corrupt { path, what: format!("does not say whose the output is: {e}") })?;
        let (whose, asked) = (there.to_string(), self.to_string());
        ensure!(there == *self, Occupied::Owned { out: out.to_owned(), there: whose, asked });
        Ok(true)
    }

    /// Makes the output this owner's, before anything of it is decided. Of many that try at once, one wins.
    ///
    /// # Errors
    /// As [`Owner::check`]; those of the disk.
    pub(crate) fn claim(&self, out: &Path) -> Result<()> {
        if !self.check(out)? {
            let path = out.join(OWNER);
            let made = create_dirs(&out.join(OWN));
            made.and_then(|()| create_exclusive(&path, format!("{:#}\n", serde_json::json!(self)).as_bytes()))
                .map_err(|source| JournalError::Io { path, source })?;
            self.check(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = match self.runner {
            Runner::Batch => "batch runs",
            Runner::Stream => "a stream",
        };
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        write!(f, "{runs} of {}, with the output {}", self.command, outputs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_claim_an_output_at_once_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let owner = |n: usize| Owner {
            command: format!("c{}", n / 2),
            outputs: ["rows".to_owned()].into(),
            runner: if n.is_multiple_of(2) { Runner::Batch } else { Runner::Stream },
        };
        let (out, owner) = (dir.path(), &owner);
        let has: Vec<usize> = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..16).map(|n| scope.spawn(move || owner(n).claim(out).is_ok())).collect();
            claims.into_iter().enumerate().filter_map(|(n, claim)| claim.join().unwrap().then_some(n)).collect()
        });
        let [n] = has.as_slice() else { panic!("{has:?} have it") };
        assert!(owner(*n).check(out).unwrap());
        let refused = owner(*n ^ 1).check(out).unwrap_err();
        assert!(refused.is::<Occupied>(), "{refused}");
    }
}
