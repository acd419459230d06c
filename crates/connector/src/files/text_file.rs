//! One file of rows of text, or standard input.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;

use crate::decode::Decoder;
use crate::decode::text_format::TextFormat;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::block::{self, Block};
use crate::files::input::InputFile;
use crate::files::known::mark::FileMark;
use crate::files::known::sum::RowSum;
use crate::files::line::Rows;
use crate::source::Offset;

pub(crate) struct TextFile {
    topic: String,
    partition: i32,
    /// The file as offsets name it.
    file: String,
    rows: Rows<Box<dyn Read + Send>>,
    decoder: Decoder,
    /// Whether the next row is a header.
    header: bool,
    /// The number of the next row.
    row: u64,
    arrived_at: Option<i64>,
    /// Whether reading on may block, so that rows at hand should not wait for it.
    pipe: bool,
}

impl TextFile {
    pub(crate) fn open(
        file: &InputFile,
        input: File,
        format: TextFormat,
        mut decoder: Decoder,
        at: &FileMark,
    ) -> Result<Self> {
        let said = |e| failed(format!("read {}", file.path.display()), e);
        let mut header = format == TextFormat::Csv;
        if header && at.position > 0 {
            let mut rows = Rows::new(unpacked(input.try_clone().map_err(said)?, file.packed).map_err(said)?, format, 0);
            if let Some(row) = rows.next(true).map_err(said)? {
                decoder.header(row.bytes).with_context(|| file.name.clone())?;
            }
            header = false;
        }
        let start = if file.packed { 0 } else { at.position };
        (&input).seek(SeekFrom::Start(start)).map_err(said)?;
        let mut input = unpacked(input, file.packed).map_err(said)?;
        io::copy(&mut input.by_ref().take(at.position - start), &mut io::sink()).map_err(said)?;
        Ok(Self {
            topic: at.topic.clone(),
            partition: at.partition,
            file: file.name.clone(),
            rows: Rows::new(input, format, at.position).behind(at.sum, at.head),
            decoder,
            header,
            row: at.row,
            arrived_at: Some(file.stat.modified),
            pipe: false,
        })
    }

    /// A stream that cannot be read twice. An offset in it can only be gone to by reading up to it, so it is known by
    /// its first row: the same command run again goes on, and other input is refused instead of cut.
    pub(crate) fn pipe(input: Box<dyn Read + Send>, format: TextFormat, decoder: Decoder, at: &Offset) -> Result<Self> {
        let mut rows = Rows::new(input, format, 0);
        let said = |e| failed("read standard input".to_owned(), e);
        let hash = rows.peek().map_err(said)?.map_or(0, twox_hash::XxHash3_64::oneshot);
        let file = format!("-{hash:016x}");
        let mut text = Self {
            topic: "-".to_owned(),
            partition: 0,
            file,
            rows,
            decoder,
            header: format == TextFormat::Csv,
            row: 0,
            arrived_at: None,
            pipe: true,
        };
        if at.position > 0 {
            text.skip_to(at)?;
        }
        Ok(text)
    }

    fn skip_to(&mut self, at: &Offset) -> Result<()> {
        let said = |e| failed("read standard input".to_owned(), e);
        if self.file != at.file {
            bail!(SourceError::BadData(format!(
                "standard input starts with another row than when row {} of it was reached: give it the same input \
                 again, or start anew with another --out",
                at.row
            )));
        }
        while self.rows.position() < at.position {
            match self.rows.next(true).map_err(said)? {
                Some(row) if self.header => self.decoder.header(row.bytes).context("standard input")?,
                Some(_) => {}
                None => {
                    bail!(SourceError::BadData(format!("standard input ended before row {}, the next one", at.row)))
                }
            }
            self.header = false;
        }
        self.row = at.row;
        Ok(())
    }

    /// The bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.rows.position()
    }

    /// The sum of the rows read so far, and of the first two.
    pub(crate) fn sum(&self) -> (RowSum, u64) {
        (self.rows.sum(), self.rows.head())
    }

    /// What stands behind the last line end, and may be half a row; `None` where nothing does.
    pub(crate) fn half(&mut self) -> Result<Option<&[u8]>> {
        self.rows.peek().map_err(|e| failed(format!("read {}", self.topic), e))
    }

    /// The next rows; `None` at the end of what is there now. What follows the last line end is a row only if it is the
    /// `last`. A `hungry` caller is not kept waiting for more rows than are at hand.
    pub(crate) fn next(&mut self, rows_max: usize, last: bool, hungry: &dyn Fn() -> bool) -> Result<Option<Block>> {
        let said = |e| failed(format!("read {}", self.topic), e);
        if self.header {
            let Some(row) = self.rows.next(last).map_err(said)? else { return Ok(None) };
            self.decoder.header(row.bytes).with_context(|| self.topic.clone())?;
            self.header = false;
        }
        let (first, start) = (self.row, self.rows.position());
        let (mut starts, mut sums) = (Vec::new(), VecDeque::new());
        while starts.len() < rows_max.min(block::ROWS_MAX) && self.rows.position() - start < block::BYTES_MAX {
            if self.pipe && !starts.is_empty() && !self.rows.is_ready() && hungry() {
                break;
            }
            let Some(row) = self.rows.next(last).map_err(said)? else { break };
            starts.push(row.position);
            self.decoder.decode(row.bytes, self.row as i64, self.arrived_at);
            self.row += 1;
            sums.push_back(self.rows.sum());
        }
        if starts.is_empty() {
            return Ok(None);
        }
        starts.push(self.rows.position());
        let chunk = self.decoder.finish(&self.topic, self.partition, Offset::default())?;
        let block = Block::new(self.file.clone(), chunk.rows, chunk.rejected, starts, first);
        Ok(Some(block.with_sums(sums, self.rows.head())))
    }
}

/// How files that Zstandard has compressed begin, skippable frames aside.
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The bytes of a file as they were before it was compressed; by what, its first bytes say.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn unpacked(file: File, packed: bool) -> io::Result<Box<dyn Read + Send>> {
    if !packed {
        return Ok(Box::new(file));
    }
    let mut bytes = io::BufReader::with_capacity(1 << 16, file);
    let zstandard = bytes.fill_buf()?.starts_with(&ZSTANDARD);
    Ok(if zstandard { Box::new(zstd::Decoder::with_buffer(bytes)?) } else { Box::new(MultiGzDecoder::new(bytes)) })
}
