//! Which files are there at one moment, although some get other names while they are listed.
//!
//! A listing looks at one name after another. A file that is renamed meanwhile may be in it under neither name, or under
//! both. So a listing counts only where it agrees with the one before it: each file that this one has is under the name
//! that it had, so all of these names were true at the moment between the two.

use std::collections::{HashMap, HashSet};

use std::path::Path;

use anyhow::{Result, bail};

use crate::fault::SourceError;
use crate::files::input::{FileFormat, Input, InputFile, InputFiles, Stat};
use crate::files::names;

/// How often files are listed until two listings agree.
const LISTED_AGAIN: usize = 20;

/// The files of an input, as they were at one moment.
pub(crate) struct Listing {
    input: Input,
    format: Option<FileFormat>,
    found: InputFiles,
    /// How often it was listed.
    #[cfg(test)]
    pub(crate) times: usize,
}

impl Listing {
    /// Lists an input.
    ///
    /// # Errors
    /// What cannot be listed; a file whose format is not known.
    pub(crate) fn new(input: Input, format: Option<FileFormat>) -> Result<Self> {
        let found = input.files(format)?;
        let mut listing = Self { found, ..Self::nothing(input, format) };
        listing.again()?;
        Ok(listing)
    }

    /// Standard input has no files.
    pub(crate) fn pipe() -> Self {
        Self::nothing(Input::Pipe, None)
    }

    fn nothing(input: Input, format: Option<FileFormat>) -> Self {
        Self {
            input,
            format,
            found: InputFiles::default(),
            #[cfg(test)]
            times: 0,
        }
    }

    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self.input, Input::Pipe)
    }

    /// The files when they were listed last, in reading order.
    pub(crate) fn files(&self) -> &[InputFile] {
        &self.found.files
    }

    /// How many files were passed over then.
    pub(crate) fn skipped(&self) -> u64 {
        self.found.skipped
    }

    /// Lists anew.
    ///
    /// # Errors
    /// As of [`Listing::new`]; [`SourceError::Changing`]: no two listings agree.
    pub(crate) fn again(&mut self) -> Result<()> {
        for _ in 0..LISTED_AGAIN {
            #[cfg(test)]
            (self.times += 1);
            let now = self.input.files(self.format)?;
            let before = std::mem::replace(&mut self.found, now);
            if agree(&before.files, &self.found.files) {
                return Ok(());
            }
        }
        let what = format!("its files got other names each of the {LISTED_AGAIN} times that they were listed");
        bail!(SourceError::Changing(format!("{}: {what}: try again once that has ended", self.input)))
    }

    /// Whether a name is still that of the file that was listed under it, or of none that was listed under another;
    /// `path` is where it is.
    pub(crate) fn is_true_of(&self, name: &str, path: &Path) -> bool {
        let at = self.files().binary_search_by(|file| names::compare(&file.name, name));
        let listed = at.ok().map(|at| self.files()[at].stat);
        let now = std::fs::metadata(path).ok().map(|metadata| Stat::of(&metadata));
        match (listed, now) {
            (Some(listed), now) => now.is_some_and(|now| listed.is_same_file(&now)),
            (None, Some(now)) => !self.files().iter().any(|file| file.stat.is_same_file(&now)),
            (None, None) => true,
        }
    }
}

/// Whether what was there before has kept its name, and what is new has one name: two listings that agree are those of one
/// moment between them, and of new files.
fn agree(before: &[InputFile], now: &[InputFile]) -> bool {
    let id = |file: &InputFile| (file.stat.device, file.stat.inode);
    let names: HashMap<&str, _> = now.iter().map(|file| (file.name.as_str(), id(file))).collect();
    if before.iter().any(|file| names.get(file.name.as_str()) != Some(&id(file))) {
        return false;
    }
    if before.len() == now.len() {
        return true;
    }
    let known: HashSet<&str> = before.iter().map(|file| file.name.as_str()).collect();
    let mut links = HashMap::new();
    now.iter().for_each(|file| *links.entry(id(file)).or_insert(0) += 1);
    now.iter().filter(|file| !known.contains(file.name.as_str())).all(|file| links[&id(file)] == 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Files by name and inode.
    fn listed(files: &[(&str, u64)]) -> Vec<InputFile> {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("a.jsonl");
        fs::write(&path, "").unwrap();
        let file = Input::new(path.to_str().unwrap()).unwrap().files(None).unwrap().files.remove(0);
        let named = |(name, inode): &(&str, u64)| {
            let mut file = InputFile { name: (*name).to_owned(), ..file.clone() };
            file.stat.inode = *inode;
            file
        };
        files.iter().map(named).collect()
    }

    #[test]
    fn a_listing_in_the_midst_of_a_renaming_does_not_count() {
        let before = [("a", 1), ("b", 2)];
        for (case, before, now, agrees) in [
            ("nothing has changed", &before[..], &[("a", 1), ("b", 2)][..], true),
            ("a file is new", &before, &[("a", 1), ("b", 2), ("c", 3)], true),
            ("a file is under neither name", &before, &[("b", 2)], false),
            ("a file is under both names", &before, &[("a", 1), ("b", 2), ("c", 1)], false),
            ("a new file is under both names", &before, &[("a", 1), ("b", 2), ("c", 3), ("d", 3)], false),
            ("a file has the place of another that is not seen", &before, &[("a", 1), ("b", 1)], false),
            ("two files have swapped their names", &before, &[("a", 2), ("b", 1)], false),
            ("two names of one file stay", &[("a", 1), ("c", 1)], &[("a", 1), ("c", 1), ("d", 4)], true),
            ("nothing was there", &[], &[("a", 1)], true),
        ] {
            assert_eq!(agree(&listed(before), &listed(now)), agrees, "{case}");
        }
    }
}
