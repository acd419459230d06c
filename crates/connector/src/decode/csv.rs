//! One CSV record to one row, as strictly as JSON: RFC 4180, an empty field is null, and `""` is empty text.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Result, bail};
use memchr::{memchr, memmem};

use crate::decode::row::Row;
use crate::fault::{Fault, SourceError};

/// Where each field of a record goes.
pub(crate) struct Fields {
    columns: Vec<Option<usize>>,
    /// The names of the fields that go nowhere.
    unread: Vec<String>,
}

impl Fields {
    /// Fields in the order of the columns.
    pub(crate) fn in_order(columns: usize) -> Self {
        Self { columns: (0..columns).map(Some).collect(), unread: Vec::new() }
    }

    /// Fields in the order of a header, which has to name every column once.
    pub(crate) fn named(header: &[u8], columns: &[&str]) -> Result<Self> {
        let names = names(header)?;
        let mut counts: HashMap<&str, usize> = HashMap::new();
        names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
        let count = |column: &str| counts.get(column).copied().unwrap_or(0);
        let listed =
            |n: fn(usize) -> bool| columns.iter().copied().filter(|c| n(count(c))).collect::<Vec<_>>().join(", ");
        let (missing, twice) = (listed(|n| n == 0), listed(|n| n > 1));
        if !missing.is_empty() {
            bail!(SourceError::BadData(format!("the header has no column {missing}; it has {}", names.join(", "))));
        }
        if !twice.is_empty() {
            bail!(SourceError::BadData(format!("the header has more than one column {twice}")));
        }
        let places: HashMap<&str, usize> = columns.iter().copied().zip(0..).collect();
        let columns = names.iter().map(|name| places.get(name.as_str()).copied()).collect();
        let unread = names.into_iter().filter(|name| !places.contains_key(name.as_str())).collect();
        Ok(Self { columns, unread })
    }

    /// Counts rows of which fields went nowhere.
    pub(crate) fn unread(&self, rows: u64, row: &mut Row) {
        self.unread.iter().filter(|_| rows > 0).for_each(|name| _ = row.leave_out(name, rows));
    }

    /// Sets the row's cells from one record. Fields that no column is declared for are skipped.
    pub(crate) fn read(&self, record: &[u8], row: &mut Row) -> Result<(), Fault> {
        let text = std::str::from_utf8(record).map_err(|e| {
            Fault::new("bad_encoding", format!("not UTF-8 from byte {} of the row on", e.valid_up_to()))
        })?;
        let (mut rest, mut read) = (Some(text), 0);
        while let Some(text) = rest {
            let (value, behind) = field(text)?;
            if let Some(Some(column)) = self.columns.get(read) {
                set(row, *column, value)?;
            }
            (rest, read) = (behind, read + 1);
        }
        if read != self.columns.len() {
            let text = format!("{read} fields where {} are declared", self.columns.len());
            return Err(Fault::new("wrong_columns", text));
        }
        Ok(())
    }
}

/// The names in a header; a column without one is called `column_N`, by its place from 1 on.
pub(crate) fn names(header: &[u8]) -> Result<Vec<String>> {
    let values = values(header).map_err(|fault| SourceError::BadData(format!("the header is no CSV: {fault}")))?;
    let named = |(i, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("column_{}", i + 1));
    Ok(values.into_iter().enumerate().map(named).collect())
}

/// The fields of a record, owned; empty ones as `None`.
pub(crate) fn values(record: &[u8]) -> Result<Vec<Option<String>>, Fault> {
    let mut rest = Some(std::str::from_utf8(record).map_err(|e| Fault::new("bad_encoding", e.to_string()))?);
    let mut values = Vec::new();
    while let Some(text) = rest {
        let (value, behind) = field(text)?;
        values.push(value.map(Cow::into_owned));
        rest = behind;
    }
    Ok(values)
}

/// Where the first record ends: at its line feed, unless that stands inside quotes.
pub(crate) fn record_end(bytes: &[u8]) -> Option<usize> {
    enum Within {
        Start,
        Plain,
        Quotes,
        Closed,
    }
    let line = memchr(b'\n', bytes)?;
    if memchr(b'"', &bytes[..line]).is_none() {
        return Some(line);
    }
    let mut within = Within::Start;
    for (i, byte) in bytes.iter().enumerate() {
        within = match (within, byte) {
            (Within::Quotes, b'"') => Within::Closed,
            // A quote right behind the closing one means that it did not close.
            (Within::Quotes, _) | (Within::Start | Within::Closed, b'"') => Within::Quotes,
            (_, b'\n') => return Some(i),
            (_, b',') => Within::Start,
            _ => Within::Plain,
        };
    }
    None
}

/// The first field, `None` where it is empty, and what follows its comma.
fn field(text: &str) -> Result<(Option<Cow<'_, str>>, Option<&str>), Fault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(',').map_or((text, None), |(value, rest)| (value, Some(rest)));
        return Ok(((!value.is_empty()).then_some(Cow::Borrowed(value)), rest));
    };
    let mut end = 0;
    let escaped = loop {
        match memchr(b'"', &quoted.as_bytes()[end..]) {
            None => return Err(Fault::new("csv_truncated", "a quote is not closed")),
            Some(i) => end += i,
        }
        if !quoted[end + 1..].starts_with('"') {
            break memmem::find(&quoted.as_bytes()[..end], b"\"\"").is_some();
        }
        end += 2;
    };
    let value = if escaped { Cow::Owned(quoted[..end].replace("\"\"", "\"")) } else { Cow::Borrowed(&quoted[..end]) };
    match quoted.as_bytes().get(end + 1) {
        None => Ok((Some(value), None)),
        Some(b',') => Ok((Some(value), Some(&quoted[end + 2..]))),
        Some(b'\n') => Err(Fault::new("multiple_documents", "more than one record")),
        Some(_) => Err(Fault::new("csv_malformed", "text behind a closing quote")),
    }
}

fn set(row: &mut Row, column: usize, value: Option<Cow<'_, str>>) -> Result<(), Fault> {
    match value {
        None => row.set_null(column),
        Some(text) if row.is_text(column) => row.set_text(column, &text),
        Some(plain) => row.set_plain(column, &plain)?,
    }
    Ok(())
}
