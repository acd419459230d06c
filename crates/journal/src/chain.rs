//! The chain's directory: `0000000007.json` is the decision of epoch 7, `0000000007.done` says it is published.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::epoch::Epoch;
use crate::error::JournalError;
use crate::recover::Facts;

/// Looks at a chain and changes nothing; needs no lock, so a run may be at it meanwhile. A missing directory is an
/// empty chain. For a finished chain [`crate::recover`] then answers `Continue`, with its last epoch in the facts.
///
/// # Errors
/// The directory cannot be listed. A record that cannot be read is a fact, not an error.
pub fn look(chain: &Path, config: &BTreeMap<String, String>) -> Result<Facts, JournalError> {
    let mut facts = Facts { config: config.clone(), ..numbers(chain)? };
    facts.newest = facts.decided.last().map(|last| read(chain, *last));
    Ok(facts)
}

/// Whether the last epoch of a chain is decided and perhaps not published to the end: [`crate::Journal::open`] publishes
/// it. Reads no record, and needs no lock.
///
/// # Errors
/// The directory cannot be listed.
pub fn is_unfinished(chain: &Path) -> Result<bool, JournalError> {
    let Facts { decided, done, .. } = numbers(chain)?;
    Ok(decided.last().is_some_and(|last| !done.contains(last)))
}

/// The numbers that the names of a chain's files say.
fn numbers(chain: &Path) -> Result<Facts, JournalError> {
    let mut facts = Facts::default();
    let entries = match fs::read_dir(chain) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(facts),
        other => other.map_err(JournalError::at(chain))?,
    };
    for entry in entries {
        let name = entry.map_err(JournalError::at(chain))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = number(name, "json") {
            facts.decided.insert(number);
        } else if let Some(number) = number(name, "done") {
            facts.done.insert(number);
        }
    }
    Ok(facts)
}

/// Reads the record of an epoch, or says why it is none.
pub(crate) fn read(chain: &Path, number: u64) -> Result<Epoch, String> {
    let bytes = fs::read(record(chain, number)).map_err(|e| format!("cannot be read: {e}"))?;
    Epoch::decode(&bytes)
}

/// The file whose create decides the epoch.
pub(crate) fn record(chain: &Path, number: u64) -> PathBuf {
    chain.join(format!("{number:010}.json"))
}

/// The file that says the epoch is published to the end.
pub(crate) fn done(chain: &Path, number: u64) -> PathBuf {
    chain.join(format!("{number:010}.done"))
}

fn number(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let number = digits.parse().ok()?;
    // Only the one spelling that a run writes; a copy made by hand is no epoch.
    (format!("{number:010}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_run_writes_count() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "0000000001.json",
            "0000000002.done",
            "12345678901.done",
            "3.json",
            "0000000003.json.bak",
            "+000000003.json",
            ".0000000003.json.x.tmp",
            "LOCK",
            "0000000004json",
        ];
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let facts = look(dir.path(), &BTreeMap::new()).unwrap();
        assert_eq!(facts.decided, [1].into());
        assert_eq!(facts.done, [2, 12_345_678_901].into());
        assert!(facts.newest.unwrap().is_err());
        assert_eq!(look(&dir.path().join("none"), &BTreeMap::new()).unwrap(), Facts::default());
    }
}
