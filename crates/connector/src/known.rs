//! The files that were read, and which of those that are there now they are: the same ones, grown, moved away by
//! rotation, or changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;

use anyhow::{Result, bail};

use crate::failure::failed;
use crate::fault::SourceError;
use crate::input::{FileFormat, InputFile, Stat};
use crate::line::Rows;
use crate::mark::FileMark;
use crate::names;
use crate::parquet_file;
use crate::source::Offset;
use crate::sum::{self, RowSum};
use crate::text_file::unpacked;
use crate::text_format::TextFormat;

/// Files that are gone are known again for as long as there are no more of them than this.
const GONE_MAX: usize = 1000;

/// Marks that are set or taken away, by name.
pub(crate) type Changes = Vec<(String, Option<FileMark>)>;

/// The files that were read, by the names that they have now.
#[derive(Default)]
pub(crate) struct Known {
    marks: BTreeMap<String, FileMark>,
    /// By name, of files that this process has compared or read: the sum of the last bytes before the mark.
    tails: HashMap<String, u128>,
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

    /// The name itself, where a file has it.
    pub(crate) fn name(&self, name: &str) -> Option<&str> {
        self.marks.get_key_value(name).map(|(name, _)| name.as_str())
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

    /// Finds every file that was read among those that are there, and says what became of it.
    ///
    /// # Errors
    /// [`SourceError::BadData`]: a file that was read is not what it was, or is gone before its end was read.
    pub(crate) fn meet(&mut self, files: &[InputFile]) -> Result<Changes> {
        let there: HashMap<&str, &InputFile> = files.iter().map(|file| (file.name.as_str(), file)).collect();
        let Self { marks, tails, .. } = self;
        let mut lost: Vec<(&str, &FileMark)> = Vec::new();
        for (name, mark) in marks.iter() {
            let file = there.get(name.as_str()).filter(|_| !mark.gone);
            let stays = match file {
                Some(file) => file.stat == mark.stat || stays(name, mark, file, tails)?,
                None => false,
            };
            if !stays {
                lost.push((name, mark));
            }
        }
        // Files that are gone for good come last: their names may have been used again.
        lost.sort_by_key(|(_, mark)| mark.gone);
        let is_lost: HashSet<&str> = lost.iter().map(|(name, _)| *name).collect();
        let is_stranger = |file: &&InputFile| !marks.contains_key(&file.name) || is_lost.contains(file.name.as_str());
        let strangers: Vec<&InputFile> = files.iter().filter(is_stranger).collect();
        let found = found(&lost, &strangers, tails)?;
        let mut changes = Changes::new();
        for (at, &(name, mark)) in lost.iter().enumerate() {
            match (found.get(&at), there.get(name)) {
                (Some(file), _) => {
                    changes.push((name.to_owned(), None));
                    changes.push((file.name.clone(), Some(moved(mark, file))));
                }
                (None, _) if mark.gone => {}
                (None, Some(file)) => bail!(changed(file, mark)),
                (None, None) if mark.row == 0 && is_packed_away(name, files) => changes.push((name.to_owned(), None)),
                (None, None) if mark.rest => bail!(SourceError::BadData(format!(
                    "{name} is gone, and was read only up to row {}: put it back, or start anew with another --out",
                    mark.row
                ))),
                (None, None) => changes.push((name.to_owned(), Some(FileMark { gone: true, ..mark.clone() }))),
            }
        }
        forget_oldest(marks, &mut changes);
        Ok(changes)
    }
}

/// First away, then there: names may be swapped.
pub(crate) fn apply(marks: &mut BTreeMap<String, FileMark>, changes: &Changes) {
    for (name, _) in changes.iter().filter(|(_, mark)| mark.is_none()) {
        marks.remove(name);
    }
    marks.extend(changes.iter().filter_map(|(name, mark)| Some((name.clone(), mark.clone()?))));
}

/// Whether the file under a name is what was read under it, as it was or grown.
fn stays(name: &str, mark: &FileMark, file: &InputFile, tails: &mut HashMap<String, u128>) -> Result<bool> {
    if mark.stat.is_same_file(&file.stat) && has_tail(file, mark, tails.get(name)) {
        return Ok(true);
    }
    let holds = holds(file, mark)?;
    if holds
        && file.is_plain_text()
        && let Ok(tail) = File::open(&file.path).and_then(|open| sum::of_tail(&open, mark.position))
    {
        tails.insert(name.to_owned(), tail);
    }
    Ok(holds)
}

fn has_tail(file: &InputFile, mark: &FileMark, tail: Option<&u128>) -> bool {
    let found = || File::open(&file.path).and_then(|open| sum::of_tail(&open, mark.position)).ok();
    file.is_plain_text() && tail.is_some_and(|tail| Some(*tail) == found())
}

/// Which strangers are lost files under another name, by the index of the lost one: the file itself, or a copy of it.
fn found<'a>(
    lost: &[(&str, &FileMark)],
    strangers: &[&'a InputFile],
    tails: &HashMap<String, u128>,
) -> Result<HashMap<usize, &'a InputFile>> {
    let mut found = HashMap::new();
    if lost.is_empty() || strangers.is_empty() {
        return Ok(found);
    }
    let mut taken = HashSet::new();
    let inodes: HashMap<_, _> = strangers.iter().map(|file| ((file.stat.device, file.stat.inode), *file)).collect();
    for (at, (name, mark)) in lost.iter().enumerate() {
        let Some(file) = inodes.get(&(mark.stat.device, mark.stat.inode)) else { continue };
        if file.name == *name && !mark.gone {
            continue;
        }
        if file.stat == mark.stat || has_tail(file, mark, tails.get(*name)) || holds(file, mark)? {
            found.insert(at, *file);
            taken.insert(file.name.as_str());
        }
    }
    let mut open = Contents::default();
    for (at, (_, mark)) in lost.iter().enumerate().filter(|(at, (_, mark))| !mark.gone && !found.contains_key(at)) {
        open.add(at, mark);
    }
    for file in strangers.iter().filter(|file| !taken.contains(file.name.as_str())) {
        if let Some(at) = open.owner(file)? {
            open.remove(at);
            found.insert(at, *file);
        }
    }
    Ok(found)
}

