//! What became of every file that was read: which of those that are there now it is. It may have grown, been moved, copied
//! or compressed by rotation, or replaced, and another may have its name.
//!
//! The best evidence goes first: a file that looks as it did; then the same inode with the same rows; then the same rows,
//! of most rows first, for a file that holds many rows also holds the first few of them. A file of which no row was read
//! is like every other, so it comes last: no other file's rows may count as its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Result, bail};

use crate::fault::SourceError;
use crate::files::input::{InputFile, Stat, is_packed_away};
use crate::files::known::contents::{Contents, Tails, holds, holds_as_before};
use crate::files::known::mark::{Changes, FileMark, changed};
use crate::files::names;

/// Finds every marked file among those that are there, and says what became of it.
///
/// # Errors
/// [`SourceError::BadData`]: a file that was read is not what it was, or is gone before its end was read; a file that
/// cannot be read.
pub(crate) fn meet(marks: &BTreeMap<String, FileMark>, files: &[InputFile], tails: &mut Tails) -> Result<Changes> {
    let there: HashMap<&str, &InputFile> = files.iter().map(|file| (file.name.as_str(), file)).collect();
    let looks_same = |name: &str, mark: &FileMark| there.get(name).is_some_and(|file| file.stat == mark.stat);
    let copies = marks.iter().filter(|(_, mark)| mark.copy).map(|(name, _)| name.as_str()).collect();
    let (mut taken, mut same_copies, mut lost) = (HashSet::new(), Vec::new(), Vec::new());
    for (name, mark) in marks {
        match !mark.gone && looks_same(name, mark) {
            true if mark.copy => same_copies.push(name.as_str()),
            true => _ = taken.insert(name.as_str()),
            false => lost.push(Lost { name, mark, now: None }),
        }
    }
    if lost.is_empty() {
        return Ok(Changes::new());
    }
    let mut meeting = Meeting { files, lost, copies, taken, tails };
    meeting.find(|mark| !mark.copy)?;
    // A copy is one for as long as no file that was read needs it; another file may then hold what it held.
    for name in same_copies {
        if !meeting.taken.insert(name) {
            meeting.lost.push(Lost { name, mark: &marks[name], now: None });
        }
    }
    meeting.find(|mark| mark.copy)?;
    // Files that are gone come later: their inodes may have been used again.
    meeting.by_inode(&|mark| mark.row > 0 && mark.gone)?;
    meeting.find_unread(&there)?;
    meeting.changes(&there)
}

/// A file that was read and does not look as it did.
struct Lost<'a> {
    name: &'a str,
    mark: &'a FileMark,
    now: Option<&'a InputFile>,
}

struct Meeting<'a, 't> {
    files: &'a [InputFile],
    lost: Vec<Lost<'a>>,
    /// The names of files that were copies of others.
    copies: HashSet<&'a str>,
    /// The names of files that are known to be one that was read.
    taken: HashSet<&'a str>,
    tails: &'t mut Tails,
}

