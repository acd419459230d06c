//! A file that is being read, and whether it is still the one that was opened.

use std::fs::File;

use anyhow::{Result, ensure};
use arrow::datatypes::Schema;

use crate::decode::Decoder;
use crate::decode::text_format::TextFormat;
use crate::decode::time::Written;
use crate::decode::unread::Unread;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::block::Block;
use crate::files::input::{FileFormat, InputFile, Stat};
use crate::files::known::mark::{FileMark, changed};
use crate::files::known::sum;
use crate::files::line::Rows;
use crate::files::parquet_file::{self, ParquetFile};
use crate::files::text_file::TextFile;

/// What rows are to become.
pub(crate) struct Shape {
    pub schema: Schema,
    pub time: String,
    pub format: Option<FileFormat>,
    pub written: Written,
    pub unread: Unread,
}

impl Shape {
    /// A decoder of text.
    pub(crate) fn decoder(&self, format: TextFormat) -> Result<Decoder> {
        Ok(Decoder::new(format, &self.schema, &self.time)?.reading(self.written).counting(&self.unread))
    }
}

pub(crate) struct Reading {
    file: InputFile,
    /// The same file, to look at beside reading it.
    beside: File,
    rows: Kind,
    mark: FileMark,
    /// What it looked like when it was last seen to hold what was read of it, and its last bytes then.
    stat: Stat,
    tail: u128,
}

enum Kind {
    Text(TextFile),
    Parquet(ParquetFile),
}

/// How a file opens.
pub(crate) enum Opened {
    Reading(Box<Reading>),
    /// It is not what it was when it was looked at.
    Moved,
    /// It is not whole yet.
    Half,
}

/// What a file that is read has next.
pub(crate) enum Next {
    Rows(Block),
    /// Nothing more for now, up to this mark; `half` a row may stand behind it.
    End {
        mark: FileMark,
        half: bool,
    },
    /// It is not what it was when it was opened: what was read since is not to be used.
    Changed,
}

impl Reading {
    /// Opens a file at its mark. `compared` says whether the file that is open now is what the mark was compared with.
    ///
    /// # Errors
    /// [`Moved`](crate::files::input::Moved); a file that cannot be read, or is not what was read of it.
    pub(crate) fn open(
        file: &InputFile,
        shape: &Shape,
        mark: &FileMark,
        compared: impl Fn(&File, Stat) -> bool,
    ) -> Result<Opened> {
        let said = |e| failed(format!("read {}", file.path.display()), e);
        let input = file.open()?;
        let stat = Stat::of(&input.metadata().map_err(said)?);
        if !compared(&input, stat) {
            return Ok(Opened::Moved);
        }
        let beside = input.try_clone().map_err(said)?;
        let mut mark = mark.clone();
        let file = InputFile { stat, ..file.clone() };
        let rows = match file.format {
            // gzip writes a header even of nothing.
            FileFormat::Text(_) if file.packed && stat.bytes == 0 => return Ok(Opened::Half),
            FileFormat::Text(format) => {
                let decoder = shape.decoder(format)?;
                Kind::Text(TextFile::open(&file, input, format, decoder, &mark)?)
            }
            FileFormat::Parquet => {
                if !parquet_file::is_whole(&input, stat.bytes).map_err(said)? {
                    return Ok(Opened::Half);
                }
                let sum = sum::RowSum(sum::of_file(file.open()?).map_err(said)?);
                if Stat::of(&beside.metadata().map_err(said)?) != stat {
                    return Ok(Opened::Half);
                }
                ensure!(mark.row == 0 || mark.sum == sum, changed(&file, &mark));
                mark.sum = sum;
                Kind::Parquet(ParquetFile::open(
                    &file,
                    &shape.schema,
                    &shape.time,
                    shape.written,
                    &shape.unread,
                    &mark,
                )?)
            }
        };
        let tail = if file.is_plain_text() { sum::of_tail(&beside, mark.position) } else { Ok(0) };
        let Ok(tail) = tail else { return Ok(Opened::Moved) };
        Ok(Opened::Reading(Box::new(Reading { file, beside, rows, mark, stat, tail })))
    }

