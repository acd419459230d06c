//! The files that were read, by the names that they have now.

pub(crate) mod contents;
pub(crate) mod kinship;
pub(crate) mod mark;
pub(crate) mod meet;
pub(crate) mod sum;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::ops::Bound;

use anyhow::{Result, bail};

use crate::fault::SourceError;
use crate::files::input::{InputFile, Stat};
use crate::files::known::contents::{Tails, read_to};
use crate::files::known::mark::{Changes, FileMark, changed};
use crate::files::known::meet::meet;
use crate::files::names;
use crate::source::Offset;

/// Files that are gone are known again for as long as there are no more of them than this.
const GONE_MAX: usize = 1000;

/// The files that were read, by the names that they have now.
#[derive(Default)]
pub(crate) struct Known {
    marks: BTreeMap<String, FileMark>,
    tails: Tails,
    /// By topic: how many files had that name.
    had: HashMap<String, i32>,
}

impl Known {
    pub(crate) fn new(marks: BTreeMap<String, FileMark>) -> Self {
        let mut known = Self::default();
        known.apply(&marks.into_iter().map(|(name, mark)| (name, Some(mark))).collect());
        known
    }

    /// What a journal says that has one place for all files: those that sort before it byte by byte were read to the end,
    /// as far as it can tell.
    ///
    /// # Errors
    /// The file of the place is gone, or is not what was read.
    pub(crate) fn from_place(files: &[InputFile], place: &Offset) -> Result<Self> {
        let Some(current) = files.iter().find(|file| file.name == place.file) else {
            bail!(SourceError::BadData(format!(
                "{} is gone, and its row {} is to be read next: put it back, or start anew with another --out",
                place.file, place.row
            )));
        };
        let mut marks = BTreeMap::new();
        for file in files.iter().filter(|file| !file.rotated && file.name < place.file) {
            marks.insert(file.name.clone(), read_to(file, None)?);
        }
        let mark = read_to(current, Some(place))?;
        if mark.row != place.row || current.is_text() && mark.position != place.position {
            bail!(changed(current, &FileMark { position: place.position, row: place.row, ..mark }));
        }
        marks.insert(current.name.clone(), mark);
        Ok(Self::new(marks))
    }

    pub(crate) fn marks(&self) -> &BTreeMap<String, FileMark> {
        &self.marks
    }

    /// How far the file that has this name was read.
    pub(crate) fn mark(&self, name: &str) -> Option<&FileMark> {
        self.marks.get(name).filter(|mark| !mark.gone)
    }

    /// How many other files had this name.
    pub(crate) fn before(&self, name: &str) -> i32 {
        self.had.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn apply(&mut self, changes: &Changes) {
        for (name, _) in changes.iter().filter(|(_, mark)| mark.is_none()) {
            self.tails.remove(name);
        }
        for mark in changes.iter().filter_map(|(_, mark)| mark.as_ref()) {
            let had = self.had.entry(mark.topic.clone()).or_default();
            *had = (*had).max(mark.partition + 1);
        }
        apply(&mut self.marks, changes);
    }

    pub(crate) fn set_tail(&mut self, name: &str, tail: u128) {
        self.tails.insert(name.to_owned(), tail);
    }

    pub(crate) fn forget_tail(&mut self, name: &str) {
        self.tails.remove(name);
    }

    /// Whether a file may be read on from its mark as it stands open: nothing that was read of it has changed since it was
    /// compared.
    pub(crate) fn is_as_compared(&self, file: &InputFile, open: &File, mark: &FileMark, now: Stat) -> bool {
        if !now.is_same_file(&file.stat) {
            return false;
        }
        let tail = || sum::of_tail(open, mark.position).ok();
        now == file.stat || mark.position == 0 || self.tails.get(&file.name).is_some_and(|known| Some(*known) == tail())
    }

    /// Whether a file that was read still ends before its mark as it did when it was compared last, where that is known.
    pub(crate) fn ends_as_read(&self, name: &str, open: &File, mark: &FileMark) -> bool {
        self.tails.get(name).is_none_or(|known| sum::of_tail(open, mark.position).ok() == Some(*known))
    }

    /// Finds every file that was read among those that are there, and says what became of it.
    ///
    /// # Errors
    /// [`SourceError::BadData`]: a file that was read is not what it was, or is gone before its end was read.
    pub(crate) fn meet(&mut self, files: &[InputFile]) -> Result<Changes> {
        let mut changes = meet(&self.marks, files, &mut self.tails)?;
        if !changes.is_empty() {
            forget_oldest(&self.marks, &mut changes);
        }
        Ok(changes)
    }

    /// The files that are there whose rows were read, copies too, and which are of one name but for what rotation has put
    /// behind it.
    pub(crate) fn of_plain_name(&self, plain: &str) -> impl Iterator<Item = (&str, &FileMark)> {
        let marks = self.marks.range::<str, _>((Bound::Included(plain), Bound::Unbounded));
        let near = marks.take_while(move |(name, _)| name.starts_with(plain));
        let read = |mark: &FileMark| mark.row > 0 && !mark.gone;
        let of_name = near.filter(move |(name, mark)| names::plain(name) == plain && read(mark));
        of_name.map(|(name, mark)| (name.as_str(), mark))
    }
}

/// First away, then there: names may be swapped.
pub(crate) fn apply(marks: &mut BTreeMap<String, FileMark>, changes: &Changes) {
    for (name, _) in changes.iter().filter(|(_, mark)| mark.is_none()) {
        marks.remove(name);
    }
    marks.extend(changes.iter().filter_map(|(name, mark)| Some((name.clone(), mark.clone()?))));
}

fn forget_oldest(marks: &BTreeMap<String, FileMark>, changes: &mut Changes) {
    let decided: HashSet<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    let before = marks.iter().filter(|(name, mark)| mark.gone && !decided.contains(name.as_str()));
    let mut gone: Vec<(i64, String)> = before.map(|(name, mark)| (mark.stat.modified, name.clone())).collect();
    gone.sort_unstable();
    let more = changes.iter().filter(|(_, mark)| mark.as_ref().is_some_and(|mark| mark.gone)).count();
    let surplus = (gone.len() + more).saturating_sub(GONE_MAX);
    changes.extend(gone.into_iter().take(surplus).map(|(_, name)| (name, None)));
}
