//! Which hours a batch run is to write.

use anyhow::{Result, ensure};
use connector::{Hour, Misfiled, SourceError};

/// Which hours were asked for, and how strictly.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The first hour; none: the first that any input has.
    pub from: Option<Hour>,
    /// The hour after the last; none: the last that any input has.
    pub to: Option<Hour>,
    /// Take hours that are not there, or not sealed, as they are.
    pub allow_incomplete: bool,
    /// Write hours again that are up to date.
    pub force: bool,
    /// The width of the windows that rows of the output begin, microseconds, where they do.
    pub window: Option<i64>,
    /// Whether output may have other times than the events it is made of: a script of a user's own.
    pub anywhere: bool,
    /// What is done with rows that are not in the directory of their hour.
    pub misfiled: Misfiled,
}

impl Asked {
    /// The same, over inputs with these first and last hours.
    ///
    /// # Errors
    /// [`SourceError::Missing`] where no input has an hour in it; `places` says where those were looked for.
    pub(crate) fn range(self, ends: impl Iterator<Item = (Hour, Hour)>, places: &str) -> Result<Range> {
        let Asked { from, to, allow_incomplete, force, window, anywhere, .. } = self;
        let whole = from.is_none() || to.is_none();
        if let (Some(from), Some(to)) = (from, to) {
            return Ok(Range { from, to, allow_incomplete, whole, force, window, anywhere });
        }
        let ends = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (first, last) = ends.ok_or_else(|| SourceError::Missing(format!("{places} have no hours")))?;
        let end = last.plus(1);
        let outside = from.is_some_and(|from| from >= end) || to.is_some_and(|to| to <= first);
        let why =
            || SourceError::Missing(format!("{places} has nothing in this range: its hours are {first} up to {end}"));
        ensure!(!outside, why());
        let (from, to) = (from.unwrap_or(first), to.unwrap_or(end));
        Ok(Range { from, to, allow_incomplete, whole, force, window, anywhere })
    }
}

/// The hours of a run, and how strictly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// The first hour.
    pub from: Hour,
    /// The hour after the last.
    pub to: Hour,
    /// As in [`Asked`].
    pub allow_incomplete: bool,
    /// An end of it is that of the inputs: hours that lack input wait, or stay as they are.
    pub whole: bool,
    /// As in [`Asked`].
    pub force: bool,
    /// As in [`Asked`].
    pub window: Option<i64>,
    /// As in [`Asked`].
    pub anywhere: bool,
}

impl Range {
    /// Where the window begins that the begin of the range is in.
    pub(crate) fn begins(&self) -> Hour {
        let start = self.from.start_us();
        self.window.map_or(self.from, |us| Hour::of(start - start.rem_euclid(us)))
    }

    /// The hours of output: those of the range, and the one in which a window began that the range cuts. Where the range
    /// begins with the inputs, no hour between them is left out.
    pub(crate) fn hours(&self) -> impl Iterator<Item = Hour> + use<> {
        let begins = self.begins();
        let before = if self.whole { begins..self.from } else { begins..begins.plus(1).min(self.from) };
        Hour::range(before).chain(Hour::range(self.from..self.to))
    }
}
