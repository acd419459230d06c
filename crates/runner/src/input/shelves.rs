//! Rows that wait for their hour: in memory, and beyond a share of it in temporary files.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::BufWriter;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use connector::Hour;
use scan::unshared;

use crate::output::by_hour::by_hour;

/// Rows of a batch on disk at most, unless they came as one.
const ROWS_ON_DISK: usize = 1 << 16;

/// The rows of some inputs, each by hour and in order of arrival.
pub(crate) struct Shelves {
    shelves: Vec<Shelf>,
    /// What is in memory, and may be.
    bytes: usize,
    bytes_max: usize,
}

/// A place in the order of an input's rows: those of all hours before one, and some of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub hour: Option<Hour>,
    pub rows: u64,
}

/// The rows of one input.
#[derive(Default)]
struct Shelf {
    held: BTreeMap<Hour, VecDeque<RecordBatch>>,
    /// By hour: which batches of the file; they came before those that are held.
    spilled: BTreeMap<Hour, VecDeque<usize>>,
    file: Option<Spill>,
    /// What was left of the batch that was taken last.
    rest: Option<(Hour, RecordBatch)>,
    taken: Taken,
    /// Rows of the hour `taken` that are still to come and were taken by an earlier run.
    to_skip: u64,
    waiting: u64,
}

/// A file without a name: it is gone with the process, however that ends.
enum Spill {
    Writing(Box<FileWriter<BufWriter<File>>>, usize),
    Reading(Box<FileReader<File>>),
}

impl Shelves {
    /// For inputs of which an earlier run has taken some rows.
    pub(crate) fn new(taken: impl IntoIterator<Item = Taken>, bytes_max: usize) -> Shelves {
        let shelf = |taken: Taken| Shelf { taken, to_skip: taken.rows, ..Shelf::default() };
        Shelves { shelves: taken.into_iter().map(shelf).collect(), bytes: 0, bytes_max }
    }

    /// Puts rows where their hours are.
    ///
    /// # Errors
    /// The directory for temporary files cannot be written to.
    pub(crate) fn add(&mut self, input: usize, rows: &RecordBatch, time: &str) -> Result<()> {
        let times = rows.column_by_name(time).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.with_context(|| format!("column {time} is no timestamp"))?;
        self.bytes += bytes_of(rows);
        for (hour, rows) in by_hour(rows, times.values())? {
            self.shelves[input].add(hour, rows);
        }
        if self.bytes > self.bytes_max {
            self.bytes = 0;
            self.shelves.iter_mut().try_for_each(|shelf| shelf.spill().context(TO_DISK))?;
        }
        Ok(())
    }

    /// From now on rows are taken, and none comes.
    ///
    /// # Errors
    /// As [`Shelves::add`].
    pub(crate) fn close(&mut self) -> Result<()> {
        self.shelves.iter_mut().try_for_each(|shelf| shelf.close().context(TO_DISK))
    }

    /// The first hour that has rows.
    pub(crate) fn first(&self) -> Option<Hour> {
        self.shelves.iter().filter_map(Shelf::first).min()
    }

    /// The next rows, at most `rows_max`, of the input that is furthest behind, with its number.
    ///
    /// # Errors
    /// What was spilled cannot be read.
    pub(crate) fn take(&mut self, rows_max: usize) -> Result<Option<(usize, RecordBatch)>> {
        let first = |(input, shelf): (usize, &Shelf)| Some((shelf.first()?, input));
        let Some((_, input)) = self.shelves.iter().enumerate().filter_map(first).min() else { return Ok(None) };
        let pieces = self.shelves[input].take(rows_max).context("read rows back that were put on disk")?;
        let Some(piece) = pieces.first() else { return Ok(None) };
        let rows = if pieces.len() == 1 { piece.clone() } else { concat_batches(&piece.schema(), &pieces)? };
        Ok(Some((input, rows)))
    }

    /// What was taken of an input, by this run and earlier ones.
    pub(crate) fn taken(&self, input: usize) -> Taken {
        self.shelves[input].taken
    }

    /// Rows of an input that wait.
    pub(crate) fn waiting(&self, input: usize) -> u64 {
        self.shelves[input].waiting
    }
}

const TO_DISK: &str = "put rows that do not fit in memory into a temporary file: TMPDIR says where";

impl Shelf {
    /// Passes over what an earlier run has taken.
    fn add(&mut self, hour: Hour, mut rows: RecordBatch) {
        let order = self.taken.hour.map(|taken| hour.cmp(&taken));
        if order == Some(std::cmp::Ordering::Less) {
            return;
        }
        if order == Some(std::cmp::Ordering::Equal) {
            let skipped = rows.num_rows().min(usize::try_from(self.to_skip).unwrap_or(usize::MAX));
            self.to_skip -= skipped as u64;
            rows = rows.slice(skipped, rows.num_rows() - skipped);
        }
        if rows.num_rows() > 0 {
            self.waiting += rows.num_rows() as u64;
            self.held.entry(hour).or_default().push_back(rows);
        }
    }