impl<'a> Meeting<'a, '_> {
    /// Finds files of which rows were read.
    fn find(&mut self, which: impl Fn(&FileMark) -> bool) -> Result<()> {
        let which = |mark: &FileMark| mark.row > 0 && !mark.gone && which(mark);
        self.by_inode(&which)?;
        self.by_rows(&which)
    }

    fn is_free(&self, file: &InputFile) -> bool {
        !self.taken.contains(file.name.as_str())
    }

    fn take(&mut self, at: usize, file: &'a InputFile) {
        self.lost[at].now = Some(file);
        self.taken.insert(&file.name);
    }

    fn by_inode(&mut self, which: &impl Fn(&FileMark) -> bool) -> Result<()> {
        let mut inodes: HashMap<_, Vec<&InputFile>> = HashMap::new();
        for file in self.files.iter().filter(|file| self.is_free(file)) {
            inodes.entry((file.stat.device, file.stat.inode)).or_default().push(file);
        }
        for at in 0..self.lost.len() {
            let Lost { name, mark, now: None } = self.lost[at] else { continue };
            let Some(links) = inodes.get(&(mark.stat.device, mark.stat.inode)).filter(|_| which(mark)) else {
                continue;
            };
            let mut links: Vec<&InputFile> = links.iter().copied().filter(|file| self.is_free(file)).collect();
            links.sort_by_key(|file| file.name != name);
            for file in links {
                // One that was taken away and brought back elsewhere looks as it did.
                let may_be = !mark.gone || file.name == name || file.stat == mark.stat;
                if may_be && holds_as_before(file, name, mark, self.tails)? {
                    self.take(at, file);
                    break;
                }
            }
        }
        Ok(())
    }

    /// By what was read of them: a file under the same name, or a copy under one that rotation gives, or under any.
    fn by_rows(&mut self, which: &impl Fn(&FileMark) -> bool) -> Result<()> {
        let open = |lost: &Lost| lost.now.is_none() && which(lost.mark);
        let mut order: Vec<usize> = (0..self.lost.len()).filter(|at| open(&self.lost[*at])).collect();
        if order.is_empty() {
            return Ok(());
        }
        let contents = Contents::new(order.iter().map(|at| (*at, self.lost[*at].mark)));
        let mut holders: HashMap<usize, Vec<&InputFile>> = HashMap::new();
        for file in self.files.iter().filter(|file| self.is_free(file)) {
            for at in contents.held_by(file)? {
                holders.entry(at).or_default().push(file);
            }
        }
        order.sort_by_key(|at| std::cmp::Reverse(self.lost[*at].mark.position));
        for at in order {
            let name = self.lost[at].name;
            // The newest comes last in the order of files, and holds the most.
            let nearness =
                |file: &&InputFile| (file.name == name, names::plain(&file.name) == names::plain(name), !file.packed);
            // A copy holds the rows of the file that it was made of, and of no other that begins with the same ones.
            let (is_copy, plain) = (self.lost[at].mark.copy, names::plain(name));
            let strange =
                |file: &InputFile| self.copies.contains(file.name.as_str()) && names::plain(&file.name) != plain;
            let free = holders.remove(&at).into_iter().flatten().filter(|file| self.is_free(file));
            let free = free.filter(|file| is_copy || !strange(file));
            if let Some(file) = free.max_by_key(nearness) {
                self.take(at, file);
            }
        }
        Ok(())
    }

    /// Files of which nothing was read, where no other has the place.
    fn find_unread(&mut self, there: &HashMap<&str, &'a InputFile>) -> Result<()> {
        self.by_inode(&|mark| mark.row == 0 && !mark.gone)?;
        for at in 0..self.lost.len() {
            let Lost { name, mark, now: None } = self.lost[at] else { continue };
            let Some(file) = there.get(name).filter(|file| mark.row == 0 && !mark.gone && self.is_free(file)) else {
                continue;
            };
            if holds(file, mark)? {
                self.take(at, file);
            }
        }
        Ok(())
    }

    fn changes(self, there: &HashMap<&str, &'a InputFile>) -> Result<Changes> {
        let mut changes = Changes::new();
        let marked: HashSet<&str> = self.lost.iter().map(|lost| lost.name).chain(self.taken.iter().copied()).collect();
        for Lost { name, mark, now } in &self.lost {
            let name = (*name).to_owned();
            let other = there.get(name.as_str()).filter(|file| self.is_free(file));
            match (now, other) {
                (Some(file), _) if file.name == name && !mark.gone => {}
                (Some(file), _) => changes.extend([(name, None), (file.name.clone(), Some(moved(mark, file)))]),
                (None, _) if mark.gone => {}
                (None, _) if mark.copy => changes.push((name, None)),
                (None, Some(_)) if mark.row == 0 => changes.push((name, None)),
                // Rotation has taken away one that was read to its end, and given its name to one that was not begun.
                (None, Some(_)) if !mark.rest && names::is_rotated(&name) => changes.push((name, Some(gone(mark)))),
                (None, Some(file)) => bail!(changed(file, mark)),
                (None, None)
                    if mark.row == 0
                        && (!mark.rest || is_packed_away(&name, self.files, |name| marked.contains(name))) =>
                {
                    changes.push((name, None));
                }
                (None, None) if mark.rest => bail!(SourceError::BadData(format!(
                    "{name} is gone, and was read only up to row {}: put it back, or start anew with another --out",
                    mark.row
                ))),
                // Another file has its name by now, and its mark takes this one's place.
                (None, None) if self.taken.contains(name.as_str()) => {}
                (None, None) => changes.push((name, Some(gone(mark)))),
            }
        }
        Ok(changes)
    }
}

fn gone(mark: &FileMark) -> FileMark {
    FileMark { gone: true, ..mark.clone() }
}

/// The mark of a file that is found under another name.
fn moved(mark: &FileMark, file: &InputFile) -> FileMark {
    let Stat { device, inode, .. } = file.stat;
    FileMark { stat: Stat { device, inode, ..mark.stat }, gone: false, ..mark.clone() }
}
