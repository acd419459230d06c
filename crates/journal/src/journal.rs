//! A chain that this run holds: open it, commit epochs to it, sweep up behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::below::below;
use crate::chain::{self, look};
use crate::durable::{Created, create_exclusive, remove, sync_dir};
use crate::epoch::Epoch;
use crate::error::JournalError;
use crate::lock::Lock;
use crate::publish::{check_state, prepare, publish, sync_below};
use crate::recover::{Decision, recover};
use crate::syncs::Syncs;

/// A locked chain of epochs, all of them published to the end.
#[derive(Debug)]
pub struct Journal {
    root: PathBuf,
    chain: PathBuf,
    stage: String,
    state: String,
    config: BTreeMap<String, String>,
    last: Option<Epoch>,
    syncs: Syncs,
    _lock: Lock,
}

impl Journal {
    /// Takes the chain in the directory `chain` (relative to the output root, or absolute), finishes an epoch that was
    /// decided but not published, and deletes what undecided epochs left in [`Journal::stage`] and [`Journal::state`].
    /// The last component of `chain` is its name: no other chain of the same root may have it.
    ///
    /// # Errors
    /// `Locked`, `ConfigChanged`, `Corrupt` or `Io`. An epoch may have been rolled forward all the same.
    pub fn open(root: &Path, chain: &Path, config: BTreeMap<String, String>) -> Result<Self, JournalError> {
        let Some(name) = chain.file_name().and_then(OsStr::to_str) else {
            return Err(JournalError::corrupt(chain, "has no name for a chain"));
        };
        let (stage, state) = (format!("_rescan/stage/{name}"), format!("_rescan/state/{name}"));
        for dir in [stage.as_ref(), state.as_ref(), chain] {
            // A chain may be elsewhere, by a path of its own.
            below(root, if dir.is_absolute() { Path::new("_rescan") } else { dir })?;
        }
        let chain = root.join(chain);
        let lock = Lock::acquire(&chain)?;
        // A record that a killed run created may not be on the disk yet, and all that follows relies on it.
        let syncs = Syncs::default();
        sync_below(root, &[chain.clone()].into(), &syncs)?;
        let last = resume(root, &chain, &config, &syncs)?;
        let journal = Self { root: root.to_owned(), chain, stage, state, config, last, syncs, _lock: lock };
        journal.delete_undecided()?;
        Ok(journal)
    }

    /// The last epoch, published to the end; none on a fresh chain.
    #[must_use]
    pub fn last(&self) -> Option<&Epoch> {
        self.last.as_ref()
    }