    pub(crate) fn name(&self) -> &str {
        &self.file.name
    }

    pub(crate) fn file(&self) -> &InputFile {
        &self.file
    }

    /// The sum of the last bytes before the mark, of text as it stands in the file.
    pub(crate) fn tail(&self) -> Option<u128> {
        self.file.is_plain_text().then_some(self.tail)
    }

    /// The next rows. What follows the last line end is a row if nothing is `to_come`, or if it is a whole JSON object.
    pub(crate) fn next(&mut self, rows_max: usize, to_come: bool, hungry: &dyn Fn() -> bool) -> Result<Next> {
        let before = self.mark.clone();
        let block = match &mut self.rows {
            Kind::Text(text) => match text.next(rows_max, !to_come, hungry)? {
                None if to_come && self.file.format == JSON && text.half()?.is_some_and(is_object) => {
                    // That one alone: what has come behind it meanwhile may be half a row.
                    text.next(1, true, hungry)?
                }
                block => block,
            },
            Kind::Parquet(parquet) => parquet.next(rows_max)?,
        };
        let mut half = false;
        match (&block, &mut self.rows) {
            (Some(block), _) => block.pass(&mut self.mark),
            (None, Kind::Text(text)) => {
                self.mark.position = text.position();
                (self.mark.sum, self.mark.head) = text.sum();
                half = text.half()?.is_some_and(|half| !half.trim_ascii().is_empty());
            }
            (None, Kind::Parquet(_)) => {}
        }
        let seen = self.stat;
        if !self.is_unchanged(&before, block.is_some())? {
            self.mark = before;
            return Ok(Next::Changed);
        }
        Ok(match block {
            Some(block) => Next::Rows(block),
            // As it looked before it was found to have nothing more: what has come since is seen by that.
            None => Next::End { mark: FileMark { stat: seen, rest: half, ..self.mark.clone() }, half },
        })
    }

    /// Whether the file still holds what was read of it, where it looks otherwise than before: the bytes before the last
    /// rows, and these rows.
    fn is_unchanged(&mut self, before: &FileMark, rows: bool) -> Result<bool> {
        let said = |e| failed(format!("read {}", self.file.path.display()), e);
        let now = Stat::of(&self.beside.metadata().map_err(said)?);
        let looks_same = (now.bytes, now.modified) == (self.stat.bytes, self.stat.modified);
        let FileFormat::Text(format) = self.file.format else { return Ok(looks_same) };
        if self.file.packed {
            return Ok(looks_same);
        }
        if !looks_same {
            if sum::of_tail(&self.beside, before.position).ok() != Some(self.tail) {
                return Ok(false);
            }
            let mut again = Rows::new(Beside(&self.beside, before.position), format, before.position)
                .behind(before.sum, before.head);
            while rows && again.position() < self.mark.position && again.next(true).map_err(said)?.is_some() {}
            if rows && again.sum() != self.mark.sum {
                return Ok(false);
            }
        }
        let Ok(tail) = sum::of_tail(&self.beside, self.mark.position) else { return Ok(false) };
        (self.stat, self.tail) = (now, tail);
        Ok(true)
    }
}

const JSON: FileFormat = FileFormat::Text(TextFormat::Json);

/// Whether a line without an end is a row all the same: nothing that could follow would make another of it.
fn is_object(line: &[u8]) -> bool {
    line.trim_ascii().starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// Reads a file at places of its own.
struct Beside<'a>(&'a File, u64);

impl std::io::Read for Beside<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.0, buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// That a file cannot be read in a run that waits for nothing.
pub(crate) fn half(file: &InputFile) -> SourceError {
    let path = file.path.display();
    SourceError::BadData(format!(
        "{path} is not whole: it is still being written, or was cut: run again once it is whole, or follow it with \
         --follow, which waits for that"
    ))
}
