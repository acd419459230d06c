//! What a file holds of what was read: which marks stand between its rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use anyhow::Result;

use crate::decode::text_format::TextFormat;
use crate::failure::failed;
use crate::files::input::{FileFormat, InputFile};
use crate::files::known::mark::FileMark;
use crate::files::known::sum::{self, RowSum};
use crate::files::line::Rows;
use crate::files::parquet_file;
use crate::files::text_file::unpacked;
use crate::source::Offset;

/// By name, of files that this process has compared or read: the sum of the last bytes before the mark.
pub(crate) type Tails = HashMap<String, u128>;

/// Whether a file holds all that was read of the marked one, by the name that this had: told by its last bytes where they
/// are known, else by all of them.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn holds_as_before(file: &InputFile, name: &str, mark: &FileMark, tails: &mut Tails) -> Result<bool> {
    if file.stat == mark.stat || has_tail(file, mark, tails.get(name)) {
        return Ok(true);
    }
    let holds = holds(file, mark)?;
    if holds
        && file.name == name
        && file.is_plain_text()
        && let Some(tail) = tail_of(file, mark)
    {
        tails.insert(name.to_owned(), tail);
    }
    Ok(holds)
}

fn has_tail(file: &InputFile, mark: &FileMark, tail: Option<&u128>) -> bool {
    file.is_plain_text() && tail.is_some_and(|tail| Some(*tail) == tail_of(file, mark))
}

fn tail_of(file: &InputFile, mark: &FileMark) -> Option<u128> {
    sum::of_tail(&file.open().ok()?, mark.position).ok()
}

/// Whether a file holds all that was read of the marked one.
pub(crate) fn holds(file: &InputFile, mark: &FileMark) -> Result<bool> {
    let FileFormat::Text(_) = file.format else {
        return Ok(mark.stat.bytes == file.stat.bytes && whole(file)? == mark.sum);
    };
    let mut holds = mark.position == 0;
    stretches(file, |stretch| {
        holds |= (stretch.from..=stretch.to).contains(&mark.position) && stretch.sum == mark.sum;
        let strange = stretch.rows == 2 && !stretch.heads.contains(&mark.head);
        stretch.to < mark.position && !strange
    })?;
    Ok(holds)
}

/// Marks by what was read of their files. One of which no row was read is like every other, and is not among them.
pub(crate) struct Contents<'a> {
    positions: BTreeMap<u64, Vec<(usize, &'a FileMark)>>,
    heads: HashSet<u64>,
}

impl<'a> Contents<'a> {
    /// Of marks, each with a number that is the caller's.
    pub(crate) fn new(marks: impl Iterator<Item = (usize, &'a FileMark)>) -> Self {
        let (mut positions, mut heads) = (BTreeMap::<u64, Vec<_>>::new(), HashSet::new());
        for (at, mark) in marks.filter(|(_, mark)| mark.row > 0) {
            positions.entry(mark.position).or_default().push((at, mark));
            heads.insert(mark.head);
        }
        Self { positions, heads }
    }

    /// The marks of which a file holds all that was read, by their numbers.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn held_by(&self, file: &InputFile) -> Result<Vec<usize>> {
        if !file.is_text() {
            let marks = self.positions.values().flatten();
            let mut same = marks.filter(|(_, mark)| mark.stat.bytes == file.stat.bytes).peekable();
            let sum = same.peek().map(|_| whole(file)).transpose()?;
            return Ok(same.filter(|(_, mark)| Some(mark.sum) == sum).map(|(at, _)| *at).collect());
        }
        let mut held = Vec::new();
        let Some(last) = self.positions.keys().next_back().copied() else { return Ok(held) };
        stretches(file, |stretch| {
            let here = self.positions.range(stretch.from..=stretch.to).flat_map(|(_, marks)| marks);
            held.extend(here.filter(|(_, mark)| mark.sum == stretch.sum).map(|(at, _)| *at));
            let strange = stretch.rows == 2 && !stretch.heads.iter().any(|head| self.heads.contains(head));
            stretch.to < last && !strange
        })?;
        Ok(held)
    }
}

/// The sums of a file after its first row and its second, and how many of these it has.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn heads(file: &InputFile) -> Result<([u64; 2], u64)> {
    let mut heads = ([0; 2], 0);
    stretches(file, |stretch| {
        heads = (stretch.heads, stretch.rows);
        stretch.rows < 2
    })?;
    Ok(heads)
}

/// The sum of all bytes of a file.
fn whole(file: &InputFile) -> Result<RowSum> {
    let sum = sum::of_file(file.open()?).map_err(|e| failed(format!("read {}", file.path.display()), e))?;
    Ok(RowSum(sum))
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

/// Goes from stretch to stretch for as long as `visit` wants more. A file that is not compressed to the end yet has
/// only those that are there.
fn stretches(file: &InputFile, mut visit: impl FnMut(&Stretch) -> bool) -> Result<()> {
    let FileFormat::Text(format) = file.format else { return Ok(()) };
    let said = |e| failed(format!("read {}", file.path.display()), e);
    let mut rows = Rows::new(unpacked(file.open()?, file.packed).map_err(said)?, format, 0);
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
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read_to(file: &InputFile, place: Option<&Offset>) -> Result<FileMark> {
    let mark = FileMark::beginning(&file.name, 0, file.stat);
    let mut mark = FileMark { rest: place.is_some(), ..mark };
    let FileFormat::Text(format) = file.format else {
        mark.row = place.map_or_else(|| parquet_file::count(file), |place| Ok(place.row))?;
        mark.sum = whole(file)?;
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