    /// The number that the next epoch must have.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.last.as_ref().map_or(1, |last| last.number + 1)
    }

    /// Where to write files that an epoch will publish, relative to the output root: `_rescan/stage/NAME`. Made by
    /// whoever writes there.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Where to write files of state and offsets, relative to the output root: `_rescan/state/NAME`. Every file below it that the last
    /// two epochs do not name is deleted when the chain is opened.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Where to hand in staged files and state files once they are written: [`Journal::commit`] waits for them.
    #[must_use]
    pub fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// Decides the epoch and publishes it. Each of its staged files and state files must have been handed in to
    /// [`Journal::syncs`], or synced, before.
    ///
    /// After an error drop the journal: opening it again finds out whether the epoch was decided.
    ///
    /// # Errors
    /// `Unbalanced` and `Refused` before the decision, `Fenced` where another run has decided this number, `Corrupt`
    /// or `Io` before or after it.
    pub fn commit(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        let number = epoch.number;
        let refused = |what: String| JournalError::Refused { epoch: number, what };
        if number != self.next_number() {
            return Err(refused(format!("the next number is {}", self.next_number())));
        }
        if epoch.config != self.config {
            return Err(refused("its configuration is not the one the journal was opened with".to_owned()));
        }
        epoch.check_paths().map_err(refused)?;
        for (input, ledger) in &epoch.ledger {
            ledger.check(input)?;
        }
        let bytes = epoch.encode().map_err(refused)?;
        // Published is what recovery would read, so that both write the same.
        let epoch = Epoch::decode(&bytes).map_err(refused)?;
        self.syncs.wait()?;
        prepare(&self.root, &epoch, &self.syncs)?;
        self.decide(number, &bytes)?;
        finish(&self.root, &self.chain, &epoch, &self.syncs)?;
        self.last = Some(epoch);
        Ok(())
    }

    /// The create that everything hangs on.
    fn decide(&self, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let path = chain::record(&self.chain, number);
        match create_exclusive(&path, bytes).map_err(JournalError::at(&path))? {
            Created::Won => Ok(()),
            // Our own, when an earlier attempt of ours at this very record ended in an error. It holds our token.
            Created::Exists if fs::read(&path).map_err(JournalError::at(&path))? == bytes => Ok(()),
            Created::Exists => Err(JournalError::Fenced { path }),
        }
    }

    /// Keeps the records of the last two epochs and the state files they name, and deletes those of older epochs.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read, or `Io`.
    pub fn collect_garbage(&mut self) -> Result<(), JournalError> {
        let Some(last) = &self.last else { return Ok(()) };
        let facts = look(&self.chain, &self.config)?;
        let first_kept = last.number.saturating_sub(1);
        let kept = self.named_by_last_two()?;
        // Oldest first, and the record before its `.done`: what a crash leaves is a sound chain.
        for &number in facts.decided.range(..first_kept) {
            let old = self.read(number)?;
            for path in old.kept().map(|(path, _)| path).filter(|path| !kept.contains(*path)) {
                self.delete(&self.root.join(path))?;
            }
            self.delete(&chain::record(&self.chain, number))?;
            sync_dir(&self.chain).map_err(JournalError::at(&self.chain))?;
        }
        for &number in facts.done.range(..first_kept) {
            self.delete(&chain::done(&self.chain, number))?;
        }
        Ok(())
    }

    /// Deletes what no decided epoch names: files below stage and state, and half-made records. Every epoch but the
    /// last two has published all it staged.
    fn delete_undecided(&self) -> Result<(), JournalError> {
        let kept = self.named_by_last_two()?.into_iter().map(|path| self.root.join(path)).collect();
        self.sweep(&self.root.join(&self.stage), &kept)?;
        self.sweep(&self.root.join(&self.state), &kept)?;
        for path in list(&self.chain)?.iter().filter(|path| path.extension() == Some(OsStr::new("tmp"))) {
            self.delete(path)?;
        }
        Ok(())
    }

    fn sweep(&self, dir: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), JournalError> {
        for path in list(dir)? {
            if path.is_dir() && !path.is_symlink() {
                self.sweep(&path, kept)?;
            } else if !kept.contains(&path) {
                self.delete(&path)?;
            }
        }
        Ok(())
    }

    fn named_by_last_two(&self) -> Result<BTreeSet<String>, JournalError> {
        let mut named = BTreeSet::new();
        if let Some(last) = &self.last {
            named.extend(last.files().map(str::to_owned));
            if last.number > 1 {
                named.extend(self.read(last.number - 1)?.files().map(str::to_owned));
            }
        }
        Ok(named)
    }

    fn read(&self, number: u64) -> Result<Epoch, JournalError> {
        chain::read(&self.chain, number)
            .map_err(|what| JournalError::corrupt(&chain::record(&self.chain, number), what))
    }

    fn delete(&self, path: &Path) -> Result<(), JournalError> {
        remove(path).map(|_| ()).map_err(JournalError::at(path))
    }
}

/// Rolls the chain forward where it must be, and answers its last epoch.
fn resume(
    root: &Path,
    chain: &Path,
    config: &BTreeMap<String, String>,
    syncs: &Syncs,
) -> Result<Option<Epoch>, JournalError> {
    let mut facts = look(chain, config)?;
    if let (Decision::RollForward { .. }, Some(Ok(epoch))) = (recover(&facts), &facts.newest) {
        finish(root, chain, epoch, syncs)?;
        facts = look(chain, config)?;
    }
    match recover(&facts) {
        Decision::Fresh => Ok(None),
        Decision::Continue { .. } => {
            let last = facts.newest.and_then(Result::ok);
            last.as_ref().map_or(Ok(()), |epoch| check_state(root, epoch))?;
            Ok(last)
        }
        Decision::ConfigChanged { epoch, differences } => Err(JournalError::ConfigChanged { epoch, differences }),
        Decision::Corrupt { what } => Err(JournalError::corrupt(chain, what)),
        Decision::RollForward { epoch } => {
            Err(JournalError::corrupt(&chain::done(chain, epoch), "vanished as soon as it was written"))
        }
        Decision::Gap { missing } => {
            let what = format!("the records of epochs {} to {} are missing", missing.start(), missing.end());
            Err(JournalError::corrupt(chain, what))
        }
    }
}

/// Publishes a decided epoch, then says so durably.
fn finish(root: &Path, chain: &Path, epoch: &Epoch, syncs: &Syncs) -> Result<(), JournalError> {
    publish(root, epoch, syncs)?;
    let done = chain::done(chain, epoch.number);
    create_exclusive(&done, b"").map(|_| ()).map_err(JournalError::at(&done))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let paths = entries.and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect());
            paths.map_err(JournalError::at(dir))
        }
    }
}