/// Lost files by what was read of them. One of which no row was read is like every other.
#[derive(Default)]
struct Contents<'a> {
    positions: BTreeMap<u64, Vec<(usize, &'a FileMark)>>,
    heads: HashSet<u64>,
}

impl<'a> Contents<'a> {
    fn add(&mut self, at: usize, mark: &'a FileMark) {
        if mark.row > 0 {
            self.positions.entry(mark.position).or_default().push((at, mark));
            self.heads.insert(mark.head);
        }
    }

    fn remove(&mut self, at: usize) {
        for marks in self.positions.values_mut() {
            marks.retain(|(of, _)| *of != at);
        }
        self.positions.retain(|_, marks| !marks.is_empty());
    }

    /// The lost file that a stranger holds all of that was read.
    fn owner(&self, file: &InputFile) -> Result<Option<usize>> {
        let marks = || self.positions.values().flatten();
        if !file.is_text() {
            let mut same = marks().filter(|(_, mark)| mark.stat.bytes == file.stat.bytes).peekable();
            let sum = same.peek().map(|_| whole(file)).transpose()?.flatten();
            return Ok(same.find(|(_, mark)| Some(mark.sum) == sum).map(|(at, _)| *at));
        }
        let mut owner = None;
        let Some(last) = self.positions.keys().next_back().copied() else { return Ok(None) };
        stretches(file, |stretch| {
            let here = self.positions.range(stretch.from..=stretch.to).flat_map(|(_, marks)| marks);
            owner = here.filter(|(_, mark)| mark.sum == stretch.sum).map(|(at, _)| *at).next().or(owner);
            let strange = stretch.rows == 2 && !stretch.heads.iter().any(|head| self.heads.contains(head));
            stretch.to < last && !strange
        })?;
        Ok(owner)
    }
}

/// Whether a file holds all that was read of the marked one.
fn holds(file: &InputFile, mark: &FileMark) -> Result<bool> {
    let FileFormat::Text(_) = file.format else {
        return Ok(mark.stat.bytes == file.stat.bytes && whole(file)? == Some(mark.sum));
    };
    let mut holds = mark.position == 0;
    stretches(file, |stretch| {
        holds |= (stretch.from..=stretch.to).contains(&mark.position) && stretch.sum == mark.sum;
        let strange = stretch.rows == 2 && !stretch.heads.contains(&mark.head);
        stretch.to < mark.position && !strange
    })?;
    Ok(holds)
}

