//! A bounded run over files. All of its input is there, so no row is late, whatever the order.
//!
//! Rows go to f as they are read while memory lasts: f takes them in any order. Those that are too many for that wait by
//! hour, and come to f hour by hour once everything is read. Only then does the watermark move: it is the first hour that
//! has rows waiting, so hours are sealed and state goes as they are complete. The order is the same on every run, so that
//! one that was killed reads everything again and passes over what its last epoch had taken.

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use connector::{Hour, SourceError};
use journal::Epoch;

use crate::input::shelves::{Shelves, Taken, bytes_of};
use crate::output::sealed_to::{Of, Position, SealedTo};

/// Rows that go to f as they are read are of so many hours at most, for state is kept of all of them.
const EARLY_HOURS: i64 = 6;

/// What of a bounded run over files may be in memory.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Rows that go to f before all are read, bytes: what f makes of them is held too.
    pub early_bytes: usize,
    /// Rows that wait for their hour, bytes; more of them go to disk.
    pub waiting_bytes: usize,
}

/// The rows of a bounded run that f does not have yet.
pub(crate) struct Ordered {
    names: Vec<String>,
    pub floor: Option<i64>,
    shelves: Shelves,
    /// What more f may take before all is read.
    early_bytes: usize,
    /// The first and the last hour of what it took.
    early_hours: Option<(Hour, Hour)>,
    /// By input: rows that f took as they were read, those that an earlier run gave to it and are to come again, and all.
    early: Vec<u64>,
    to_skip: Vec<u64>,
    rows: Vec<u64>,
    /// Where an earlier run was stopped.
    from: Option<Position>,
    pub reading: bool,
    /// Whether f has them all.
    ended: bool,
}

impl Ordered {
    /// For inputs of these names, in this order.
    fn new(names: Vec<String>, history: History, floor: Option<i64>, from: Option<Position>) -> Ordered {
        let of = |name: &String| from.as_ref().and_then(|from| from.inputs.get(name)).copied().unwrap_or_default();
        let taken = names.iter().map(of).map(|of| Taken { hour: of.hour, rows: of.of_hour });
        let early: Vec<u64> = names.iter().map(|name| of(name).early).collect();
        Ordered {
            shelves: Shelves::new(taken, history.waiting_bytes),
            // An earlier run had read everything, or it would have no epoch.
            early_bytes: if from.is_some() { 0 } else { history.early_bytes },
            early_hours: None,
            to_skip: early.clone(),
            rows: vec![0; names.len()],
            reading: true,
            ended: false,
            early,
            floor,
            from,
            names,
        }
    }

    /// The same from where an epoch had come, if there is one.
    pub(crate) fn after(
        last: Option<&Epoch>,
        names: Vec<String>,
        history: History,
        floor: Option<i64>,
    ) -> Result<Ordered> {
        let from = last.map(SealedTo::read).transpose()?.and_then(|notes| notes.given);
        let floor = from.as_ref().map_or(floor, |from| from.floor);
        Ok(Ordered::new(names, history, floor, from))
    }

    /// Whether an earlier run has accounted for the rows that f never sees.
    pub(crate) fn goes_on(&self) -> bool {
        self.from.is_some()
    }

    /// Takes rows that were read, and gives back those that f is to take now.
    ///
    /// # Errors
    /// As [`Shelves::add`].
    pub(crate) fn place(&mut self, input: usize, rows: RecordBatch, time: &str) -> Result<RecordBatch> {
        let count = rows.num_rows() as u64;
        self.rows[input] += count;
        if count == 0 {
            return Ok(rows);
        }
        self.look(&rows, time)?;
        if self.early_bytes > 0 {
            self.early[input] += count;
            self.early_bytes = self.early_bytes.saturating_sub(bytes_of(&rows));
            return Ok(rows);
        }
        let skipped = self.to_skip[input].min(count);
        self.to_skip[input] -= skipped;
        let rest = rows.slice(skipped as usize, (count - skipped) as usize);
        self.shelves.add(input, &rest, time)?;
        Ok(rows.slice(0, 0))
    }

    /// Ends what goes to f early where these rows are too far apart from one another, or from what it has.
    fn look(&mut self, rows: &RecordBatch, time: &str) -> Result<()> {
        if self.early_bytes > 0 {
            let hours = hours_of(rows, time)?;
            let (first, last) = self.early_hours.map_or(hours, |of| (of.0.min(hours.0), of.1.max(hours.1)));
            self.early_hours = Some((first, last));
            if first.plus(EARLY_HOURS) <= last {
                self.keep_back();
            }
        }
        Ok(())
    }

    /// From now on all rows wait that are read.
    pub(crate) fn keep_back(&mut self) {
        self.early_bytes = 0;
    }

    /// Everything is read.
    ///
    /// # Errors
    /// The input is not what it was when an earlier run read it.
    pub(crate) fn all_read(&mut self) -> Result<()> {
        self.reading = false;
        for (name, rows) in self.names.iter().zip(&self.rows) {
            let before = self.from.as_ref().map(|from| from.inputs.get(name).map_or(0, |of| of.rows));
            ensure!(before.is_none_or(|before| before == *rows), changed(name));
        }
        self.shelves.close()
    }

    /// The next rows for f, with the number of their input.
    ///
    /// # Errors
    /// As [`Shelves::take`].
    pub(crate) fn next(&mut self, rows_max: usize) -> Result<Option<(usize, RecordBatch)>> {
        let next = self.shelves.take(rows_max)?;
        self.ended = next.is_none();
        Ok(next)
    }

    /// No row before this is still to come to f. None before everything is read, and while f makes its output of the last
    /// rows: only a run that has nothing more to commit is at its end.
    pub(crate) fn watermark(&self) -> Option<i64> {
        if self.ended { Some(i64::MAX) } else { self.shelves.first().filter(|_| !self.reading).map(Hour::start_us) }
    }

    /// Rows that were read and are not with f, of one input or of all.
    pub(crate) fn waiting(&self, input: Option<&str>) -> u64 {
        let of = |name: &String| input.is_none_or(|input| input == name);
        let inputs = (0..self.names.len()).filter(|at| of(&self.names[*at]));
        inputs.map(|at| self.shelves.waiting(at)).sum()
    }

    /// For the notes of an epoch.
    pub(crate) fn position(&self) -> Position {
        let of = |(input, name): (usize, &String)| {
            let Taken { hour, rows: of_hour } = self.shelves.taken(input);
            (name.clone(), Of { rows: self.rows[input], early: self.early[input], hour, of_hour })
        };
        Position { floor: self.floor, inputs: self.names.iter().enumerate().map(of).collect() }
    }
}

/// The first and the last hour of rows, of which there are some.
fn hours_of(rows: &RecordBatch, time: &str) -> Result<(Hour, Hour)> {
    let times = rows.column_by_name(time).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let ends = times.and_then(|times| Some((Hour::of(min(times)?), Hour::of(max(times)?))));
    ends.with_context(|| format!("column {time} is no timestamp"))
}

/// What to say of an input that a run cannot go on with.
pub(crate) fn changed(input: &str) -> SourceError {
    SourceError::BadData(format!(
        "{input} is not what it was when this run began to read it: put it back as it was, or begin anew with another --out"
    ))
}
