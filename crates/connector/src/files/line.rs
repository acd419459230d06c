//! Bytes to rows of text, each with its place: cut at line feeds, or for CSV at those outside quotes.

use std::io::{ErrorKind, Read, Result};

use memchr::memchr;

use crate::decode::ROW_BYTES_MAX;
use crate::decode::csv;
use crate::decode::text_format::TextFormat;
use crate::files::known::sum::RowSum;

const READ: usize = 1 << 20;
/// The first read is smaller, for there may be many small files.
const FIRST: usize = 1 << 16;
/// What is kept of a row that is too long: one byte too many, for the decoder to see it.
const KEPT: usize = ROW_BYTES_MAX + 1;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The rows of a reader that starts at a row's start.
pub(crate) struct Rows<R> {
    input: R,
    format: TextFormat,
    /// What is read and not yet given out is `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the row at `start` that were thrown away behind the first [`KEPT`].
    dropped: usize,
    position: u64,
    sum: RowSum,
    /// The same after two rows, and how many of them have come.
    head: u64,
    head_rows: u8,
}

/// A row without its line end, cut to one byte more than [`ROW_BYTES_MAX`].
pub(crate) struct TextRow<'a> {
    pub bytes: &'a [u8],
    /// Where it starts in the input.
    pub position: u64,
}

impl<R: Read> Rows<R> {
    /// `position` is where the reader stands.
    pub(crate) fn new(input: R, format: TextFormat, position: u64) -> Self {
        let (buffer, sum) = (Vec::new(), RowSum::default());
        Self { input, format, buffer, start: 0, end: 0, dropped: 0, position, sum, head: 0, head_rows: 0 }
    }

    /// The same, where rows before it have a sum already.
    pub(crate) fn behind(self, sum: RowSum, head: u64) -> Self {
        Self { sum, head, head_rows: if sum == RowSum::default() { 0 } else { 2 }, ..self }
    }

    /// The sum of the first two rows.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The sum of all rows up to the position.
    pub(crate) fn sum(&self) -> RowSum {
        self.sum
    }

    /// Where the next row starts, or blank lines before it.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next row that is not blank; `None` at the end of what is there now. What follows the last line end is a row
    /// only if nothing more is to come: if it is the `last`.
    pub(crate) fn next(&mut self, last: bool) -> Result<Option<TextRow<'_>>> {
        loop {
            let position = self.position;
            let (end, taken) = match self.row_end() {
                Some(end) => (end, end + 1),
                None if self.read_on()? => continue,
                None if !last || self.start == self.end => return Ok(None),
                None => (self.end - self.start, self.end - self.start),
            };
            let row = self.start..self.start + end.min(KEPT);
            self.start += taken;
            self.position += (taken + self.dropped) as u64;
            self.dropped = 0;
            if !self.buffer[row.clone()].trim_ascii().is_empty() {
                let row = &self.buffer[row];
                let row = row.strip_suffix(b"\r").unwrap_or(row);
                self.sum.add(row);
                if self.head_rows < 2 {
                    (self.head, self.head_rows) = (self.sum.0 as u64, self.head_rows + 1);
                }
                let mark = if position == 0 { row.strip_prefix(BYTE_ORDER_MARK) } else { None };
                return Ok(Some(TextRow { bytes: mark.unwrap_or(row), position }));
            }
        }
    }

    /// The next line as it stands, left where it is; `None` at the end.
    pub(crate) fn peek(&mut self) -> Result<Option<&[u8]>> {
        while self.row_end().is_none() && self.end <= KEPT && self.read_on()? {}
        let bytes = &self.buffer[self.start..self.end];
        Ok((!bytes.is_empty()).then(|| &bytes[..self.row_end().unwrap_or(bytes.len())]))
    }

    /// Whether a row can be had without reading on.
    pub(crate) fn is_ready(&self) -> bool {
        self.row_end().is_some()
    }

    fn row_end(&self) -> Option<usize> {
        let bytes = &self.buffer[self.start..self.end];
        match self.format {
            _ if self.dropped > 0 => memchr(b'\n', &bytes[KEPT..]).map(|i| KEPT + i),
            TextFormat::Json => memchr(b'\n', bytes),
            TextFormat::Csv => csv::record_end(bytes),
        }
    }

    /// Reads twice as much each time, so that a long row is not searched for its end again and again. False at the end.
    fn read_on(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end > KEPT {
            self.dropped += self.end - KEPT;
            self.end = KEPT;
        }
        let room = if self.buffer.is_empty() { FIRST } else { self.end + READ.max(self.end) };
        self.buffer.resize(room.max(self.buffer.len()), 0);
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn rows(text: &[u8], format: TextFormat, drip: usize, last: bool) -> Vec<(String, u64)> {
        let mut rows = Rows::new(Drip(text, drip), format, 0);
        let mut all = vec![];
        while let Some(row) = rows.next(last).unwrap() {
            all.push((String::from_utf8(row.bytes.to_vec()).unwrap(), row.position));
        }
        all
    }

    #[test]
    fn lines_have_places_and_blank_ones_do_not_count() {
        for drip in [1, 2, 7, 100] {
            let got = rows(b"\xEF\xBB\xBF{1}\r\n\n  \r\n{22}\n{3}", TextFormat::Json, drip, true);
            assert_eq!(got, [("{1}".into(), 0), ("{22}".into(), 13), ("{3}".into(), 18)]);
            let growing = rows(b"{1}\n{2", TextFormat::Json, drip, false);
            assert_eq!(growing, [("{1}".into(), 0)], "an unfinished row is left for later");
        }
    }

    #[test]
    fn quoted_line_feeds_are_no_ends() {
        let text = b"a,\"x\ny\",b\n\"he said \"\"no\n\"\"\",2,3\nplain \"quote,4,5\n\"\n\"";
        for drip in [1, 3, 100] {
            let got: Vec<_> = rows(text, TextFormat::Csv, drip, true).into_iter().map(|r| r.0).collect();
            assert_eq!(got, ["a,\"x\ny\",b", "\"he said \"\"no\n\"\"\",2,3", "plain \"quote,4,5", "\"\n\""]);
        }
    }

    #[test]
    fn giants_are_cut_and_what_follows_is_found() {
        for (length, format) in
            [(KEPT + 3_000_000, TextFormat::Json), (KEPT * 3, TextFormat::Csv), (KEPT, TextFormat::Json)]
        {
            let text = [&vec![b'x'; length][..], b"\nnext\n"].concat();
            let mut rows = Rows::new(Drip(&text, 700_001), format, 0);
            assert_eq!(rows.next(false).unwrap().unwrap().bytes.len(), KEPT);
            let next = rows.next(false).unwrap().unwrap();
            assert_eq!((next.bytes, next.position), (&b"next"[..], length as u64 + 1));
            assert!(rows.buffer.len() < 3 * KEPT, "memory stays bounded");
        }
    }
}