/// The sum of all bytes of a file; `None` where it is gone meanwhile.
fn whole(file: &InputFile) -> Result<Option<RowSum>> {
    match sum::of_file(&file.path) {
        Ok(sum) => Ok(Some(RowSum(sum))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(format!("read {}", file.path.display()), e)),
    }
}

/// What stands between two rows of a text, or before the first or behind the last.
struct Stretch {
    /// Where the row before it ends, and the one behind it starts.
    from: u64,
    to: u64,
    /// Of the rows before it, and after the first and second of them.
    sum: RowSum,
    heads: [u64; 2],
    /// How many they are; a header is one too.
    rows: u64,
}

/// Goes from stretch to stretch for as long as `visit` wants more. A file that is gone meanwhile has none, and one that
/// gzip has not written to the end yet only those that are there.
fn stretches(file: &InputFile, mut visit: impl FnMut(&Stretch) -> bool) -> Result<()> {
    let FileFormat::Text(format) = file.format else { return Ok(()) };
    let said = |e| failed(format!("read {}", file.path.display()), e);
    let open = match File::open(&file.path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        open => open.map_err(said)?,
    };
    let mut rows = Rows::new(unpacked(open, file.packed), format, 0);
    let mut stretch = Stretch { from: 0, to: 0, sum: RowSum::default(), heads: [0; 2], rows: 0 };
    loop {
        let next = match rows.next(true) {
            Err(e) if file.packed && e.kind() == io::ErrorKind::UnexpectedEof => None,
            next => next.map_err(said)?.map(|row| (row.position, row.position + row.bytes.len() as u64)),
        };
        stretch.to = next.map_or(rows.position(), |(start, _)| start);
        if !visit(&stretch) {
            return Ok(());
        }
        let Some((_, end)) = next else { return Ok(()) };
        (stretch.from, stretch.sum, stretch.rows) = (end, rows.sum(), stretch.rows + 1);
        stretch.heads = [if stretch.rows == 1 { rows.head() } else { stretch.heads[0] }, rows.head()];
    }
}

/// The mark of a file that was read up to a place, or to its end as it is now.
fn read_to(file: &InputFile, place: Option<&Offset>) -> Result<FileMark> {
    let mark = FileMark::beginning(&file.name, 0, file.stat);
    let mut mark = FileMark { rest: place.is_some(), ..mark };
    let FileFormat::Text(format) = file.format else {
        mark.row = place.map_or_else(|| parquet_file::count(file), |place| Ok(place.row))?;
        mark.sum = whole(file)?.unwrap_or_default();
        return Ok(FileMark { position: mark.row, head: mark.sum.0 as u64, ..mark });
    };
    stretches(file, |stretch| {
        let header = u64::from(format == TextFormat::Csv).min(stretch.rows);
        (mark.row, mark.sum, mark.head) = (stretch.rows - header, stretch.sum, stretch.heads[1]);
        mark.position = place.map_or(stretch.to, |place| place.position.clamp(stretch.from, stretch.to));
        place.is_none_or(|place| stretch.to < place.position)
    })?;
    Ok(mark)
}

/// The mark of a file that is found under another name.
fn moved(mark: &FileMark, file: &InputFile) -> FileMark {
    let Stat { device, inode, .. } = file.stat;
    FileMark { stat: Stat { device, inode, ..mark.stat }, gone: false, ..mark.clone() }
}

/// Whether a file that is gone, and of which nothing was read to know it again by, may be one that is compressed now.
pub(crate) fn is_packed_away(name: &str, files: &[InputFile]) -> bool {
    files.iter().any(|file| file.packed && names::plain(&file.name) == names::plain(name))
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

pub(crate) fn changed(file: &InputFile, mark: &FileMark) -> SourceError {
    let (path, bytes, row) = (file.path.display(), file.stat.bytes, mark.row);
    let what = match file.is_plain_text() && bytes < mark.position {
        true => format!("was truncated: it has {bytes} bytes, and was read up to byte {}", mark.position),
        false => {
            format!(
                "was replaced or rewritten, or its last row has grown: it holds other rows than the {row} that were read"
            )
        }
    };
    SourceError::BadData(format!("{path} {what}: put it back as it was, or start anew with another --out"))
}