    fn first(&self) -> Option<Hour> {
        let rest = self.rest.iter().map(|(hour, _)| *hour);
        rest.chain(self.spilled.keys().next().copied()).chain(self.held.keys().next().copied()).min()
    }

    fn take(&mut self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let (mut pieces, mut room) = (Vec::new(), rows_max);
        while room > 0
            && let Some((hour, piece)) = self.next()?
        {
            let rows = piece.num_rows().min(room);
            if rows < piece.num_rows() {
                self.rest = Some((hour, piece.slice(rows, piece.num_rows() - rows)));
            }
            let before = if self.taken.hour == Some(hour) { self.taken.rows } else { 0 };
            self.taken = Taken { hour: Some(hour), rows: before + rows as u64 };
            self.waiting -= rows as u64;
            room -= rows;
            pieces.push(piece.slice(0, rows));
        }
        Ok(pieces)
    }

    /// The next batch, whole.
    fn next(&mut self) -> Result<Option<(Hour, RecordBatch)>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let Some(hour) = self.first() else { return Ok(None) };
        if let Some(at) = pop(&mut self.spilled, hour) {
            let Some(Spill::Reading(file)) = &mut self.file else { anyhow::bail!("the file is still written") };
            file.set_index(at)?;
            let rows = file.next().context("the file ends too early")?;
            return Ok(Some((hour, rows.map_err(io_error)?)));
        }
        Ok(pop(&mut self.held, hour).map(|rows| (hour, rows)))
    }

    /// Writes what is held, and lets go of it.
    fn spill(&mut self) -> Result<()> {
        while let Some((hour, mut held)) = self.held.pop_first() {
            while let Some(first) = held.pop_front() {
                let (schema, mut rows, mut pieces) = (first.schema(), first.num_rows(), vec![first]);
                while let Some(piece) = held.pop_front_if(|piece| rows + piece.num_rows() <= ROWS_ON_DISK) {
                    rows += piece.num_rows();
                    pieces.push(piece);
                }
                let at = self.write(&unshared(&concat_batches(&schema, &pieces)?)?)?;
                self.spilled.entry(hour).or_default().push_back(at);
            }
        }
        Ok(())
    }

    /// Answers the number of the batch in the file.
    fn write(&mut self, rows: &RecordBatch) -> Result<usize> {
        if self.file.is_none() {
            let file = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
            self.file = Some(Spill::Writing(Box::new(FileWriter::try_new(file, &rows.schema()).map_err(io_error)?), 0));
        }
        let Some(Spill::Writing(file, count)) = &mut self.file else { anyhow::bail!("the file is read already") };
        file.write(rows).map_err(io_error)?;
        *count += 1;
        Ok(*count - 1)
    }

    fn close(&mut self) -> Result<()> {
        let Some(Spill::Writing(mut file, _)) = self.file.take() else { return Ok(()) };
        file.finish().map_err(io_error)?;
        let file = file.into_inner().map_err(io_error)?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        self.file = Some(Spill::Reading(Box::new(FileReader::try_new(file, None).map_err(io_error)?)));
        Ok(())
    }
}

fn pop<T>(by_hour: &mut BTreeMap<Hour, VecDeque<T>>, hour: Hour) -> Option<T> {
    let of_hour = by_hour.get_mut(&hour)?;
    let first = of_hour.pop_front();
    if of_hour.is_empty() {
        by_hour.remove(&hour);
    }
    first
}

/// The disk's own error, which says what to do about it.
fn io_error(error: ArrowError) -> anyhow::Error {
    match error {
        ArrowError::IoError(_, error) => error.into(),
        error => error.into(),
    }
}

/// What rows take in memory by themselves: text that is shared with other rows counts as if it were not.
pub(crate) fn bytes_of(rows: &RecordBatch) -> usize {
    let text = |lengths: &mut dyn Iterator<Item = u32>| lengths.map(|length| 16 + length as usize).sum::<usize>();
    let of_column = |column: &dyn Array| match column.data_type() {
        DataType::Utf8View => text(&mut column.as_string_view().lengths()),
        DataType::BinaryView => text(&mut column.as_binary_view().lengths()),
        kind => kind.primitive_width().map_or_else(|| column.get_array_memory_size(), |width| width * column.len()),
    };
    rows.columns().iter().map(|column| of_column(column.as_ref())).sum()
}
